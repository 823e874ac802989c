"""Variants of video from real files: sound in step with pictures, times that follow, the same bytes every time."""

import io
import threading
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest

from pipeline_assets.errors import BadRecipe, UnfitParent
from pipeline_assets.variants.kinds import Made, Parent, Task, Work
from pipeline_assets.variants.recipes import Recipe, variant_id
from pipeline_assets.variants.video import KIND, catalogue, writing
from pipeline_assets.variants.video.film import film
from pipeline_assets.variants.video.kind import Video
from resources.files import sha256_of

RATE, SOUND_HZ, SECONDS, FLASH_S = 25, 16_000, 2.0, 1.0
A, B = "a" * 64, "b" * 64


def clip(seconds: float = SECONDS, flash_s: float = FLASH_S, *, side: int = 64, has_sound: bool = True) -> bytes:
    """Dark and silent, but for a white picture and a click at one moment; loud noise would hide nothing else."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4", options={"strict": "experimental"}) as out:
        video = out.add_stream("libx264", rate=Fraction(RATE))
        video.width = video.height = side
        video.pix_fmt = "yuv420p"
        video.codec_context.options = {"crf": "10"}
        sound = out.add_stream("flac", rate=SOUND_HZ, layout="mono") if has_sound else None
        for number in range(round(seconds * RATE)):
            # A grey level of its own for each picture, so that none is a copy of another.
            level = 255 if number == round(flash_s * RATE) else 10 + number % 40
            out.mux(video.encode(av.VideoFrame.from_ndarray(np.full((side, side, 3), level, np.uint8))))
        if sound:
            samples = np.zeros((1, round(seconds * SOUND_HZ)), np.int16)
            at = round(flash_s * SOUND_HZ)
            samples[:, at : at + SOUND_HZ // RATE] = (np.sin(np.arange(SOUND_HZ // RATE) / 2) * 20_000).astype(np.int16)
            for start in range(0, samples.shape[1], 4_608):
                part = np.ascontiguousarray(samples[:, start : start + 4_608])
                frame = av.AudioFrame.from_ndarray(part, "s16", "mono")
                frame.sample_rate, frame.pts = SOUND_HZ, start
                out.mux(sound.encode(frame))
            out.mux(sound.encode(None))
        out.mux(video.encode(None))
    return file.getvalue()


def made(recipe: Recipe, *parents: bytes, labels: Mapping[str, Any] | None = None, seed: int = 1) -> Made | UnfitParent:
    resolved, hashes = KIND.complete(recipe), (A, B)[: len(parents)]
    task = Task(variant_id(hashes, resolved, seed), hashes, resolved, seed)
    given = tuple(Parent(sha256, data, labels or {}) for sha256, data in zip(hashes, parents, strict=True))
    ((back, outcome),) = KIND.make([(task, given)])
    assert back is task
    return outcome


def seen_and_heard(outcome: Made | UnfitParent) -> tuple[list[float], list[float], float, float]:
    """When the picture is white and when the sound is loud, in seconds; and the lengths of both."""
    assert isinstance(outcome, Made), outcome
    assert isinstance(outcome.data, bytes)
    white, loud = [], []
    with av.open(io.BytesIO(outcome.data)) as file:
        video, sound = file.streams.video[0], file.streams.audio[0]
        pictures = heard = 0.0
        for frame in file.decode(video, sound):
            if isinstance(frame, av.VideoFrame):
                at = float(frame.pts * frame.time_base)
                pictures = at + 1 / float(video.average_rate or RATE)
                if frame.to_ndarray(format="gray").mean() > 150:
                    white.append(at)
            else:
                values = np.abs(frame.to_ndarray().astype(float)).max(axis=0)
                start = float(frame.pts * frame.time_base)
                heard = start + len(values) / frame.sample_rate
                loud += [start + at / frame.sample_rate for at in np.flatnonzero(values > 3_000)]
    return white, loud, pictures, heard


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("speed", factor=1.25),
        Recipe("speed", factor=0.8),
        Recipe("pause", duration_s=0.4),
        Recipe("frame_drop", share=0.05),
        Recipe("speed", factor=1.1).then(Recipe("pause", duration_s=0.3)),
    ],
    ids=lambda recipe: recipe.name,
)
def test_sound_stays_within_a_picture_of_what_is_seen(recipe: Recipe) -> None:
    white, loud, pictures, heard = seen_and_heard(made(recipe, clip()))
    assert white
    assert loud
    assert min(loud) == pytest.approx(min(white), abs=1.5 / RATE)
    assert heard == pytest.approx(pictures, abs=1 / RATE)


def test_speed_divides_the_length_and_the_times_of_segments() -> None:
    labels = {"segments": [{"start_s": 0.5, "end_s": 1.5, "text": "flash"}], "scene": "test"}
    outcome = made(Recipe("speed", factor=2), clip(), labels=labels)
    assert isinstance(outcome, Made)
    assert outcome.columns["duration_s"] == pytest.approx(SECONDS / 2, abs=1 / RATE)
    (segment,) = outcome.labels["segments"]
    assert (segment["start_s"], segment["end_s"], segment["text"]) == (pytest.approx(0.25), pytest.approx(0.75), "flash")
    assert outcome.labels["scene"] == "test"
    assert KIND.problems(outcome) == []


def test_two_clips_after_each_other_last_as_long_as_both() -> None:
    outcome = made(Recipe("concatenate"), clip(), clip(1.0, 0.5, side=48))
    white, loud, pictures, _ = seen_and_heard(outcome)
    assert pictures == pytest.approx(SECONDS + 1.0, abs=2 / RATE)
    assert max(white) == pytest.approx(SECONDS + 0.5, abs=2 / RATE)
    assert max(loud) == pytest.approx(SECONDS + 0.5, abs=3 / RATE)


def test_the_same_task_gives_the_same_bytes_and_another_seed_others() -> None:
    recipe = Recipe("speed", factor=(0.8, 1.25)).then(Recipe("pause", duration_s=(0.2, 0.5)))
    first, second, other = (made(recipe, clip(), seed=seed) for seed in (1, 1, 2))
    assert isinstance(first, Made)
    assert isinstance(second, Made)
    assert isinstance(other, Made)
    assert first.data == second.data
    assert first.data != other.data


def test_a_long_film_is_written_in_fragments_and_is_the_same_film(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe("speed", factor=0.5).then(Recipe("pause", duration_s=8.0))
    whole = made(recipe, clip(6.0))
    monkeypatch.setattr(catalogue, "LONG_S", 10)
    parts = made(recipe, clip(6.0))
    assert isinstance(whole, Made) and isinstance(whole.data, bytes)
    assert isinstance(parts, Made) and isinstance(parts.data, bytes)
    assert b"moof" not in whole.data and parts.data.count(b"moof") > 1
    one, other = film(whole.data), film(parts.data)
    assert (one.ticks, one.rate, one.samples) == (other.ticks, other.rate, other.samples)
    for a, b in zip(one.pictures(), other.pictures(), strict=True):
        assert np.array_equal(a.to_ndarray(), b.to_ndarray())
    assert np.array_equal(np.concatenate(list(one.sound())), np.concatenate(list(other.sound())))


def tasks_of(recipe: Recipe, *contents: bytes) -> list[Work]:
    resolved = KIND.complete(recipe)
    parents = [Parent(sha256_of(data), data) for data in contents]
    return [(Task.of((parent.sha256,), resolved, 0, number), (parent,)) for number, parent in enumerate(parents)]


def test_threads_change_neither_bytes_nor_order() -> None:
    first, second = clip(), clip(flash_s=0.5)
    work = [
        given
        for recipe in (Recipe("speed", factor=1.3), Recipe("sepia"), Recipe("pause", duration_s=0.3))
        for given in tasks_of(recipe, first, b"no video", second)
    ]
    alone, together = (list(Video(threads=threads).make(iter(work))) for threads in (1, 3))
    assert [task for task, _ in together] == [task for task, _ in alone] == [task for task, _ in work]
    for (_, one), (_, other) in zip(alone, together, strict=True):
        assert isinstance(one, Made) == isinstance(other, Made)
        if isinstance(one, Made) and isinstance(other, Made):
            assert one.data == other.data


@pytest.mark.slow
def test_closing_stops_what_is_being_made(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[bool] = []
    write = writing.write

    def watched(*arguments: Any) -> None:
        write(*arguments)
        ended.append(True)

    monkeypatch.setattr(writing, "write", watched)
    long = clip(120.0, has_sound=False)
    outcomes = Video(threads=2).make(tasks_of(Recipe("speed", factor=1.1), clip(), long, long, long))
    next(outcomes)
    outcomes.close()  # type: ignore[attr-defined]
    assert ended == [True]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("variants-video")]


def test_a_clip_without_sound_stays_without() -> None:
    outcome = made(Recipe("speed", factor=1.5), clip(has_sound=False))
    assert isinstance(outcome, Made)
    assert outcome.columns["has_audio"] is False


@pytest.mark.parametrize("data", [b"", b"no video", clip()[:500], b"\x1aE\xdf\xa3" + bytes(99)], ids=len)
def test_what_is_no_video_is_a_reason(data: bytes) -> None:
    outcome = made(Recipe("speed", factor=1.5), data)
    assert isinstance(outcome, UnfitParent)
    assert outcome.reason in {"undecodable", "truncated"}


def test_a_clip_shorter_than_its_pause_is_a_reason_and_its_neighbour_goes_on() -> None:
    resolved = KIND.complete(Recipe("pause", duration_s=5))
    tasks = [Task(variant_id((sha256,), resolved, 1), (sha256,), resolved, 1) for sha256 in (A, B)]
    work = [(tasks[0], (Parent(A, clip(0.2, 0.1)),)), (tasks[1], (Parent(B, clip(6.0)),))]
    found = dict(zip("ab", (outcome for _, outcome in KIND.make(work)), strict=True))
    assert isinstance(found["a"], UnfitParent)
    assert found["a"].reason == "too_short"
    assert isinstance(found["b"], Made)


def test_an_encoding_in_the_middle_is_no_recipe() -> None:
    with pytest.raises(BadRecipe, match="as its last step"):
        KIND.complete(Recipe("mp4").then(Recipe("speed")))


def test_the_contact_sheet_is_a_picture() -> None:
    outcome = made(Recipe("speed", factor=1.5), clip())
    assert isinstance(outcome, Made)
    task = Task("v", (A,), KIND.complete(Recipe("speed")), 1)
    assert KIND.contact_sheet([(Parent(A, clip()), [(task, outcome)])]).startswith(b"\x89PNG")
