"""Regions of any outline as runs down the columns of a photo, which are compared without a bitmap. Pure.

A region is a set of disjoint intervals on one line: column after column, each as high as the photo. RLE masks are that
already, in whole pixels; polygons are cut along the middle of columns of a chosen width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline_assets.labeling.consensus.agreement import Floats
from pipeline_assets.labeling.polygons import Point

MAX_CROSSINGS = 2_000_000
"""Of outlines and columns, on one item: with more, columns become wider."""
MIN_COLUMNS = 64
"""Across the narrowest polygon, if MAX_CROSSINGS allows."""


MAX_LINE = 2.0**46
"""Of the line of all columns, in pixels: beyond it, floats are no longer exact to a hundredth."""


@dataclass(frozen=True)
class Grid:
    """column: their width; left, top: where the first begins; height: of a column. All in pixels."""

    column: float
    left: float
    top: float
    height: float


@dataclass(frozen=True)
class Runs:
    """starts, ends: (r,) disjoint, in order. knots, below: (2 r,) both ends, and how much of the region lies below."""

    starts: Floats
    ends: Floats
    knots: Floats
    below: Floats

    @property
    def length(self) -> float:
        """Of all runs; an area is this times the width of a column."""
        return float(self.below[-1]) if len(self.below) else 0.0


def runs(starts: Floats, ends: Floats) -> Runs:
    """The union of intervals in any order."""
    order = np.argsort(starts, kind="stable")
    starts, reach = starts[order], np.maximum.accumulate(ends[order])
    is_new = np.ones(len(starts), np.bool_)
    is_new[1:] = starts[1:] > reach[:-1]
    last = np.flatnonzero(np.append(is_new[1:], True)) if len(starts) else np.empty(0, np.int64)
    starts, ends = starts[is_new], reach[last]
    below = np.repeat(np.cumsum(ends - starts), 2)
    below[::2] -= ends - starts
    return Runs(starts, ends, np.stack([starts, ends], axis=1).ravel(), below)


def common(one: Runs, other: Runs) -> float:
    """The length of what two regions share."""
    if not len(one.starts) or not len(other.starts):
        return 0.0
    return float((np.interp(one.ends, other.knots, other.below) - np.interp(one.starts, other.knots, other.below)).sum())


def iou(one: Runs, other: Runs) -> float:
    """Intersection over union of two regions on the same columns; 0 if both are empty."""
    both = common(one, other)
    union = one.length + other.length - both
    return both / union if union > 0 else 0.0


def of_rle(counts: Sequence[int]) -> Runs:
    """The runs of COCO's list of counts, of which the first is outside."""
    ends = np.cumsum(np.asarray(counts, np.float64))
    inside = ends[1::2]
    starts = ends[::2][: len(inside)]
    is_any = inside > starts
    return runs(starts[is_any], inside[is_any])


def to_rle(region: Runs, pixels: int) -> list[int]:
    """COCO's list of counts of runs in whole pixels."""
    bounds = np.concatenate([[0.0], region.knots, [float(pixels)]]).astype(np.int64)
    counts = np.diff(bounds).tolist()
    return counts if counts[-1] or len(counts) == 1 else counts[:-1]


def of_polygons(polygons: Sequence[Sequence[Point]], grid: Grid) -> Runs:
    """The union of polygons, each by the even-odd rule. What lies above or below the grid is cut off."""
    parts = [_cut(np.asarray(polygon, np.float64), grid) for polygon in polygons]
    return runs(np.concatenate([starts for starts, _ in parts]), np.concatenate([ends for _, ends in parts]))


def bounds(region: Runs, grid: Grid) -> tuple[float, float, float, float]:
    """left, top, right, bottom in pixels, to a column's width; from top to bottom if a run spans columns."""
    if not len(region.starts):
        return 0.0, 0.0, 0.0, 0.0
    first, last = np.floor(region.starts / grid.height), np.ceil(region.ends / grid.height) - 1
    top, bottom = 0.0, grid.height
    if (first >= last).all():
        offset = first * grid.height
        top, bottom = float((region.starts - offset).min()), float((region.ends - offset).max())
    left, right = float(first.min()) * grid.column, float(last.max() + 1) * grid.column
    return left + grid.left, top + grid.top, right + grid.left, bottom + grid.top


def column_width(widths: Sequence[float], crossed: float) -> float:
    """A width of columns, in pixels. widths: of regions; crossed: the horizontal way along all outlines."""
    wide = [width for width in widths if width > 0]
    return max(min(wide) / MIN_COLUMNS, crossed / MAX_CROSSINGS) if wide else 1.0


def majority(regions: Sequence[Runs], weights: Floats) -> Runs:
    """What lies in more than half of the regions, by weight."""
    at = np.concatenate([part for region in regions for part in (region.starts, region.ends)])
    change = np.concatenate(
        [
            np.full(len(region.starts), sign * weight)
            for region, weight in zip(regions, weights.tolist(), strict=True)
            for sign in (1, -1)
        ]
    )
    places, where = np.unique(at, return_inverse=True)
    covered = np.cumsum(np.bincount(where, weights=change, minlength=len(places)))
    is_in = covered[:-1] > weights.sum() / 2 + 1e-9
    return runs(places[:-1][is_in], places[1:][is_in])


def _cut(points: Floats, grid: Grid) -> tuple[Floats, Floats]:
    """The intervals of one polygon (p, 2) along the middles of columns."""
    x0, y0 = ((points - (grid.left, grid.top)) / (grid.column, 1.0)).T
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    first = np.ceil(np.minimum(x0, x1) - 0.5).astype(np.int64)
    count = np.maximum(np.ceil(np.maximum(x0, x1) - 0.5).astype(np.int64) - first, 0)
    edge = np.repeat(np.arange(len(points)), count)
    at = np.repeat(first, count) + np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
    part = (at + 0.5 - x0[edge]) / (x1[edge] - x0[edge])
    y = np.clip(y0[edge] + part * (y1[edge] - y0[edge]), 0.0, grid.height)
    order = np.lexsort((y, at))
    places = (at[order] * grid.height + y[order]).reshape(-1, 2)
    return places[:, 0], places[:, 1]
