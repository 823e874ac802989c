"""Boxes, polygons, masks and points of several annotators: how far two are one, and which lies in the middle. Pure."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline_assets.labeling.consensus import outlines
from pipeline_assets.labeling.consensus.agreement import Floats, Ints
from pipeline_assets.labeling.consensus.choices import Bools
from pipeline_assets.labeling.consensus.clusters import Mark, Shapes, TooMany, medoid, without_place
from pipeline_assets.labeling.polygons import Point

MIN_IOU, RADIUS_PX = 0.5, 20.0
DECIMALS = 2


class Boxes:
    """Upright boxes. The middle has the medians of their edges."""

    def __init__(self, marks: Sequence[Mark], least: float = MIN_IOU) -> None:
        self.marks, self.least = marks, least
        places = [[mark[name] for name in ("x", "y", "width", "height")] for mark in marks]
        x, y, width, height = np.array(places, np.float64).reshape(-1, 4).T
        self.bounds: Floats = np.stack([x, y, x + width, y + height], axis=1)
        self.area = width * height

    def overlap(self, left: Ints, right: Ints) -> Bools:
        """As `Shapes` says."""
        return self.similarity(left, right) >= self.least - 1e-9

    def similarity(self, left: Ints, right: Ints) -> Floats:
        """Intersection over union."""
        both = _common(self.bounds, left, right)
        return both / np.maximum(self.area[left] + self.area[right] - both, 1e-300)

    def merged(self, members: Sequence[int], weights: Floats) -> dict[str, Any]:
        """Medians of left, top, right and bottom."""
        left, top, right, bottom = np.round(np.median(self.bounds[list(members)], axis=0), DECIMALS).tolist()
        place = {"x": left, "y": top, "width": round(right - left, DECIMALS), "height": round(bottom - top, DECIMALS)}
        return without_place([self.marks[member] for member in members], (*place, "rotation")) | place


class Points:
    """Points. Two are one if they are at most `radius_px` apart; the middle has the medians of their coordinates."""

    least = 0.5

    def __init__(self, marks: Sequence[Mark], radius_px: float = RADIUS_PX) -> None:
        self.marks, self.radius_px = marks, radius_px
        self.points = np.array([[mark["x"], mark["y"]] for mark in marks], np.float64).reshape(-1, 2)
        self.bounds: Floats = np.concatenate([self.points - radius_px / 2, self.points + radius_px / 2], axis=1)

    def overlap(self, left: Ints, right: Ints) -> Bools:
        """As `Shapes` says."""
        return self.similarity(left, right) >= self.least - 1e-9

    def similarity(self, left: Ints, right: Ints) -> Floats:
        """1 for the same place, one half at the radius."""
        distance = np.linalg.norm(self.points[left] - self.points[right], axis=1)
        return 1 - distance / (2 * self.radius_px)

    def merged(self, members: Sequence[int], weights: Floats) -> dict[str, Any]:
        """Medians of x and y."""
        x, y = np.round(np.median(self.points[list(members)], axis=0), DECIMALS).tolist()
        return without_place([self.marks[member] for member in members], ("x", "y")) | {"x": x, "y": y}


class Outlines:
    """Polygons, RLE masks and turned boxes. The middle of masks of one size is where most have pixels, that of others is
    one of them.
    """

    def __init__(self, marks: Sequence[Mark], least: float = MIN_IOU) -> None:
        self.marks, self.least = marks, least
        shapes = [None if "rle" in mark else _polygons(mark) for mark in marks]
        self.grid = _grid(
            [shape for shape in shapes if shape], {tuple(mark["rle"]["size"]) for mark in marks if "rle" in mark}
        )
        self.runs = [
            outlines.of_rle(mark["rle"]["counts"]) if shape is None else outlines.of_polygons(shape, self.grid)
            for mark, shape in zip(marks, shapes, strict=True)
        ]
        self.area = np.array([region.length for region in self.runs]) * self.grid.column
        self.bounds: Floats = np.array([outlines.bounds(region, self.grid) for region in self.runs]).reshape(-1, 4)

    def overlap(self, left: Ints, right: Ints) -> Bools:
        """What two share is no larger than what their bounds share, and their union no smaller than either."""
        return _common(self.bounds, left, right) >= (self.least - 1e-9) * np.maximum(self.area[left], self.area[right])

    def similarity(self, left: Ints, right: Ints) -> Floats:
        """Intersection over union."""
        pairs = zip(left.tolist(), right.tolist(), strict=True)
        return np.array([outlines.iou(self.runs[one], self.runs[other]) for one, other in pairs], np.float64)

    def merged(self, members: Sequence[int], weights: Floats) -> dict[str, Any]:
        """The majority of pixels, medians of upright boxes, or the member most similar to the others."""
        marks = [self.marks[member] for member in members]
        if all("rle" in mark for mark in marks):
            height, width = marks[0]["rle"]["size"]
            region = outlines.majority([self.runs[member] for member in members], weights)
            if region.length:
                rle = {"size": [height, width], "counts": outlines.to_rle(region, height * width)}
                return without_place(marks, ("rle",)) | {"rle": rle}
        if all("width" in mark and not mark.get("rotation") for mark in marks):
            return Boxes(marks).merged(range(len(marks)), weights)
        return {name: value for name, value in self.marks[medoid(self, members)].items() if name != "label"}


def of_boxes(marks: Sequence[Mark], least: float = MIN_IOU) -> Shapes:
    """Boxes, upright or turned. Raises TooMany."""
    return Outlines(marks, least) if any(mark.get("rotation") for mark in marks) else Boxes(marks, least)


def _common(bounds: Floats, left: Ints, right: Ints) -> Floats:
    """The area that rectangles share."""
    low = np.maximum(bounds[left, :2], bounds[right, :2])
    return np.maximum(np.minimum(bounds[left, 2:], bounds[right, 2:]) - low, 0).prod(1)


def _grid(shapes: Sequence[Sequence[Sequence[Point]]], sizes: set[tuple[int, int]]) -> outlines.Grid:
    """The columns along which all marks of an item are compared. Raises TooMany."""
    if len(sizes) > 1:
        raise TooMany(f"the masks of one item have {len(sizes)} sizes")
    points = [np.concatenate([np.asarray(polygon, np.float64) for polygon in shape]) for shape in shapes]
    way = sum(float(np.abs(np.diff(polygon, axis=0, append=polygon[:1])[:, 0]).sum()) for polygon in points)
    if sizes:
        grid = outlines.Grid(1.0, 0.0, 0.0, float(next(iter(sizes))[0]))
    else:
        low, high = (
            (part(np.concatenate(points), axis=0) for part in (np.min, np.max)) if points else (np.zeros(2), np.ones(2))
        )
        column = outlines.column_width([float(np.ptp(polygon[:, 0])) for polygon in points], way)
        grid = outlines.Grid(column, float(low[0]), float(low[1]), float(high[1] - low[1]) + 1.0)
    reach = max((float(np.abs(polygon[:, 0] - grid.left).max()) for polygon in points), default=0.0)
    if way > 1.001 * outlines.MAX_CROSSINGS * grid.column or reach / grid.column * grid.height > outlines.MAX_LINE:
        raise TooMany("the polygons of one item have too many points, or lie too far apart")
    return grid


def _polygons(mark: Mapping[str, Any]) -> list[list[Point]]:
    """The polygons of a mask, or the corners of a box that is turned around its top left corner, clockwise."""
    if "polygons" in mark:
        return [list(zip(map(float, flat[::2]), map(float, flat[1::2]), strict=True)) for flat in mark["polygons"]]
    x, y, width, height = (float(mark[name]) for name in ("x", "y", "width", "height"))
    angle = math.radians(float(mark.get("rotation") or 0))
    cos, sin = math.cos(angle), math.sin(angle)
    corners = ((0.0, 0.0), (width, 0.0), (width, height), (0.0, height))
    return [[(x + right * cos - down * sin, y + right * sin + down * cos) for right, down in corners]]
