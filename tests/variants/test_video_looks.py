"""Photos' operations held over a clip, and files as phones and browsers write them."""

import io
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from pipeline_assets.errors import UnfitParent
from pipeline_assets.variants.kinds import Made, Parent, Task, Work
from pipeline_assets.variants.photos import pixels
from pipeline_assets.variants.photos.catalogue import PHOTOS
from pipeline_assets.variants.photos.effects import Canvas
from pipeline_assets.variants.recipes import Recipe, generator, variant_id
from pipeline_assets.variants.video import COLUMNS, KIND
from pipeline_assets.variants.video.film import Film, film
from pipeline_assets.variants.video.looks import looks
from tests.variants.clips import flashes, heard_s, seen_s

A, B = "a" * 64, "b" * 64


def work_of(recipe: Recipe, *parents: bytes, labels: dict | None = None, seed: int = 5) -> Work:
    resolved = KIND.complete(recipe)
    used = (A, B)[: KIND.operations.parents(resolved)]
    given = tuple(Parent(sha256, data, labels or {}) for sha256, data in zip(used, parents, strict=False))
    return Task(variant_id(used, resolved, seed), used, resolved, seed), given


def made(recipe: Recipe, *parents: bytes, labels: dict | None = None) -> Made:
    ((_, outcome),) = KIND.make([work_of(recipe, *parents, labels=labels)])
    if isinstance(outcome, UnfitParent):
        raise outcome
    return outcome


def colours(shown: Film) -> np.ndarray:
    """(T, H, W, 3) uint8."""
    return np.stack([frame.to_ndarray(format="rgb24") for frame in shown.pictures()])


def still(seconds: float = 0.6, size: tuple[int, int] = (64, 48), **tags: int) -> bytes:
    """One colourful picture, shown for a while, lossless."""
    random = np.random.default_rng(2)
    coarse = random.integers(40, 216, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
    pixels = coarse.repeat(8, axis=0).repeat(8, axis=1)
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as file:
        video = file.add_stream("libx264", rate=20)
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        video.codec_context.options = {"crf": "0", "threads": "1"}
        for name, value in tags.items():
            setattr(video.codec_context, name, value)
        for _ in range(round(seconds * 20)):
            file.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(video.encode(None))
    return out.getvalue()


def test_every_operation_on_one_photo_is_one_on_video():
    assert set(looks()) >= {"flip", "rotate", "colour", "exposure", "blur", "noise", "sepia", "strong_hdr", "cutout"}
    assert not set(looks()) & {"fit", "jpeg", "png", "webp", "mixup", "cutmix"}
    for name, known in looks().items():
        assert KIND.operations[name].version == known.version
        assert KIND.operations[name].parameters.model_fields.keys() == known.parameters.model_fields.keys()
        assert KIND.operations[name].description == known.description


@pytest.mark.parametrize("name", sorted(looks()))
def test_a_look_is_drawn_once_and_held_over_the_clip(name):
    found = made(Recipe(name).then(Recipe("mp4", crf=0)), still())
    pictures = colours(film(found.data)).astype(int)
    assert len(pictures) == 12
    assert np.abs(pictures - pictures[0]).max() == 0


@pytest.mark.parametrize("name", ["flip", "sepia", "exposure"])
def test_a_look_is_the_photos_own(name):
    data = still()
    (step,) = PHOTOS.resolve(Recipe(name)).steps
    canvas = Canvas(64, 48)
    effect = PHOTOS[name].function(canvas, generator(5, f"0 {name}"), **dict(step.parameters))
    before = torch.from_numpy(colours(film(data))[:1]).permute(0, 3, 1, 2).contiguous()
    wanted = pixels.apply(before, [[effect]]).permute(0, 2, 3, 1).numpy().astype(int)
    shown = colours(film(made(Recipe(name).then(Recipe("mp4", crf=0)), data).data))[:1].astype(int)
    assert np.abs(shown - wanted).mean() < 3  # colours are kept at half the resolution


@pytest.mark.parametrize("colorspace", [1, 5, 9])
def test_colours_stay_what_they_are_in_every_colour_matrix(colorspace):
    data = still(colorspace=colorspace, color_range=1)
    found = made(Recipe("flip", axis="both", chance=0).then(Recipe("mp4", crf=0)), data)
    before, after = film(data), film(found.data)
    assert next(after.pictures()).colorspace == next(before.pictures()).colorspace == colorspace
    luma = [next(one.pictures()).to_ndarray()[:48].astype(int) for one in (before, after)]
    assert np.abs(luma[0] - luma[1]).mean() < 2


def test_a_freeze_and_a_look_may_be_in_any_order():
    for steps in (("pause", "sepia"), ("sepia", "pause")):
        found = made(Recipe(steps[0]).then(Recipe(steps[1])), flashes())
        assert film(found.data).ticks == found.columns["frames"]
        assert seen_s(film(found.data)) == pytest.approx(heard_s(film(found.data)), abs=1 / 25)


def test_boxes_follow_what_moves_them_and_stay_with_the_rest():
    labels = {"boxes": [{"x": 1, "y": 1, "width": 9, "height": 9}]}
    assert made(Recipe("flip"), still(), labels=labels).labels == {"boxes": [{"x": 54, "y": 1, "width": 9, "height": 9}]}
    assert made(Recipe("sepia"), still(), labels=labels).labels == labels


@pytest.mark.parametrize(
    "file",
    [
        {},
        {"rate": Fraction(30_000, 1_001)},
        {"channels": 1, "sample_rate_hz": 22_050},
        {"sound_late_s": 0.3},
        {"container": "matroska", "codecs": ("ffv1", "flac")},
        {"container": "webm", "codecs": ("libvpx-vp9", "libopus")},
        {"container": "mov", "codecs": ("libx264", "pcm_s16le")},
        {"codecs": ("mpeg4", "aac")},
    ],
    ids=str,
)
def test_pictures_and_sound_of_every_kind_of_file_are_in_step(file):
    read = film(flashes(**file))
    late = file.get("sound_late_s", 0.0)
    assert seen_s(read) == pytest.approx([0.5, 1.2, 2.0], abs=1 / 25)
    # What sounds after the last picture is not heard.
    assert heard_s(read) == pytest.approx([at + late for at in seen_s(read)], abs=0.01)
    assert sum(len(chunk) for chunk in read.sound()) == read.samples
    assert sum(1 for _ in read.pictures()) == read.ticks


@pytest.mark.parametrize("name", ["slower", "pause", "concatenate", "picture_in_picture", "mirrored"])
@pytest.mark.parametrize(
    "second", [{}, {"size": (50, 90), "rate": 30, "channels": 1, "sample_rate_hz": 16_000}, {"channels": 0}]
)
def test_each_flash_is_seen_when_its_tone_is_heard(name, second):
    found = made(KIND.recipes[name], flashes(), flashes(**second))
    shown = film(found.data)
    heard = heard_s(shown)
    assert len(heard) >= 3
    assert seen_s(shown)[: len(heard)] == pytest.approx(heard, abs=1 / 25)
    assert (shown.ticks, shown.has_audio) == (found.columns["frames"], found.columns["has_audio"])
    assert set(found.columns) == set(COLUMNS.column_names())


def test_both_sounds_are_heard_where_that_is_asked():
    recipe = Recipe("picture_in_picture", sound="both")
    assert heard_s(film(made(recipe, flashes((0.5,)), flashes((1.2,))).data)) == pytest.approx([0.48, 1.2], abs=0.04)
    silent = made(recipe, flashes((0.5,), channels=0), flashes((1.2,)))
    assert silent.columns["has_audio"]
    assert heard_s(film(silent.data)) == pytest.approx([1.2], abs=0.04)


def test_odd_sizes_lose_a_row_and_turned_videos_are_upright():
    out = io.BytesIO()
    with av.open(out, "w", format="matroska") as file:
        video = file.add_stream("ffv1", rate=10)
        video.width, video.height, video.pix_fmt = 65, 47, "yuv444p"
        for level in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((47, 65, 3), 40 * level, np.uint8), format="rgb24")
            file.mux(video.encode(frame.reformat(format="yuv444p")))
        file.mux(video.encode(None))
    shown = film(made(Recipe("speed", factor=0.5), out.getvalue()).data)
    assert (shown.width_px, shown.height_px, shown.ticks) == (64, 46, 10)


@pytest.mark.slow
def test_the_same_task_gives_the_same_bytes_in_any_order_and_on_any_thread():
    first, second = flashes(), flashes((0.3,), 1.0, rate=30, size=(50, 90), channels=1)
    names = ("faster", "pause", "concatenate", "picture_in_picture", "poor_camera", "vintage")
    work = [work_of(KIND.recipes[name], first, second) for name in names]
    alone = {task.variant_id: outcome.data for one in work for task, outcome in KIND.make([one])}
    with ThreadPoolExecutor(3) as pool:
        for found in pool.map(lambda part: list(KIND.make(part)), (work[::-1][:3], work[::2], work[1::2])):
            assert all(alone[task.variant_id] == outcome.data for task, outcome in found)


def test_a_file_says_nothing_of_when_and_by_what_program_it_was_written():
    data = made(Recipe("pause"), flashes()).data
    with av.open(io.BytesIO(data)) as file:
        assert not {"creation_time", "encoder"} & {name.lower() for name in file.metadata}
    assert b"Lavf" not in data
    assert b"Lavc" not in data


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mp4", "webm"])
def test_damaged_files_give_a_variant_or_a_reason(name):
    whole = flashes(seconds=0.6, container=name, codecs=("libx264", "aac") if name == "mp4" else ("libvpx-vp9", "libopus"))
    random = np.random.default_rng(7)
    for _ in range(40):
        data = bytearray(whole)
        for at in random.integers(0, len(data), 3):
            data[at] = random.integers(256)
        data = data[: int(random.uniform(0.2, 1.3) * len(data))]
        ((_, outcome),) = KIND.make([work_of(Recipe("pause", duration_s=0.1), bytes(data))])
        assert isinstance(outcome, Made | UnfitParent)
