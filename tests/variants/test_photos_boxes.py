import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.errors import UnfitParent
from pipeline_assets.labeling import boxes
from pipeline_assets.labeling.boxes import Box, clipped, covered, moved, problems, read, to_labels
from pipeline_assets.variants.photos.catalogue import PHOTOS
from pipeline_assets.variants.photos.effects import Canvas

SIDE = 100.0


def affine(a=1.0, b=0.0, c=0.0, d=0.0, e=1.0, f=0.0):
    return np.array([[a, b, c], [d, e, f], [0, 0, 1.0]])


def places(found):
    return [(box.left, box.top, box.right, box.bottom) for box in found]


@pytest.mark.parametrize(
    ("matrix", "after"),
    [
        (affine(), (10, 20, 40, 60)),
        (affine(c=5, f=-10), (15, 10, 45, 50)),
        (affine(a=-1, c=SIDE), (60, 20, 90, 60)),
        (affine(e=-1, f=SIDE), (10, 40, 40, 80)),
        (affine(a=2, e=2), (20, 40, 80, 100)),
        (affine(a=0, b=-1, c=SIDE, d=1, e=0), (40, 10, 80, 40)),
        (affine(c=-20), (0, 20, 20, 60)),
    ],
)
def test_a_box_goes_where_its_corners_go_and_ends_at_the_edge(matrix, after):
    assert places(moved([Box(10, 20, 40, 60)], matrix, SIDE, SIDE)) == [pytest.approx(after)]


def test_a_turned_box_is_the_smallest_one_around_its_outline():
    turn = affine(0.8, -0.6, 20, 0.6, 0.8, 0)
    ((left, top, right, bottom),) = places(moved([Box(20, 20, 60, 40)], turn, SIDE, SIDE))
    assert (left, top, right, bottom) == pytest.approx((12, 28, 56, 68))


def test_only_what_is_seen_of_a_turned_box_counts_for_the_box_around_it():
    """The corner that leaves the picture would have made the box taller."""
    turn = affine(0.8, -0.6, 0, 0.6, 0.8, -30)
    ((_, top, _, bottom),) = places(moved([Box(20, 0, 80, 40)], turn, SIDE, SIDE))
    assert top == 0 and bottom == pytest.approx(50)


@pytest.mark.parametrize(("shift", "is_kept"), [(-29, True), (-31, False), (-100, False), (500, False)])
def test_a_box_of_which_less_than_a_quarter_is_seen_is_dropped(shift, is_kept):
    assert bool(moved([Box(0, 0, 40, 40)], affine(c=shift), SIDE, SIDE)) is is_kept


def test_what_is_seen_counts_over_all_steps_together():
    once = moved([Box(0, 0, 40, 40)], affine(c=-20), SIDE, SIDE)
    assert once[0].visible == pytest.approx(0.5)
    assert moved(once, affine(c=-9), SIDE, SIDE) and not moved(once, affine(c=-11), SIDE, SIDE)


def test_a_box_turned_over_by_a_perspective_is_dropped():
    assert moved([Box(10, 10, 20, 20)], np.array([[1, 0, 0], [0, 1, 0], [-0.1, 0, 1.0]]), SIDE, SIDE) == []


@pytest.mark.parametrize(
    ("cover", "after"),
    [
        ((0, 0, 5, 5), (10, 10, 50, 50)),
        ((20, 20, 30, 30), (10, 10, 50, 50)),
        ((0, 0, 20, 100), (20, 10, 50, 50)),
        ((40, 0, 100, 100), (10, 10, 40, 50)),
        ((0, 0, 100, 25), (10, 25, 50, 50)),
        ((10, 30, 50, 50), (10, 10, 50, 30)),
        ((0, 0, 30, 30), (10, 10, 50, 50)),
    ],
)
def test_a_box_shrinks_only_if_a_whole_side_is_covered(cover, after):
    assert places(covered([Box(10, 10, 50, 50)], *cover)) == [after]


def test_a_covered_box_is_dropped_and_a_cut_one_keeps_what_shows():
    assert covered([Box(10, 10, 50, 50)], 0, 0, 100, 42) == []
    assert places(clipped([Box(10, 10, 50, 50), Box(0, 0, 31, 31)], 30, 30, 90, 90)) == [(30, 30, 50, 50)]


def test_other_keys_of_a_label_are_kept():
    given_labels = {"boxes": [{"x": 1, "y": 2, "width": 3, "height": 4, "label": "cat", "id": 7}]}
    assert to_labels(read(given_labels), 50, 50) == [{"x": 1, "y": 2, "width": 3, "height": 4, "label": "cat", "id": 7}]


@pytest.mark.parametrize(
    "box",
    [
        {},
        {"x": 1, "y": 1, "width": 5},
        {"x": "a", "y": 1, "width": 5, "height": 5},
        {"x": None, "y": 1, "width": 5, "height": 5},
        {"x": 1, "y": 1, "width": 0, "height": 5},
        {"x": 1, "y": 1, "width": -5, "height": -5},
        {"x": float("nan"), "y": 1, "width": 5, "height": 5},
        {"x": 1, "y": 1, "width": float("inf"), "height": 5},
        [1, 2, 3, 4],
        "box",
    ],
)
def test_what_is_no_box_is_told(box):
    with pytest.raises(UnfitParent) as caught:
        read({"boxes": [box]})
    assert caught.value.reason == "bad_labels"
    assert problems([box], 10, 10)


def test_boxes_outside_are_problems():
    assert problems([{"x": 0, "y": 0, "width": 10, "height": 10}], 10, 10) == []
    for wrong in ({"x": -1}, {"y": -0.1}, {"x": 1}, {"height": 10.1}):
        assert len(problems([{"x": 0, "y": 0, "width": 10, "height": 10} | wrong], 10, 10)) == 1


@given(
    st.sampled_from(["crop", "flip", "rotate", "perspective"]),
    st.integers(0, 2**32),
    st.tuples(*[st.floats(0, 0.9)] * 2, *[st.floats(0.05, 0.9)] * 2),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_point_of_a_thing_stays_in_its_box_while_it_is_seen(name, seed, place, at):
    canvas = Canvas(120, 90)
    left, top = place[0] * 120, place[1] * 90
    box = Box(left, top, left + place[2] * 120, top + place[3] * 90)
    matrix = PHOTOS[name].function(canvas, np.random.default_rng(seed)).matrix
    point = matrix @ (box.left + at[0] * (box.right - box.left), box.top + at[1] * (box.bottom - box.top), 1)
    x, y = point[:2] / point[2]
    for after in moved([box], matrix, 120, 90):
        assert 0 <= after.left < after.right <= 120 + 1e-9 and 0 <= after.top < after.bottom <= 90 + 1e-9
        assert boxes.MIN_VISIBLE <= after.visible <= 1 + 1e-9
        if 0 <= x <= 120 and 0 <= y <= 90:
            assert after.left - 1e-6 <= x <= after.right + 1e-6 and after.top - 1e-6 <= y <= after.bottom + 1e-6


@given(st.sampled_from(["rotate", "perspective", "crop"]), st.integers(0, 2**32))
def test_no_operation_shows_what_is_outside_the_photo(name, seed):
    canvas = Canvas(120, 90)
    function = PHOTOS[name].function
    matrix = function(canvas, np.random.default_rng(seed), **({"degrees": (-180, 180)} if name == "rotate" else {})).matrix
    corners = np.array([(0, 0, 1), (120, 0, 1), (120, 90, 1), (0, 90, 1)]) @ np.linalg.inv(matrix).T
    seen = corners[:, :2] / corners[:, 2:]
    assert (seen >= -1e-6).all() and (seen <= np.array([120, 90]) + 1e-6).all()
