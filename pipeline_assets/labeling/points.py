"""Points of labels, adjusted when pixels move or are covered. Pure.

A label's points are dicts with x and y in pixels, and other keys (`label`), which are kept. A point that is covered, or
moved out of the picture, is removed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline_assets.errors import UnfitParent
from pipeline_assets.labeling import polygons

DECIMALS = 2


@dataclass(frozen=True)
class Point:
    """x and y in pixels. extra: the label's other keys."""

    x: float
    y: float
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """left, top, right, bottom: of no extent."""
        return self.x, self.y, self.x, self.y


def read(labels: Mapping[str, Any]) -> list[Point]:
    """The points of a photo's labels; empty without points. Raises UnfitParent(bad_labels) for invalid ones."""
    entries = labels.get("points")
    if not isinstance(entries, list | tuple | None):
        raise UnfitParent("bad_labels", f"points are a list of objects with x and y, not {entries!r:.60}")
    return [_read_one(entry) for entry in entries or ()]


def to_labels(points: Iterable[Point], width: float, height: float) -> list[dict[str, Any]]:
    """Points as labels, rounded to 0.01 pixels and inside width x height."""
    return [
        {**one.extra, "x": round(min(max(one.x, 0.0), width), DECIMALS), "y": round(min(max(one.y, 0.0), height), DECIMALS)}
        for one in points
    ]


def moved(points: Iterable[Point], matrix: npt.NDArray[np.float64], width: float, height: float) -> list[Point]:
    """Points transformed by a (3, 3) matrix, as far as they are in width x height."""
    found = [(one, polygons.projected([(one.x, one.y)], matrix)) for one in points]
    places = [Point(*place[0], one.extra) for one, place in found if place is not None]
    return clipped(places, 0.0, 0.0, width, height)


def clipped(points: Iterable[Point], left: float, top: float, right: float, bottom: float) -> list[Point]:
    """The points in a rectangle."""
    return [one for one in points if left <= one.x <= right and top <= one.y <= bottom]


def covered(points: Iterable[Point], left: float, top: float, right: float, bottom: float) -> list[Point]:
    """The points outside of a rectangle, or on its edge."""
    return [one for one in points if not (left < one.x < right and top < one.y < bottom)]


def problems(entries: Any, width: float, height: float) -> list[str]:
    """Faults of a variant's points, as sentences."""
    try:
        points = read({"points": entries})
    except UnfitParent as error:
        return [error.detail]
    return [
        f"the point {one.x:g}, {one.y:g} is not inside {width} x {height}"
        for one in points
        if not (0 <= one.x <= width and 0 <= one.y <= height)
    ]


def _read_one(entry: Any) -> Point:
    place: list[Any] = [entry.get(name) if isinstance(entry, Mapping) else None for name in ("x", "y")]
    x, y = (float(value) if _is_number(value) else None for value in place)
    if x is None or y is None:
        raise UnfitParent("bad_labels", f"a point needs numbers x and y: {entry!r:.200}")
    return Point(x, y, {name: value for name, value in entry.items() if name not in ("x", "y")})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2.0**63
