"""Masks go where their pixels go: by hand-worked shapes, and by painting a shape and looking for it afterwards."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from photo_parents import SMALL, encoded, made, parent, photo, pixels
from PIL import Image, ImageDraw
from scipy.ndimage import binary_dilation, binary_erosion

from pipeline_assets.errors import UnfitParent
from pipeline_assets.labeling import masks
from pipeline_assets.labeling.masks import Mask
from pipeline_assets.variants.photos import KIND
from pipeline_assets.variants.recipes import Recipe

PNG = Recipe("png")
SQUARE = ((10.0, 10.0), (50.0, 10.0), (50.0, 50.0), (10.0, 50.0))
ELL = [20, 20, 140, 20, 140, 60, 80, 60, 80, 130, 20, 130]
"""An L, concave, on a photo of 200 x 160."""


def areas(found):
    return [sum(masks.polygons.area(polygon) for polygon in mask.polygons) for mask in found]


def orange_ell(**labels):
    """Black, with an orange L and its mask."""
    image = Image.new("RGB", (200, 160))
    corners = list(zip(ELL[::2], ELL[1::2], strict=True))
    ImageDraw.Draw(image).polygon([(x - (x > 20), y - (y > 20)) for x, y in corners], (255, 128, 0))
    image.paste((0, 0, 0), (80, 60, 200, 160))
    return parent(encoded(image), masks=[{"polygons": [ELL], "label": "ell"}], **labels)


def painted(outcome):
    """The pixels of a variant that its masks cover: those whose middle does."""
    height, width = pixels(outcome).shape[:2]
    sheet = Image.new("L", (width * 8, height * 8))
    for mask in outcome.labels["masks"]:
        for shape in mask["polygons"]:
            ImageDraw.Draw(sheet).polygon([value * 8 for value in shape], 255)
    return np.asarray(sheet.resize((width, height), Image.Resampling.BOX)) > 127


def test_what_a_rectangle_hides_of_a_mask_is_cut_out_of_it_wherever_it_lies():
    for cover, left in (
        ((0, 0, 5, 5), 1600),
        ((20, 20, 30, 30), 1500),
        ((0, 0, 30, 30), 1200),
        ((0, 0, 100, 40), 400),
        ((10, 30, 50, 50), 800),
    ):
        assert areas(masks.covered([Mask((SQUARE,))], *cover)) == [pytest.approx(left)]
    assert masks.covered([Mask((SQUARE,))], 0, 0, 60, 60) == []
    assert areas(masks.clipped([Mask((SQUARE,)), Mask((SQUARE,))], 40, 40, 90, 90)) == [100, 100]


def test_a_mask_turned_over_by_a_perspective_is_dropped():
    assert masks.moved([Mask((SQUARE,))], np.array([[1, 0, 0], [0, 1, 0], [-0.1, 0, 1.0]]), 100, 100) == []


@pytest.mark.slow
@given(
    st.sampled_from(["crop", "flip", "rotate", "perspective", "crop_and_flip", "cutout"]),
    st.integers(0, 10**6),
    st.sampled_from(["square", "aspect"]),
)
@settings(max_examples=60, deadline=None)
def test_a_mask_is_where_its_thing_is(name, run_seed, shape):
    recipe = Recipe("fit", side_px=128, shape=shape).then(KIND.recipes[name], PNG)
    outcome = made(recipe, orange_ell(title="an ell"), run_seed=run_seed)
    assert not isinstance(outcome, UnfitParent) and KIND.problems(outcome) == []
    seen, told = pixels(outcome)[..., 0] > 140, painted(outcome)
    assert outcome.labels["title"] == "an ell"
    assert {mask["label"] for mask in outcome.labels["masks"]} <= {"ell"}
    # They differ by half shades along the outline, and nowhere else.
    outline = binary_dilation(told) ^ binary_erosion(told)
    assert (np.logical_xor(seen, told) & ~binary_dilation(outline, iterations=2)).sum() <= 4
    assert np.logical_xor(seen, told).sum() <= 0.15 * seen.sum() + 40


def test_masks_of_both_photos_are_there_where_two_are_mixed():
    other = photo(3, 160, 160, masks=[{"polygons": [[40, 40, 120, 40, 120, 120, 40, 120]], "crowd": True}])
    outcome = made(SMALL.then(Recipe("mixup", share=0.25), PNG), orange_ell(), other)
    assert [mask.get("label") for mask in outcome.labels["masks"]] == ["ell", None]
    assert outcome.labels["masks"][1] == {"polygons": [[16, 16, 48, 16, 48, 48, 16, 48]], "crowd": True}
    assert "masks" not in outcome.labels["mixed"]["labels"]
    pasted = made(SMALL.then(Recipe("cutmix", area=0.25), PNG), orange_ell(), photo(3))
    assert np.logical_and(painted(pasted), pixels(pasted)[..., 0] < 100).mean() < 0.02


def test_a_photo_without_masks_gets_none():
    assert "masks" not in made(SMALL.then(KIND.recipes["flip"], PNG), photo(1, title="x")).labels


@pytest.mark.parametrize(
    "mask",
    [
        {},
        "mask",
        {"polygons": []},
        {"polygons": [[1, 2, 3, 4]]},
        {"polygons": [[1, 2, 3, 4, 5, 6, 7]]},
        {"polygons": [[1, 1, 2, 2, 3, 3]]},
        {"polygons": [[1, 1, 5, 1, 5, "5"]]},
        {"polygons": [[1, 1, 5, 1, 5, float("nan")]]},
        {"polygons": [[1, 1, 5, 1, 5, True]]},
        {"polygons": [SQUARE]},
        {"polygons": "all"},
    ],
)
def test_what_is_no_mask_is_told(mask):
    with pytest.raises(UnfitParent) as caught:
        masks.read({"masks": [mask]})
    assert caught.value.reason == "bad_labels"
    assert masks.problems([mask], 10, 10)
    outcome = made(SMALL.then(KIND.recipes["flip"], PNG), photo(1, masks=[mask]))
    assert isinstance(outcome, UnfitParent) and outcome.reason == "bad_labels"


def test_masks_outside_are_problems():
    assert masks.problems([{"polygons": [[0, 0, 10, 0, 10, 10]]}], 10, 10) == []
    assert len(masks.problems([{"polygons": [[0, 0, 10, 0, 11, 10]]}], 10, 10)) == 1
