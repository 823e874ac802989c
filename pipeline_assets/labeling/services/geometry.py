"""Rotated boxes, in the forms of the tools. Pure.

Ours is Label Studio's: x and y are the top left corner, around which the box of this width and height turns clockwise by
`rotation` degrees. Others turn around the middle (CVAT), or list four corners (YOLO, Scale). The y axis points down.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline_assets.errors import UnfitParent
from pipeline_assets.labeling.polygons import Point

DECIMALS = 4
"""Of computed coordinates: a ten-thousandth of a pixel, so that no rounding error of a float is kept."""
SKEW_PX = 2.0
"""How far the corners of a rotated box may be off a rectangle, or off 1 % of its longer side: tools round."""
_PLACE = ("x", "y", "width", "height", "rotation")


def number(value: Any, what: str) -> float:
    """A finite number. Raises UnfitParent(bad_labels) for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 2.0**63:
        raise UnfitParent("bad_labels", f"{what} is no finite number below 2^63: {value!r:.60}")
    return float(value)


def tidy(value: float) -> float:
    """A coordinate without the rounding errors of its computation."""
    return round(value, DECIMALS) + 0.0  # no negative zero


def rotation_of(box: Mapping[str, Any]) -> float:
    """Degrees clockwise, from 0 and below 360."""
    return float(box.get("rotation") or 0.0) % 360.0


def box(x: float, y: float, width: float, height: float, rotation: float = 0.0) -> dict[str, Any]:
    """A box in our form; without `rotation` if it is upright."""
    turn = tidy(rotation % 360.0) % 360.0
    place = {"x": tidy(x), "y": tidy(y), "width": tidy(width), "height": tidy(height)}
    return place | ({"rotation": turn} if turn else {})


def extra_of(mark: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a box beside its place."""
    return {name: value for name, value in mark.items() if name not in _PLACE}


def corners(mark: Mapping[str, Any]) -> list[Point]:
    """The four corners of a box, clockwise from its own top left."""
    turn = math.radians(rotation_of(mark))
    cos, sin = math.cos(turn), math.sin(turn)
    x, y, width, height = (float(mark[name]) for name in _PLACE[:4])
    sides = ((0.0, 0.0), (width, 0.0), (width, height), (0.0, height))
    return [(x + dx * cos - dy * sin, y + dx * sin + dy * cos) for dx, dy in sides]


def of_corners(points: Sequence[Point]) -> dict[str, Any]:
    """The box with these four corners, in order around it; the first stays its top left if they run clockwise.

    Raises UnfitParent(bad_labels) if they are no rectangle.
    """
    if len(points) != 4:
        raise UnfitParent("bad_labels", f"a rotated box has four corners, and not {len(points)}")
    first, second, third, fourth = points
    if _cross(first, second, fourth) < 0:
        second, fourth = fourth, second
    width, height = math.dist(first, second), math.dist(first, fourth)
    expected = (second[0] + fourth[0] - first[0], second[1] + fourth[1] - first[1])
    along = (second[0] - first[0]) * (fourth[0] - first[0]) + (second[1] - first[1]) * (fourth[1] - first[1])
    slack = max(SKEW_PX, 0.01 * max(width, height))
    if math.dist(third, expected) > slack or abs(along) > slack * max(width, height, 1.0):
        raise UnfitParent("bad_labels", "the four corners of a rotated box are no rectangle")
    return box(*first, width, height, math.degrees(math.atan2(second[1] - first[1], second[0] - first[0])))


def is_rectangle(points: Sequence[Point]) -> bool:
    """Whether points are the corners of a rectangle with an area."""
    try:
        found = of_corners(points)
    except UnfitParent:
        return False
    return found["width"] > 0 and found["height"] > 0


def around_middle(mark: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """left, top, right, bottom of the box before it turns around its middle, as CVAT has it."""
    points = corners(mark)
    middle = ((points[0][0] + points[2][0]) / 2, (points[0][1] + points[2][1]) / 2)
    half = (float(mark["width"]) / 2, float(mark["height"]) / 2)
    return middle[0] - half[0], middle[1] - half[1], middle[0] + half[0], middle[1] + half[1]


def of_middle(left: float, top: float, right: float, bottom: float, rotation: float) -> dict[str, Any]:
    """The box that turns around its middle, in our form."""
    turn = math.radians(rotation)
    width, height = right - left, bottom - top
    dx, dy = -width / 2, -height / 2
    x = (left + right) / 2 + dx * math.cos(turn) - dy * math.sin(turn)
    y = (top + bottom) / 2 + dx * math.sin(turn) + dy * math.cos(turn)
    return box(x, y, width, height, rotation)


def upright(mark: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """left, top, width, height of the smallest upright box around a box."""
    if not rotation_of(mark):
        return float(mark["x"]), float(mark["y"]), float(mark["width"]), float(mark["height"])
    xs, ys = zip(*corners(mark), strict=True)
    return tidy(min(xs)), tidy(min(ys)), tidy(max(xs) - min(xs)), tidy(max(ys) - min(ys))


def points_of(flat: Sequence[float]) -> list[Point]:
    """Points of x0, y0, x1, y1, ..."""
    return list(zip(flat[::2], flat[1::2], strict=True))


def flat(points: Sequence[Point]) -> list[float]:
    """x0, y0, x1, y1, ... of points."""
    return [value for point in points for value in point]


def _cross(origin: Point, one: Point, other: Point) -> float:
    return (one[0] - origin[0]) * (other[1] - origin[1]) - (one[1] - origin[1]) * (other[0] - origin[0])
