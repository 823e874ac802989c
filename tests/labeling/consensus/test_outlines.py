"""Regions as runs, against bitmaps and against shapes whose areas are known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.labeling.consensus import outlines
from pipeline_assets.labeling.consensus.outlines import Grid, Runs

bitmaps = st.integers(1, 6).flatmap(
    lambda height: st.lists(st.lists(st.booleans(), min_size=height, max_size=height), min_size=1, max_size=6)
)
"""Columns of pixels."""


def counts(columns: list[list[bool]]) -> list[int]:
    pixels = np.concatenate([[False], np.array(columns).ravel(), [not columns[-1][-1]]])
    ends = np.flatnonzero(np.diff(pixels.astype(int)))
    return np.diff(np.concatenate([[0], ends])).tolist()


def square(x: float, y: float, side: float) -> list[tuple[float, float]]:
    return [(x, y), (x + side, y), (x + side, y + side), (x, y + side)]


GRID = Grid(0.25, 0.0, 0.0, 100.0)


def area(region: Runs, grid: Grid = GRID) -> float:
    return region.length * grid.column


@given(bitmaps, bitmaps)
def test_runs_share_what_bitmaps_share(one: list[list[bool]], other: list[list[bool]]) -> None:
    pixels = min(len(one) * len(one[0]), len(other) * len(other[0]))
    flat = [np.array(columns).ravel() for columns in (one, other)]
    regions = [outlines.of_rle(counts(columns)) for columns in (one, other)]
    both = flat[0][:pixels] & flat[1][:pixels]
    assert [region.length for region in regions] == [bits.sum() for bits in flat]
    assert outlines.common(*regions) == pytest.approx(both.sum())


@given(bitmaps)
def test_a_mask_is_itself_again(columns: list[list[bool]]) -> None:
    pixels = len(columns) * len(columns[0])
    encoded = outlines.to_rle(outlines.of_rle(counts(columns)), pixels)
    assert sum(encoded) == pixels
    inside = np.repeat(np.arange(len(encoded)) % 2 == 1, encoded)
    np.testing.assert_array_equal(inside, np.array(columns).ravel())


@given(st.integers(2, 5), st.data())
def test_the_majority_of_masks_is_that_of_their_pixels(height: int, data: st.DataObject) -> None:
    column = st.lists(st.booleans(), min_size=height, max_size=height)
    masks = data.draw(st.lists(st.lists(column, min_size=3, max_size=3), min_size=1, max_size=5))
    weights = np.array(data.draw(st.lists(st.integers(1, 4), min_size=len(masks), max_size=len(masks))), np.float64)
    region = outlines.majority([outlines.of_rle(counts(mask)) for mask in masks], weights)
    covered = sum(weight * np.array(mask).ravel() for weight, mask in zip(weights, masks, strict=True))
    inside = np.repeat(np.arange(len(rle := outlines.to_rle(region, height * 3))) % 2 == 1, rle)
    np.testing.assert_array_equal(inside, covered > weights.sum() / 2)


@pytest.mark.parametrize(
    ("polygons", "expected"),
    [
        ([square(10, 10, 20)], 400),
        ([square(10, 10, 20), square(20, 20, 20)], 700),
        ([square(10, 10, 20), square(10, 10, 20)], 400),
        ([[(0, 0), (40, 0), (0, 40)]], 800),
        ([[(0, 0), (40, 0), (40, 40), (20, 10), (0, 40)]], 1000),
        ([[(0, 0), (40, 40), (40, 0), (0, 40)]], 800),
        ([[(10, 10), (10, 30), (10, 50)]], 0),
        ([square(90, 90, 20)], 200),
    ],
)
def test_polygons_have_their_areas(polygons: list[list[tuple[float, float]]], expected: float) -> None:
    assert area(outlines.of_polygons(polygons, GRID)) == pytest.approx(expected, rel=0.01)


@given(st.floats(0, 360), st.floats(1, 40), st.floats(1, 40))
def test_a_turned_rectangle_keeps_its_area(angle: float, width: float, height: float) -> None:
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    corners = [(x * cos - y * sin, x * sin + y * cos) for x, y in ((0, 0), (width, 0), (width, height), (0, height))]
    low = np.array(corners).min(axis=0)
    grid = Grid(float(np.ptp(np.array(corners)[:, 0])) / 400, float(low[0]), float(low[1]), 200.0)
    assert area(outlines.of_polygons([corners], grid), grid) == pytest.approx(width * height, rel=0.02)


def test_bounds_hold_a_region() -> None:
    region = outlines.of_polygons([square(10, 20, 30)], GRID)
    assert outlines.bounds(region, GRID) == pytest.approx((10, 20, 40, 50), abs=0.25)
    whole = outlines.of_rle([0, 12])
    assert outlines.bounds(whole, Grid(1, 0, 0, 4)) == (0, 0, 3, 4)
    assert outlines.bounds(outlines.of_rle([12]), Grid(1, 0, 0, 4)) == (0, 0, 0, 0)
    assert outlines.iou(outlines.of_rle([12]), outlines.of_rle([12])) == 0
