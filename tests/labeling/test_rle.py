"""Run-length encoded masks: what COCO's own library writes becomes polygons that cover the same pixels, and nothing else."""

from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco_mask

from pipeline_assets.labeling import polygons as shapes
from pipeline_assets.labeling.rle import BadRle, polygons, runs, text

BITMAPS = arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 1))


def points(polygon: list[float]) -> list[tuple[float, float]]:
    return list(zip(polygon[::2], polygon[1::2], strict=True))


def covers(polygon: list[float], x: float, y: float) -> bool:
    """By how often a ray to the right crosses the outline."""
    corners = points(polygon)
    edges = zip(corners, corners[1:] + corners[:1], strict=True)
    return sum((y0 > y) != (y1 > y) and x < x0 for (x0, y0), (_, y1) in edges) % 2 == 1


def painted(found: list[list[float]], height: int, width: int) -> np.ndarray:
    """How many polygons cover the middle of each pixel."""
    return np.array(
        [[sum(covers(one, x + 0.5, y + 0.5) for one in found) for x in range(width)] for y in range(height)], np.uint8
    )


def runs_of(bitmap: np.ndarray) -> list[int]:
    flat = bitmap.T.ravel().tolist()
    runs, inside = [0], 0
    for value in flat:
        if value != inside:
            runs.append(0)
            inside = value
        runs[-1] += 1
    return runs


@given(BITMAPS)
def test_polygons_cover_the_pixels_of_the_mask_once_and_no_others(bitmap: np.ndarray) -> None:
    height, width = bitmap.shape
    written = coco_mask.encode(np.asfortranarray(bitmap))
    told = {"size": [height, width], "counts": written["counts"].decode()}
    found = polygons(told)
    assert (painted(found, height, width) == bitmap).all()
    assert sum(shapes.area(points(one)) for one in found) == bitmap.sum()
    assert found == polygons({"size": [height, width], "counts": runs_of(bitmap)})


def test_a_plain_shape_is_one_polygon_without_needless_points() -> None:
    bitmap = np.zeros((20, 30), np.uint8)
    bitmap[5:15, 10:20] = 1
    assert polygons({"size": [20, 30], "counts": runs_of(bitmap)}) == [[10, 5, 20, 5, 20, 15, 10, 15]]
    assert polygons({"size": [20, 30], "counts": [0, 600]}) == [[0, 0, 30, 0, 30, 20, 0, 20]]
    assert polygons({"size": [20, 30], "counts": [600]}) == []
    assert polygons({"size": [4, 1], "counts": [0, 1, 0, 3]}) == [[0, 0, 1, 0, 1, 4, 0, 4]]


@pytest.mark.parametrize(
    "rle",
    [
        None,
        "x",
        {},
        {"size": [2, 2]},
        {"size": [2, 2], "counts": []},
        {"size": [2, 2], "counts": [3]},
        {"size": [2, 2], "counts": [5]},
        {"size": [2, 2], "counts": [2, -1, 3]},
        {"size": [2, 2], "counts": [2.0, 2]},
        {"size": [2, 2], "counts": [True, 3]},
        {"size": [2, 2], "counts": ""},
        {"size": [2, 2], "counts": "\0"},
        {"size": [2, 2], "counts": "ü"},
        {"size": [2, 2], "counts": "o"},
        {"size": [2, 2], "counts": "o" * 100_000},
        {"size": [2, 2], "counts": "0" * 300_000},
        {"size": [2, 2, 2], "counts": [4]},
        {"size": [0, 2], "counts": [0]},
        {"size": [2, 10**9], "counts": [2 * 10**9]},
        {"size": ["2", 2], "counts": [4]},
        {"size": [True, 2], "counts": [2]},
    ],
)
def test_what_is_no_mask_is_told(rle: Any) -> None:
    with pytest.raises(BadRle):
        polygons(rle)


@given(st.text(st.characters(min_codepoint=48, max_codepoint=111), max_size=30))
def test_any_text_is_a_mask_or_said_to_be_none(text: str) -> None:
    with suppress(BadRle):
        polygons({"size": [3, 3], "counts": text})


def test_a_run_over_all_columns_costs_no_more_than_over_one() -> None:
    side = 65_535
    for size in ([1, side], [side, side]):
        for _ in range(2_000):  # a minute and more, if each column were looked at
            [found] = polygons({"size": size, "counts": [0, size[0] * size[1]]})
        assert sorted(points(found)) == sorted([(0, 0), (side, 0), (side, size[0]), (0, size[0])])


@given(BITMAPS)
def test_runs_as_text_are_those_that_coco_writes_and_come_back(bitmap: np.ndarray) -> None:
    height, width = bitmap.shape
    written = coco_mask.encode(np.asfortranarray(bitmap))["counts"].decode()
    assert text(runs_of(bitmap)) == written
    assert runs({"size": [height, width], "counts": written}) == runs_of(bitmap)
