"""Video as a kind of data: streamed from decoder to encoder, so that an hour takes no more memory than a minute."""

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline_assets.cores import ahead, core_count
from pipeline_assets.errors import BadClip, BadRecipe, UnfitParent
from pipeline_assets.variants import segments
from pipeline_assets.variants.kinds import Made, Outcome, Parent, Task, Work
from pipeline_assets.variants.photos.ready_made import LOOKS
from pipeline_assets.variants.recipes import Recipe, generator
from pipeline_assets.variants.video.catalogue import VIDEO
from pipeline_assets.variants.video.film import Film, film
from pipeline_assets.variants.video.looks import MOVING

if TYPE_CHECKING:
    from av import VideoFrame

ENCODINGS = ("mp4", "ffv1")
"""The steps that end a recipe."""

RECIPES = {
    "faster": Recipe("speed", factor=(1.1, 1.5)),
    "slower": Recipe("speed", factor=(0.7, 0.9)),
    "pause": Recipe("pause", duration_s=(0.4, 1.0)),
    "frame_drop": Recipe("frame_drop", share=(0.1, 0.3)),
    "concatenate": Recipe("concatenate"),
    "picture_in_picture": Recipe("picture_in_picture", side=(0.25, 0.4)),
    "mirrored": Recipe("flip"),
    "colour": Recipe("colour"),
    "poor_camera": Recipe("exposure").then(Recipe("blur", sigma=(0.5, 1.2)), Recipe("frame_drop", share=(0.05, 0.2))),
    **{look: Recipe(look) for look in LOOKS},
}


class Stopped(Exception):
    """Nobody wants what is being made."""


class Video:
    """Variants of MP4, MOV, WebM and Matroska files as MP4, unless a recipe says otherwise.

    threads: one a core unless said, each with a variant of its own; they change no bytes.
    """

    name = "video"
    heeds_labels = False
    operations = VIDEO
    recipes = RECIPES

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads

    def complete(self, recipe: Recipe) -> Recipe:
        """The recipe with its encoding, resolved. Raises BadRecipe."""
        ends = [step.name in ENCODINGS for step in recipe.steps]
        if any(ends[:-1]):
            raise BadRecipe(f"{' and '.join(ENCODINGS)} say how the result is written: one of them ends a recipe.")
        if len(ends) == sum(ends):
            raise BadRecipe("a recipe of video does something before the result is written.")
        return VIDEO.resolve(recipe if ends[-1] else recipe.then(Recipe("mp4")))

    def make(self, work: Iterable[Work]) -> Iterator[Outcome]:
        """Each task with its variant, in order. A large result is a temporary file. Closing it stops what is being made."""
        stop = threading.Event()
        threads = self.threads or core_count()

        def tasks() -> Iterator[tuple[Task, tuple[Parent, ...], list[Source]]]:
            sources: dict[str, Source] = {}
            for task, parents in work:
                sources = {parent.sha256: sources.get(parent.sha256) or Source(parent.data) for parent in parents}
                yield task, parents, [sources[parent.sha256] for parent in parents]

        with ThreadPoolExecutor(threads, "variants-video") as pool:
            yield from ahead(pool, lambda one: _outcome(*one, stop), tasks(), threads + 1, stop.set)

    def problems(self, made: Made) -> list[str]:
        """Segments that are not within the video."""
        return segments.problems(made.labels.get("segments", []), made.columns["duration_s"])

    def contact_sheet(self, shown: list[tuple[Parent, list[tuple[Task, Made]]]]) -> bytes:
        """A strip of frames of each video, over the waveform of its sound."""
        from pipeline_assets.variants.video.pictures import sheet

        return sheet(shown)


class Source:
    """A parent without its labels, which are read for each task: the same bytes may come with others.

    It is opened where it is first worked on, and for all tasks that follow each other with it. Safe on threads.
    """

    def __init__(self, data: bytes | Path) -> None:
        self._data = data
        self._film: Film | BadClip | None = None
        self._lock = threading.Lock()

    def film(self) -> Film:
        """The film. Raises BadClip."""
        with self._lock:
            if self._film is None:
                try:
                    self._film = film(self._data)
                except BadClip as bad:
                    self._film = bad
        if isinstance(self._film, BadClip):
            raise BadClip(self._film.reason, self._film.detail)
        return self._film


def _outcome(
    task: Task, parents: tuple[Parent, ...], sources: list[Source], stop: threading.Event
) -> tuple[Task, Made | UnfitParent]:
    try:
        films = [source.film() for source in sources]
        return task, _made(task, parents, [replace(one, pictures=partial(_until, stop, one)) for one in films])
    except BadClip as bad:
        return task, UnfitParent(bad.reason, bad.detail)
    except UnfitParent as unfit:
        return task, unfit


def _until(stop: threading.Event, shown: Film) -> "Iterator[VideoFrame]":
    """A film's pictures until it is stopped. Raises Stopped."""
    for frame in shown.pictures():
        if stop.is_set():
            raise Stopped
        yield frame


def _made(task: Task, parents: tuple[Parent, ...], films: list[Film]) -> Made:
    from pipeline_assets.variants.video.writing import written

    made, *others = (
        replace(one, segments=segments.of_labels(parent.labels, one.duration_s))
        for parent, one in zip(parents, films, strict=True)
    )
    *steps, last = task.recipe.steps
    if any(step.name in MOVING for step in steps) and any("boxes" in parent.labels for parent in parents):
        raise UnfitParent("bad_labels", f"boxes do not follow {task.recipe.name} in a video")
    for number, step in enumerate(steps):
        operation = VIDEO[step.name]
        random = generator(task.seed, f"{number} {step.name}")
        made = operation.function(made, random, *others[: operation.parents - 1], **dict(step.parameters))
    how = VIDEO[last.name].function(made, generator(task.seed, last.name), **dict(last.parameters))
    data = written(made, how)
    columns = {
        "duration_s": made.duration_s,
        "width_px": made.width_px,
        "height_px": made.height_px,
        "frames": made.ticks,
        "frame_rate": float(made.rate),
        "has_audio": made.has_audio,
    }
    return Made(data, how.media_type, how.encoding, segments.as_labels(parents[0].labels, made.segments), columns)
