"""Operations on polygons as lists of points. Pure.

A polygon is closed implicitly, and may be concave or cross itself; coordinates are continuous, as in `effects`.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Point = tuple[float, float]


def area(points: Sequence[Point]) -> float:
    """Area of a polygon that does not cross itself, by the shoelace formula."""
    following = [*points[1:], *points[:1]]
    return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(points, following, strict=True))) / 2


def clip(points: Sequence[Point], left: float, top: float, right: float, bottom: float) -> list[Point]:
    """The part of a polygon in a rectangle. Source: Sutherland and Hodgman 1974, Reentrant polygon clipping."""
    clipped = list(points)
    for axis, sign, bound in ((0, 1, left), (0, -1, right), (1, 1, top), (1, -1, bottom)):
        depth = [sign * (point[axis] - bound) for point in clipped]
        next_points: list[Point] = []
        for at, inside in enumerate(depth):
            previous = depth[at - 1]
            if (inside >= 0) != (previous >= 0):
                part = previous / (previous - inside)
                (x0, y0), (x1, y1) = clipped[at - 1], clipped[at]
                next_points.append((x0 + (x1 - x0) * part, y0 + (y1 - y0) * part))
            if inside >= 0:
                next_points.append(clipped[at])
        clipped = next_points
    return clipped


def projected(points: Sequence[Point], matrix: npt.NDArray[np.float64]) -> list[Point] | None:
    """Points transformed by a (3, 3) matrix; None if one goes behind the eye, as in a perspective that turns them over."""
    (a, b, c), (d, e, f), (g, h, i) = matrix.tolist()
    points_projected: list[Point] = []
    for x, y in points:
        depth = g * x + h * y + i
        if depth <= 0:
            return None
        points_projected.append(((a * x + b * y + c) / depth, (d * x + e * y + f) / depth))
    return points_projected
