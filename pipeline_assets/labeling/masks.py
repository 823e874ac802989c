"""Masks of labels, adjusted when pixels move or are covered. Pure.

A label's masks are dicts with `polygons`, each a list of numbers x0, y0, x1, y1, ... in pixels, and other keys (`label`,
`crowd`), which are kept. A mask is the union of its polygons. A mask of less than one visible pixel is removed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline_assets.errors import UnfitParent
from pipeline_assets.labeling import polygons
from pipeline_assets.labeling.polygons import Point

MIN_AREA_PX = 1.0
SLIVER_PX = 0.02
"""Polygons with a smaller area are rounding errors, and are removed."""
DECIMALS = 2
Polygon = tuple[Point, ...]


@dataclass(frozen=True)
class Mask:
    """Polygons in pixels. more: the label's other keys."""

    polygons: tuple[Polygon, ...]
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """left, top, right, bottom."""
        xs, ys = zip(*(point for polygon in self.polygons for point in polygon), strict=True)
        return min(xs), min(ys), max(xs), max(ys)


def read(labels: Mapping[str, Any]) -> list[Mask]:
    """The masks of a photo's labels; empty without masks. Raises UnfitParent(bad_labels) for invalid ones."""
    entries = labels.get("masks")
    if not isinstance(entries, list | tuple | None):
        raise UnfitParent("bad_labels", f"masks are a list of objects with polygons, not {entries!r:.60}")
    return [_read_one(mask) for mask in entries or ()]


def to_labels(masks: Iterable[Mask], width: float, height: float) -> list[dict[str, Any]]:
    """Masks as labels, rounded to 0.01 pixels and inside width x height."""
    entries = []
    for mask in masks:
        shapes = [
            [round(min(max(value, 0.0), bound), DECIMALS) for x, y in polygon for value, bound in ((x, width), (y, height))]
            for polygon in mask.polygons
        ]
        entries.append({**mask.extra, "polygons": shapes})
    return entries


def moved(masks: Iterable[Mask], matrix: npt.NDArray[np.float64], width: float, height: float) -> list[Mask]:
    """Masks transformed by a (3, 3) matrix and clipped to width x height."""
    return _changed(masks, lambda polygon: _clip(polygons.projected(polygon, matrix), 0.0, 0.0, width, height))


def clipped(masks: Iterable[Mask], left: float, top: float, right: float, bottom: float) -> list[Mask]:
    """The parts of masks in a rectangle."""
    return _changed(masks, lambda polygon: _clip(polygon, left, top, right, bottom))


def covered(masks: Iterable[Mask], left: float, top: float, right: float, bottom: float) -> list[Mask]:
    """The parts of masks outside a rectangle: above, below, left and right of it."""
    far = float("inf")
    strips = ((-far, -far, far, top), (-far, bottom, far, far), (-far, top, left, bottom), (right, top, far, bottom))

    def outside(polygon: Polygon) -> list[Polygon]:
        if not _clip(polygon, left, top, right, bottom):
            return [polygon]
        return [part for strip in strips for part in _clip(polygon, *strip)]

    return _changed(masks, outside)


def problems(entries: Any, width: float, height: float) -> list[str]:
    """Faults of a variant's masks, as sentences."""
    try:
        masks = read({"masks": entries})
    except UnfitParent as error:
        return [error.detail]
    slack = 10.0**-DECIMALS
    return [
        f"a mask reaches from {left:g}, {top:g} to {right:g}, {bottom:g}, which is not inside {width} x {height}"
        for left, top, right, bottom in (mask.bounds for mask in masks)
        if left < 0 or top < 0 or right > width + slack or bottom > height + slack
    ]


def _read_one(entry: Any) -> Mask:
    shapes = entry.get("polygons") if isinstance(entry, Mapping) else None
    if not isinstance(shapes, list | tuple) or not shapes:
        raise UnfitParent("bad_labels", f"a mask needs polygons, a list of lists x0, y0, x1, y1, ...: {entry!r:.200}")
    shapes_read = tuple(_polygon(shape) for shape in shapes)
    if not any(polygons.area(polygon) > 0 for polygon in shapes_read):
        raise UnfitParent("bad_labels", "a mask has no area")
    return Mask(shapes_read, {name: value for name, value in entry.items() if name != "polygons"})


def _polygon(shape: Any) -> Polygon:
    if not isinstance(shape, list | tuple) or len(shape) < 6 or len(shape) % 2 or not all(map(_is_number, shape)):
        raise UnfitParent("bad_labels", f"a polygon is at least three points x0, y0, x1, y1, ...: {shape!r:.200}")
    return tuple(zip(map(float, shape[::2]), map(float, shape[1::2]), strict=True))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2.0**63


def _changed(masks: Iterable[Mask], change: Any) -> list[Mask]:
    changed = (Mask(tuple(part for polygon in mask.polygons for part in change(polygon)), mask.extra) for mask in masks)
    return [mask for mask in changed if sum(map(polygons.area, mask.polygons)) >= MIN_AREA_PX]


def _clip(points: Sequence[Point] | None, left: float, top: float, right: float, bottom: float) -> list[Polygon]:
    """A polygon's part in a rectangle, as a list of at most one polygon."""
    if points is None:
        return []
    part = polygons.clip(points, left, top, right, bottom)
    return [tuple(part)] if len(part) >= 3 and polygons.area(part) >= SLIVER_PX else []
