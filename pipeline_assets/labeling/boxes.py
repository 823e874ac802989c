"""Boxes of labels, adjusted when pixels move or are covered. Pure.

A label's boxes are dicts with x, y (left and top), width and height in pixels, and other keys, which are kept.
A moved box is the smallest upright box around the visible part of its moved outline. It is removed once less than
`MIN_VISIBLE` of its area is visible, over all steps, or once a side is shorter than `MIN_SIDE_PX`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline_assets.errors import UnfitParent
from pipeline_assets.labeling import polygons

MIN_VISIBLE = 0.25
MIN_SIDE_PX = 2.0
DECIMALS = 2
_PLACE = ("x", "y", "width", "height")


@dataclass(frozen=True)
class Box:
    """left, top, right, bottom in pixels; visible: the visible share of its area; extra: the label's other keys."""

    left: float
    top: float
    right: float
    bottom: float
    visible: float = 1.0
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def area(self) -> float:
        """Area in square pixels; never negative."""
        return max(self.right - self.left, 0.0) * max(self.bottom - self.top, 0.0)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """left, top, right, bottom."""
        return self.left, self.top, self.right, self.bottom


def read(labels: Mapping[str, Any]) -> list[Box]:
    """The boxes of a photo's labels; empty without boxes. Raises UnfitParent(bad_labels) for invalid ones."""
    entries = labels.get("boxes")
    if not isinstance(entries, list | tuple | None):
        raise UnfitParent("bad_labels", f"boxes are a list of objects with x, y, width, height, not {entries!r:.60}")
    boxes = [_read_one(box) for box in entries or ()]
    for box in boxes:
        if not np.isfinite([box.left, box.top, box.right, box.bottom]).all() or box.area <= 0:
            raise UnfitParent("bad_labels", f"a box has no area: {box.left}, {box.top} to {box.right}, {box.bottom}")
    return boxes


def to_labels(boxes: Iterable[Box], width: float, height: float) -> list[dict[str, Any]]:
    """Boxes as labels, rounded to 0.01 pixels and inside width x height."""
    entries = []
    for box in boxes:
        left, top = round(max(box.left, 0.0), DECIMALS), round(max(box.top, 0.0), DECIMALS)
        right, bottom = round(min(box.right, width), DECIMALS), round(min(box.bottom, height), DECIMALS)
        place = (left, top, round(right - left, DECIMALS), round(bottom - top, DECIMALS))
        entries.append({**box.extra, **dict(zip(_PLACE, place, strict=True))})
    return entries


def moved(boxes: Iterable[Box], matrix: npt.NDArray[np.float64], width: float, height: float) -> list[Box]:
    """Boxes transformed by a (3, 3) matrix and clipped to width x height."""
    return [box_moved for box in boxes if (box_moved := _moved(box, matrix, width, height)) is not None]


def covered(boxes: Iterable[Box], left: float, top: float, right: float, bottom: float) -> list[Box]:
    """Boxes after a rectangle covers a part of the picture. A box that loses a whole side shrinks."""
    visible_boxes = []
    for box in boxes:
        hidden = Box(max(box.left, left), max(box.top, top), min(box.right, right), min(box.bottom, bottom))
        remainder = _uncovered_part(box, hidden) if hidden.area > 0 else box
        remainder = replace(remainder, visible=box.visible * (1 - hidden.area / box.area))
        if _is_kept(remainder):
            visible_boxes.append(remainder)
    return visible_boxes


def clipped(boxes: Iterable[Box], left: float, top: float, right: float, bottom: float) -> list[Box]:
    """The parts of boxes in a rectangle."""
    visible_boxes = []
    for box in boxes:
        remainder = replace(
            box,
            left=max(box.left, left),
            top=max(box.top, top),
            right=min(box.right, right),
            bottom=min(box.bottom, bottom),
        )
        remainder = replace(remainder, visible=box.visible * remainder.area / box.area)
        if _is_kept(remainder):
            visible_boxes.append(remainder)
    return visible_boxes


def problems(entries: Any, width: float, height: float) -> list[str]:
    """Faults of a variant's boxes, as sentences."""
    try:
        boxes = read({"boxes": entries})
    except UnfitParent as error:
        return [error.detail]
    slack = 10.0**-DECIMALS
    return [
        f"the box {box.left:g}, {box.top:g} to {box.right:g}, {box.bottom:g} is not inside {width} x {height}"
        for box in boxes
        if box.left < 0 or box.top < 0 or box.right > width + slack or box.bottom > height + slack
    ]


def _read_one(entry: Any) -> Box:
    place: list[Any] = [entry.get(name) if isinstance(entry, Mapping) else None for name in _PLACE]
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in place):
        raise UnfitParent("bad_labels", f"a box needs numbers x, y, width, height: {entry!r:.200}")
    try:
        x, y, width, height = map(float, place)
    except OverflowError as error:
        raise UnfitParent("bad_labels", f"a box has a number beyond all pictures: {error}") from None
    return Box(x, y, x + width, y + height, 1.0, {name: value for name, value in entry.items() if name not in _PLACE})


def _moved(box: Box, matrix: npt.NDArray[np.float64], width: float, height: float) -> Box | None:
    corners = ((box.left, box.top), (box.right, box.top), (box.right, box.bottom), (box.left, box.bottom))
    points = polygons.projected(corners, matrix)
    if points is None:
        return None
    visible, total_area = polygons.clip(points, 0.0, 0.0, width, height), polygons.area(points)
    if len(visible) < 3 or total_area <= 0:
        return None
    xs, ys = zip(*visible, strict=True)
    edges = (
        max(min(xs), 0.0),
        max(min(ys), 0.0),
        min(max(xs), width),
        min(max(ys), height),
    )  # a cut point may lie 1e-17 outside
    box_moved = Box(*edges, box.visible * polygons.area(visible) / total_area, box.extra)
    return box_moved if _is_kept(box_moved) else None


def _is_kept(box: Box) -> bool:
    return box.visible >= MIN_VISIBLE and min(box.right - box.left, box.bottom - box.top) >= MIN_SIDE_PX


def _uncovered_part(box: Box, hidden: Box) -> Box:
    """The smallest box around the visible part of a box."""
    if (hidden.top, hidden.bottom) == (box.top, box.bottom):
        if hidden.left == box.left:
            return replace(box, left=hidden.right)
        if hidden.right == box.right:
            return replace(box, right=hidden.left)
    if (hidden.left, hidden.right) == (box.left, box.right):
        if hidden.top == box.top:
            return replace(box, top=hidden.bottom)
        if hidden.bottom == box.bottom:
            return replace(box, bottom=hidden.top)
    return box
