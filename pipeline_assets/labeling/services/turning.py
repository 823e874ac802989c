"""Marks in the pixels of the upright photo, and in those that its file stores before EXIF's orientation is applied. Pure.

A browser shows the upright photo, and so do Label Studio, Labelbox, Scale, CVAT, MTurk and Appen; Detectron2 and Ultralytics
turn it, too. A reader of COCO, YOLO, VOC or Supervisely that ignores EXIF needs marks in stored pixels.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline_assets.labeling.polygons import Point
from pipeline_assets.labeling.services import bitmaps, geometry
from pipeline_assets.labeling.services.form import Item

SWAPPED = (5, 6, 7, 8)
"""Orientations that swap width and height."""
_INVERSE = {6: 8, 8: 6}
_TURNS: Mapping[int, Callable[[float, float, float, float], Point]] = {
    2: lambda x, y, w, h: (w - x, y),
    3: lambda x, y, w, h: (w - x, h - y),
    4: lambda x, y, w, h: (x, h - y),
    5: lambda x, y, w, h: (y, x),
    6: lambda x, y, w, h: (h - y, x),
    7: lambda x, y, w, h: (h - y, w - x),
    8: lambda x, y, w, h: (y, w - x),
}
"""Where a point of a picture of w x h goes when it is turned as EXIF says."""
_BITMAPS: Mapping[int, Callable[[bitmaps.Bitmap], bitmaps.Bitmap]] = {
    2: np.fliplr,
    3: lambda bitmap: np.rot90(bitmap, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda bitmap: np.rot90(bitmap, -1),
    7: lambda bitmap: np.rot90(bitmap.T, 2),
    8: np.rot90,
}


def stored_size(item: Item) -> tuple[int, int] | None:
    """Width and height of the photo as its file stores it."""
    size = item.size
    return (size[1], size[0]) if size and item.orientation in SWAPPED else size


def as_stored(item: Item) -> Item:
    """An item with its labels and size in stored pixels."""
    size = item.size
    if size is None or item.orientation not in _TURNS:
        return item
    width, height = stored_size(item) or size
    turn = _INVERSE.get(item.orientation, item.orientation)
    labels = None if item.labels is None else turned(item.labels, turn, *size)
    return replace(item, labels=labels, width_px=width, height_px=height, orientation=1)


def upright(labels: Mapping[str, Any], item: Item) -> dict[str, Any]:
    """Labels in stored pixels, as labels of the upright photo."""
    size = stored_size(item)
    return dict(labels) if size is None else turned(labels, item.orientation, *size)


def turned(labels: Mapping[str, Any], orientation: int, width: float, height: float) -> dict[str, Any]:
    """Labels of a picture of this size, after it is turned as EXIF's orientation says."""
    if orientation not in _TURNS:
        return dict(labels)

    def moved(point: Point) -> Point:
        x, y = _TURNS[orientation](*point, width, height)
        return geometry.tidy(x), geometry.tidy(y)

    names = {"boxes": _box, "masks": _mask, "points": _point}
    return {
        name: [names[name](mark, moved, orientation) for mark in value] if name in names else value
        for name, value in labels.items()
    }


def _box(mark: Mapping[str, Any], moved: Callable[[Point], Point], orientation: int) -> dict[str, Any]:
    points = [moved(point) for point in geometry.corners(mark)]
    if geometry.rotation_of(mark):
        return geometry.extra_of(mark) | geometry.of_corners(points)
    xs, ys = zip(*points, strict=True)
    return geometry.extra_of(mark) | geometry.box(min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))


def _mask(mark: Mapping[str, Any], moved: Callable[[Point], Point], orientation: int) -> dict[str, Any]:
    if "rle" in mark:
        rows, columns = mark["rle"]["size"]
        bitmap = bitmaps.of_mark(mark, columns, rows)
        return {**mark, "rle": bitmaps.runs_of(_BITMAPS[orientation](bitmap))}
    shapes = [geometry.flat([moved(point) for point in geometry.points_of(shape)]) for shape in mark["polygons"]]
    return {**mark, "polygons": shapes}


def _point(mark: Mapping[str, Any], moved: Callable[[Point], Point], orientation: int) -> dict[str, Any]:
    x, y = moved((float(mark["x"]), float(mark["y"])))
    return {**mark, "x": x, "y": y}
