"""A rectangle is drawn, labelled, and looked for after every operation there is, on photos and in every picture of a clip."""

import io
from typing import Any

import av
import numpy as np
import pytest
from photo_parents import encoded, parent, task
from PIL import Image
from scipy.ndimage import median_filter

from pipeline_assets.errors import UnfitParent
from pipeline_assets.labeling.boxes import MIN_VISIBLE
from pipeline_assets.variants import photos, video
from pipeline_assets.variants.kinds import Made, Parent, Task
from pipeline_assets.variants.photos import marks, plans
from pipeline_assets.variants.photos.effects import Blur, Canvas
from pipeline_assets.variants.recipes import Recipe, variant_id
from pipeline_assets.variants.video.catalogue import ENCODINGS, MARKS_STAY_TRUE
from pipeline_assets.variants.video.film import film

WIDTH, HEIGHT = 128, 96
PLACE = (40, 24, 80, 56)
OTHER = (60, 40, 108, 84)
TOLERANCE_PX = 4
"""Of an edge: blur, codecs and slanted corners move the half tone by so much."""
PHOTO_OPERATIONS = [name for name in photos.KIND.operations if name not in ("fit", "jpeg", "png", "webp")]
VIDEO_OPERATIONS = [name for name in video.KIND.operations if name not in ENCODINGS]
DROPPED = {"concatenate", "picture_in_picture"}
COVERING = {"cutout", "cutmix"}
PARAMETERS: dict[str, dict[str, Any]] = {"pause": {"duration_s": 0.2}, "cutout": {"grey": 60 / 255}}


def drawn(place: tuple[int, int, int, int]) -> np.ndarray:
    picture = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
    left, top, right, bottom = place
    picture[top:bottom, left:right] = 190
    return picture


def labels(place: tuple[int, int, int, int]) -> dict[str, Any]:
    left, top, right, bottom = place
    return {"boxes": [{"x": left, "y": top, "width": right - left, "height": bottom - top, "label": str(place)}]}


def clip(place: tuple[int, int, int, int], seconds: float = 0.4) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.options = {"crf": "5", "threads": "1"}
        for _ in range(round(seconds * 25)):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(drawn(place), format="rgb24")))
        file.mux(stream.encode(None))
    return out.getvalue()


def bright(picture: np.ndarray) -> np.ndarray:
    """Where the picture is nearer to its lights than to its darks, single pixels apart."""
    luma = median_filter(picture.astype(float).mean(axis=2), 5)
    return luma > (luma.min() + luma.max()) / 2


def assert_true(picture: np.ndarray, told: list[dict[str, Any]]) -> None:
    """What is bright has a box, to a few pixels."""
    seen = bright(picture)
    if not told:
        assert seen.mean() < MIN_VISIBLE * 0.5 or seen.mean() > 0.9, "a thing that is seen has no box"
        return
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    extent = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    edges = np.array([(b["x"], b["y"], b["x"] + b["width"], b["y"] + b["height"]) for b in told])
    union = np.array([*edges[:, :2].min(axis=0), *edges[:, 2:].max(axis=0)])
    assert np.abs(extent - union).max() <= TOLERANCE_PX, f"{extent} is seen, {union} is told"


def assert_true_though_covered(picture: np.ndarray, told: list[dict[str, Any]]) -> None:
    """Of what may be covered by what is as dark as the ground: a quarter of each box is seen, and little without one."""
    seen, left = bright(picture), bright(picture)
    for box in told:
        x, y, width, height = (round(box[key]) for key in ("x", "y", "width", "height"))
        assert seen[y : y + height, x : x + width].mean() >= MIN_VISIBLE - 0.05
        left[max(y - TOLERANCE_PX, 0) : y + height + TOLERANCE_PX, max(x - TOLERANCE_PX, 0) : x + width + TOLERANCE_PX] = (
            False
        )
    assert left.sum() <= MIN_VISIBLE * (48 * 44) * 1.1


def made_video(recipe: Recipe, *given: Parent, seed: int) -> Made | UnfitParent:
    resolved = video.KIND.complete(recipe)
    used = given[: video.KIND.operations.parents(resolved)]
    hashes = tuple(one.sha256 for one in used)
    work = Task(variant_id(hashes, resolved, seed), hashes, resolved, seed)
    ((_, outcome),) = video.KIND.make([(work, used)])
    return outcome


FIRST_CLIP = Parent("a" * 64, clip(PLACE), labels(PLACE))
SECOND_CLIP = Parent("b" * 64, clip(OTHER, 0.2), labels(OTHER))


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("name", VIDEO_OPERATIONS)
def test_boxes_of_a_clip_are_true_of_every_picture_or_not_told(name: str, seed: int) -> None:
    parameters = PARAMETERS.get(name, {})
    found = made_video(Recipe(name, **parameters), FIRST_CLIP, SECOND_CLIP, seed=seed)
    assert isinstance(found, Made), found
    assert ("boxes" in found.labels) is (name in MARKS_STAY_TRUE) is (name not in DROPPED)
    assert video.KIND.problems(found) == []
    for frame in film(found.data).pictures() if "boxes" in found.labels else ():
        assert_it = assert_true_though_covered if name in COVERING else assert_true
        assert_it(frame.to_ndarray(format="rgb24"), found.labels["boxes"])


@pytest.mark.parametrize("name", [name for name in video.KIND.recipes])
def test_no_ready_made_recipe_of_clips_tells_untrue_boxes(name: str) -> None:
    found = made_video(video.KIND.recipes[name], FIRST_CLIP, SECOND_CLIP, seed=4)
    if isinstance(found, UnfitParent):
        assert found.reason == "too_short"
        return
    for frame in film(found.data).pictures() if "boxes" in found.labels else ():
        assert_true(frame.to_ndarray(format="rgb24"), found.labels["boxes"])


@pytest.mark.parametrize("run_seed", [1, 2, 3])
@pytest.mark.parametrize("name", PHOTO_OPERATIONS)
def test_boxes_of_a_photo_are_true_after_every_operation(name: str, run_seed: int) -> None:
    first = parent(encoded(Image.fromarray(drawn(PLACE))), **labels(PLACE))
    second = parent(encoded(Image.fromarray(drawn(OTHER))), **labels(OTHER))
    recipe = photos.KIND.complete(
        Recipe("fit", side_px=96, shape="aspect").then(Recipe(name, **PARAMETERS.get(name, {})), Recipe("png"))
    )
    given = (first, second)[: photos.KIND.operations.parents(recipe)]
    ((_, found),) = photos.KIND.make([task(recipe, *given, run_seed=run_seed)])
    if isinstance(found, UnfitParent):
        assert name in ("recompress", "cutout") and found.reason == "unchanged"  # photos as flat as these may stay the same
        return
    picture = np.asarray(Image.open(io.BytesIO(found.data)).convert("RGB"))
    if name == "mixup":  # both shine through: what is seen of either is brighter than where neither is
        luma = picture.astype(float).mean(axis=2)
        for box in found.labels["boxes"]:
            x, y, width, height = (round(box[key]) for key in ("x", "y", "width", "height"))
            assert luma[y + 2 : y + height - 2, x + 2 : x + width - 2].min() > luma[:8].max() + 5
        assert len(found.labels["boxes"]) == 2
        return
    (assert_true_though_covered if name in COVERING else assert_true)(picture, found.labels["boxes"])


def test_an_effect_that_nobody_has_thought_about_drops_boxes() -> None:
    class Swirl:
        pass

    there = marks.read(labels(PLACE))
    assert plans.marks_after(Swirl(), there, Canvas(WIDTH, HEIGHT)) is None  # type: ignore[arg-type]
    assert plans.marks_after(Blur(1.0), there, Canvas(WIDTH, HEIGHT)) == there


def test_a_box_in_a_last_odd_column_ends_with_the_clip() -> None:
    told = {"boxes": [{"x": 100, "y": 80, "width": 29, "height": 17}]}
    found = made_video(Recipe("sepia"), Parent("a" * 64, FIRST_CLIP.data, told), seed=1)
    assert isinstance(found, Made)
    assert found.labels["boxes"] == [{"x": 100, "y": 80, "width": 28, "height": 16}]


@pytest.mark.parametrize("given", [[{"x": 1}], "all", [{"x": 1, "y": 1, "width": -3, "height": 4}]])
def test_what_are_no_boxes_of_a_clip_is_told(given: object) -> None:
    found = made_video(Recipe("sepia"), Parent("a" * 64, FIRST_CLIP.data, {"boxes": given}), seed=1)
    assert isinstance(found, UnfitParent)
    assert found.reason == "bad_labels"


def test_masks_of_a_clip_follow_as_boxes_do() -> None:
    outline = [[10, 10, 40, 10, 40, 30, 10, 30]]
    labelled = Parent("a" * 64, FIRST_CLIP.data, {"masks": [{"polygons": outline, "label": "x"}]})
    mirrored = made_video(Recipe("flip"), labelled, seed=1)
    assert isinstance(mirrored, Made)
    (mask,) = mirrored.labels["masks"]
    assert sorted(mask["polygons"][0][::2]) == [88, 88, 118, 118]
    joined = made_video(Recipe("concatenate"), labelled, SECOND_CLIP, seed=1)
    assert isinstance(joined, Made)
    assert set(joined.labels) == set()
