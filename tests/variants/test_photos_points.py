"""Points go where their pixels go: by hand-worked places, and by painting a dot and looking for it afterwards."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from photo_parents import SMALL, encoded, made, parent, photo, pixels
from PIL import Image, ImageDraw

from pipeline_assets.errors import UnfitParent
from pipeline_assets.labeling import points
from pipeline_assets.labeling.points import Point
from pipeline_assets.variants.photos import KIND
from pipeline_assets.variants.recipes import Recipe

PNG = Recipe("png")
RADIUS_PX = 9


def orange_dot(x, y):
    """Black, 200 x 160, with an orange dot and a point in its middle."""
    image = Image.new("RGB", (200, 160))
    ImageDraw.Draw(image).ellipse((x - RADIUS_PX, y - RADIUS_PX, x + RADIUS_PX, y + RADIUS_PX), (255, 128, 0))
    return parent(encoded(image), points=[{"x": x + 0.5, "y": y + 0.5, "label": "nose"}])


def test_points_are_kept_in_the_picture_and_outside_of_what_covers_it():
    some = [Point(10, 10), Point(50, 20, {"label": "ear"}), Point(90, 90)]
    assert points.clipped(some, 0, 0, 50, 50) == some[:2]
    assert points.covered(some, 40, 10, 60, 30) == [some[0], some[2]]
    half = np.diag([0.5, 0.5, 1.0])
    assert points.moved(some, half, 30, 30) == [Point(5, 5), Point(25, 10, {"label": "ear"})]
    behind = np.array([[1, 0, 0], [0, 1, 0], [-0.1, 0, 1.0]])
    assert points.moved(some, behind, 100, 100) == []
    assert points.to_labels([Point(1.234, 99, {"label": "ear"})], 50, 60) == [{"label": "ear", "x": 1.23, "y": 60}]


@given(
    st.sampled_from(["crop", "flip", "rotate", "perspective", "crop_and_flip"]),
    st.integers(0, 10**6),
    st.integers(20, 180),
    st.integers(20, 140),
)
@settings(max_examples=40, deadline=None)
def test_a_point_is_where_its_thing_is(name, run_seed, x, y):
    recipe = Recipe("fit", side_px=128, shape="aspect").then(KIND.recipes[name], PNG)
    outcome = made(recipe, orange_dot(x, y), run_seed=run_seed)
    assert not isinstance(outcome, UnfitParent) and KIND.problems(outcome) == []
    seen = pixels(outcome)[..., 0] > 140
    if not outcome.labels["points"]:
        # Its middle is out of the picture, so that at most about half of the dot is in it.
        assert seen.sum() < 0.75 * np.pi * (2.2 * RADIUS_PX) ** 2
        return
    [found] = outcome.labels["points"]
    rows, columns = np.nonzero(seen)
    distance = np.hypot(columns + 0.5 - found["x"], rows + 0.5 - found["y"])
    assert distance.min() <= 1.5
    assert found["label"] == "nose"


def test_points_of_both_photos_are_there_where_two_are_mixed():
    other = photo(3, 160, 160, points=[{"x": 40, "y": 80, "label": "tail"}])
    outcome = made(SMALL.then(Recipe("mixup", share=0.25), PNG), orange_dot(60, 60), other)
    assert [one["label"] for one in outcome.labels["points"]] == ["nose", "tail"]


@pytest.mark.parametrize(
    "point", [{}, {"x": 1}, {"x": "1", "y": 2}, {"x": True, "y": 2}, {"x": float("nan"), "y": 1}, 3, None]
)
def test_a_point_that_is_none_is_refused(point):
    with pytest.raises(UnfitParent):
        points.read({"points": [point]})
