"""Boxes of labels, kept true while pixels move or are covered. Pure.

A label's boxes are dicts with x, y (left and top), width and height in pixels, and whatever else: that is kept. The rule:
a moved box is the smallest upright one around the visible part of the moved box's outline. One is dropped once less than
`MIN_VISIBLE` of its area is still seen, all steps together, or once a side is shorter than `MIN_SIDE_PX`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline_assets.errors import UnfitParent

MIN_VISIBLE = 0.25
MIN_SIDE_PX = 2.0
DECIMALS = 2
Point = tuple[float, float]
_PLACE = ("x", "y", "width", "height")


@dataclass(frozen=True)
class Box:
    """left, top, right, bottom in pixels; visible: the share of its area still seen; more: the label's other keys."""

    left: float
    top: float
    right: float
    bottom: float
    visible: float = 1.0
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def area(self) -> float:
        """In square pixels; never below 0."""
        return max(self.right - self.left, 0.0) * max(self.bottom - self.top, 0.0)


def read(labels: Mapping[str, Any]) -> list[Box]:
    """The boxes of a photo's labels. Raises UnfitParent(bad_labels) for what are none."""
    try:
        found = [_read_one(given) for given in labels.get("boxes") or ()]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnfitParent("bad_labels", f"a box needs numbers x, y, width, height: {error!r:.200}") from error
    for box in found:
        if not np.isfinite([box.left, box.top, box.right, box.bottom]).all() or box.area <= 0:
            raise UnfitParent("bad_labels", f"a box has no area: {box.left}, {box.top} to {box.right}, {box.bottom}")
    return found


def written(boxes: Iterable[Box], width: float, height: float) -> list[dict[str, Any]]:
    """As labels, rounded to 0.01 pixels and inside width x height."""
    found = []
    for box in boxes:
        left, top = round(max(box.left, 0.0), DECIMALS), round(max(box.top, 0.0), DECIMALS)
        right, bottom = round(min(box.right, width), DECIMALS), round(min(box.bottom, height), DECIMALS)
        place = (left, top, round(right - left, DECIMALS), round(bottom - top, DECIMALS))
        found.append({**box.more, **dict(zip(_PLACE, place, strict=True))})
    return found


def moved(boxes: Iterable[Box], matrix: npt.NDArray[np.float64], width: float, height: float) -> list[Box]:
    """Where boxes are once each point went through a (3, 3) matrix and width x height is all that is seen."""
    return [after for box in boxes if (after := _moved(box, matrix, width, height)) is not None]


def covered(boxes: Iterable[Box], left: float, top: float, right: float, bottom: float) -> list[Box]:
    """Boxes once a rectangle hides what lies under it. One that loses a whole side shrinks to what is left."""
    kept = []
    for box in boxes:
        hidden = Box(max(box.left, left), max(box.top, top), min(box.right, right), min(box.bottom, bottom))
        rest = _beside(box, hidden) if hidden.area > 0 else box
        rest = replace(rest, visible=box.visible * (1 - hidden.area / box.area))
        if _is_kept(rest):
            kept.append(rest)
    return kept


def clipped(boxes: Iterable[Box], left: float, top: float, right: float, bottom: float) -> list[Box]:
    """What of boxes lies in a rectangle, all else being hidden."""
    kept = []
    for box in boxes:
        rest = replace(
            box,
            left=max(box.left, left),
            top=max(box.top, top),
            right=min(box.right, right),
            bottom=min(box.bottom, bottom),
        )
        rest = replace(rest, visible=box.visible * rest.area / box.area)
        if _is_kept(rest):
            kept.append(rest)
    return kept


def problems(found: Any, width: float, height: float) -> list[str]:
    """What is wrong with a variant's boxes, in sentences."""
    try:
        boxes = read({"boxes": found})
    except UnfitParent as error:
        return [error.detail]
    slack = 10.0**-DECIMALS
    return [
        f"the box {box.left:g}, {box.top:g} to {box.right:g}, {box.bottom:g} is not inside {width} x {height}"
        for box in boxes
        if box.left < 0 or box.top < 0 or box.right > width + slack or box.bottom > height + slack
    ]


def _read_one(given: Mapping[str, Any]) -> Box:
    x, y, width, height = (float(given[name]) for name in _PLACE)
    return Box(x, y, x + width, y + height, 1.0, {name: value for name, value in given.items() if name not in _PLACE})


def _moved(box: Box, matrix: npt.NDArray[np.float64], width: float, height: float) -> Box | None:
    (a, b, c), (d, e, f), (g, h, i) = matrix.tolist()
    points: list[Point] = []
    for x, y in ((box.left, box.top), (box.right, box.top), (box.right, box.bottom), (box.left, box.bottom)):
        depth = g * x + h * y + i
        if depth <= 0:
            return None  # behind the eye: a perspective that turns it over
        points.append(((a * x + b * y + c) / depth, (d * x + e * y + f) / depth))
    seen, whole = _cut(points, width, height), _area(points)
    if len(seen) < 3 or whole <= 0:
        return None
    xs, ys = zip(*seen, strict=True)
    edges = (
        max(min(xs), 0.0),
        max(min(ys), 0.0),
        min(max(xs), width),
        min(max(ys), height),
    )  # a cut point may lie 1e-17 outside
    after = Box(*edges, box.visible * _area(seen) / whole, box.more)
    return after if _is_kept(after) else None


def _is_kept(box: Box) -> bool:
    return box.visible >= MIN_VISIBLE and min(box.right - box.left, box.bottom - box.top) >= MIN_SIDE_PX


def _beside(box: Box, hidden: Box) -> Box:
    """The smallest box around what is left of a box when a part of it is hidden."""
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


def _cut(points: list[Point], width: float, height: float) -> list[Point]:
    """A convex polygon cut to [0, width] x [0, height]. Source: Sutherland and Hodgman 1974, Reentrant polygon clipping."""
    for axis, sign, bound in ((0, 1, 0.0), (0, -1, width), (1, 1, 0.0), (1, -1, height)):
        depth = [sign * (point[axis] - bound) for point in points]
        kept: list[Point] = []
        for at, inside in enumerate(depth):
            before = depth[at - 1]
            if (inside >= 0) != (before >= 0):
                part = before / (before - inside)
                (x0, y0), (x1, y1) = points[at - 1], points[at]
                kept.append((x0 + (x1 - x0) * part, y0 + (y1 - y0) * part))
            if inside >= 0:
                kept.append(points[at])
        points = kept
    return points


def _area(points: list[Point]) -> float:
    """Of a polygon, by the shoelace formula."""
    return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True))) / 2
