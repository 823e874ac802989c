"""Video as a kind of data: streamed from decoder to encoder, so that memory does not depend on the length."""

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline_assets.errors import BadClip, BadRecipe, UnfitParent
from pipeline_assets.labeling import segments
from pipeline_assets.runtime.cores import ahead, core_count
from pipeline_assets.variants.kinds import Made, Outcome, Parent, Task, Work
from pipeline_assets.variants.photos import marks
from pipeline_assets.variants.photos.ready_made import LOOKS
from pipeline_assets.variants.recipes import Recipe, generator
from pipeline_assets.variants.video.catalogue import ENCODINGS, MARKS_STAY_TRUE, VIDEO
from pipeline_assets.variants.video.film import Film, film

if TYPE_CHECKING:
    from av import VideoFrame


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
    """The consumer closed the iterator."""


class Video:
    """Variants of MP4, MOV, WebM and Matroska files, as MP4 by default.

    threads: one per core by default, each makes one variant; their number does not change the bytes.
    """

    name = "video"
    heeds_labels = False
    labels_version = 2
    operations = VIDEO
    recipes = RECIPES

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads

    def complete(self, recipe: Recipe) -> Recipe:
        """The recipe with its encoding, resolved. Raises BadRecipe."""
        ends = [step.name in ENCODINGS for step in recipe.steps]
        if any(ends[:-1]):
            raise BadRecipe(f"{' and '.join(ENCODINGS)} are encodings: a recipe has one of them, as its last step.")
        if len(ends) == sum(ends):
            raise BadRecipe("a recipe of video needs a step before the encoding.")
        return VIDEO.resolve(recipe if ends[-1] else recipe.then(Recipe("mp4")))

    def make(self, work: Iterable[Work]) -> Iterator[Outcome]:
        """Yield each task with its variant, in order. A large result is a temporary file. Closing it stops the work."""
        stop = threading.Event()
        threads = self.threads or core_count()

        def tasks() -> Iterator[tuple[Task, tuple[Parent, ...], list[Source]]]:
            sources: dict[str, Source] = {}
            for task, parents in work:
                sources = {parent.sha256: sources.get(parent.sha256) or Source(parent.data) for parent in parents}
                yield task, parents, [sources[parent.sha256] for parent in parents]

        with ThreadPoolExecutor(threads, "variants-video") as pool:
            yield from ahead(pool, lambda item: _outcome(*item, stop), tasks(), threads + 1, stop.set)

    def problems(self, variant: Made) -> list[str]:
        """Segments, boxes and masks outside the video."""
        size = variant.columns["width_px"], variant.columns["height_px"]
        faults = segments.problems(variant.labels.get("segments", []), variant.columns["duration_s"])
        return faults + marks.problems(variant.labels, *size)

    def contact_sheet(self, rows: list[tuple[Parent, list[tuple[Task, Made]]]]) -> bytes:
        """A strip of frames of each video, above the waveform of its sound."""
        from pipeline_assets.variants.video.pictures import sheet

        return sheet(rows)


class Source:
    """A parent without labels. Labels are read for each task: the same bytes may have different ones.

    It is opened on first use, once for consecutive tasks. Thread-safe.
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
        return task, _variant(
            task, parents, [replace(parent_film, pictures=partial(_until, stop, parent_film)) for parent_film in films]
        )
    except BadClip as bad:
        return task, UnfitParent(bad.reason, bad.detail)
    except UnfitParent as unfit:
        return task, unfit


def _until(stop: threading.Event, film: Film) -> "Iterator[VideoFrame]":
    """A film's pictures until the event is set. Raises Stopped."""
    for frame in film.pictures():
        if stop.is_set():
            raise Stopped
        yield frame


def _variant(task: Task, parents: tuple[Parent, ...], films: list[Film]) -> Made:
    from pipeline_assets.variants.video.writing import encode

    result, *others = (
        replace(
            parent_film,
            segments=segments.of_labels(parent.labels, parent_film.duration_s),
            marks=_marks_of(parent, parent_film),
        )
        for parent, parent_film in zip(parents, films, strict=True)
    )
    *steps, last = task.recipe.steps
    for number, step in enumerate(steps):
        operation = VIDEO[step.name]
        random = generator(task.seed, f"{number} {step.name}")
        result = operation.function(result, random, *others[: operation.parents - 1], **dict(step.parameters))
        result = result if step.name in MARKS_STAY_TRUE else replace(result, marks=None)
    output = VIDEO[last.name].function(result, generator(task.seed, last.name), **dict(last.parameters))
    data = encode(result, output)
    columns = {
        "duration_s": result.duration_s,
        "width_px": result.width_px,
        "height_px": result.height_px,
        "frames": result.ticks,
        "frame_rate": float(result.rate),
        "has_audio": result.has_audio,
    }
    labels = {name: value for name, value in parents[0].labels.items() if name not in marks.KEYS}
    if result.marks is not None:
        mark_labels = result.marks.to_labels(result.width_px, result.height_px)
        labels |= {name: mark_labels[name] for name in marks.KEYS if name in parents[0].labels}
    return Made(data, output.media_type, output.encoding, segments.as_labels(labels, result.segments), columns)


def _marks_of(parent: Parent, film: Film) -> marks.Marks:
    """A parent's marks on its film, without a last odd row or column. Raises UnfitParent(bad_labels)."""
    return marks.read(parent.labels).clipped(0, 0, film.width_px, film.height_px)
