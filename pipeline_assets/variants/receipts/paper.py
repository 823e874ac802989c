"""A sheet of paper as a mesh: folded, wrinkled, curled, and hardly stretched.

A height field displaces the paper; its edges are then restored to their lengths (position-based dynamics, Müller et al.
2007), which contracts the sheet as a hand does.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

ACROSS, ALONG = 49, 121
RELAXATIONS = 60
BEND = 0.1
"""How long the paper bends at a fold, in its widths."""
FOLD_STEPS = 4001
Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Creases:
    """The treatment of the paper. wrinkle: 0 smooth to 1 crumpled; folds: their number across; curl: of its ends."""

    wrinkle: float
    folds: int
    curl: float


def flat(length: float, across: int = ACROSS, along: int = ALONG) -> Points:
    """(along, across, 3): a sheet 1 wide and `length` long about the origin; its top is first, x to the right, y up."""
    x, y = np.linspace(-0.5, 0.5, across), np.linspace(length / 2, -length / 2, along)
    return np.stack([*np.meshgrid(x, y), np.zeros((along, across))], axis=-1)


def creased(length: float, creases: Creases, random: np.random.Generator, flatness: float = 0.0) -> Points:
    """The sheet of `flat` after its treatment, at z >= 0. flatness: 0 as treated to 1 flat again."""
    flat_sheet = flat(length)
    height = _height(flat_sheet, length, creases, random) * (1 - flatness)
    points = flat_sheet.copy()
    points[..., 2] = height
    points = relaxed(points, flat_sheet)
    points[..., 2] -= points[..., 2].min()
    return points


def folded(points: Points, length: float, folds: int, angle_deg: float) -> Points:
    """A treated sheet folded across like an accordion by the angle in degrees: 180 lays each part on the one below.

    Its lowest part does not move. Lengths are preserved, and so are heights above the folded surface.
    """
    along = np.linspace(0, length, FOLD_STEPS)
    slope = np.zeros_like(along)
    for fold in range(folds):
        place = np.clip((along - length * (fold + 1) / (folds + 1)) / BEND + 0.5, 0, 1)
        slope += (-1) ** fold * np.radians(angle_deg) * place
    step = along[1] - along[0]
    forth, up = (np.concatenate([[0.0], np.cumsum((c[1:] + c[:-1]) / 2 * step)]) for c in (np.cos(slope), np.sin(slope)))
    at, above = points[..., 1] + length / 2, points[..., 2]
    tilt = np.interp(at, along, slope)
    beyond = np.minimum(at, 0) + np.maximum(at - length, 0)
    folded_points = points.copy()
    folded_points[..., 1] = np.interp(at, along, forth) + beyond * np.cos(tilt) - above * np.sin(tilt) - length / 2
    folded_points[..., 2] = np.interp(at, along, up) + beyond * np.sin(tilt) + above * np.cos(tilt)
    folded_points[..., 2] -= folded_points[..., 2].min()
    return folded_points


def _height(flat_sheet: Points, length: float, creases: Creases, random: np.random.Generator) -> npt.NDArray[np.float64]:
    x, y = flat_sheet[..., 0], flat_sheet[..., 1]
    height = creases.curl * 0.25 * (2 * np.abs(y) / length) ** 3 * float(random.choice([1, 0.4]))
    height = height + creases.curl * 0.12 * (2 * x) ** 2
    for at in range(creases.folds):
        place = ((at + 1) / (creases.folds + 1) - 0.5 + random.uniform(-0.04, 0.04)) * length
        slope, sign = random.uniform(0.06, 0.22), (1 if at % 2 else -1) * random.choice([1, 1, -1])
        distance = np.abs(y - place + x * random.uniform(-0.05, 0.05))
        height += sign * slope * np.maximum(0, 0.35 * length / (creases.folds + 1) - distance)
    for _ in range(round(creases.wrinkle * 38)):
        angle, reach = random.uniform(0, np.pi), random.uniform(0.12, 0.6)
        across = (x - random.uniform(-0.5, 0.5)) * np.cos(angle) + (y - random.uniform(-0.5, 0.5) * length) * np.sin(angle)
        along = -(x - random.uniform(-0.5, 0.5)) * np.sin(angle) + (y - random.uniform(-0.5, 0.5) * length) * np.cos(angle)
        ramp = np.maximum(0, 1 - np.abs(across) / random.uniform(0.05, 0.25)) * np.exp(-((along / reach) ** 2))
        height += creases.wrinkle * random.normal(0, 0.055) * ramp
    return height + creases.wrinkle * 0.05 * _ridged(x, y, random)


def _ridged(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], random: np.random.Generator) -> npt.NDArray[np.float64]:
    """Four octaves of folded waves: sharp crests between smooth valleys."""
    ridges = np.zeros_like(x)
    for octave in range(4):
        for _ in range(3):
            angle, phase = random.uniform(0, np.pi), random.uniform(0, 2 * np.pi)
            wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 4 * 1.8**octave * random.uniform(0.7, 1.3) + phase)
            ridges += (1 - np.abs(wave)) * 0.5**octave / 3
    return ridges


def relaxed(points: Points, rest: Points, times: int = RELAXATIONS) -> Points:
    """Move the points so that neighbours have their rest distances, along, across and diagonally.

    It computes on planes of x, y and z, in a third of the time and to the same bits.
    """
    planes = np.ascontiguousarray(np.moveaxis(points, -1, 0))
    rest_lengths = [np.linalg.norm(a - b, axis=-1) for a, b in _pairs(rest)]
    edges = [(a, b, rest_length) for (a, b), rest_length in zip(_pairs(planes, first_axis=1), rest_lengths, strict=True)]
    for _ in range(times):
        for a, b, rest_length in edges:
            move = b - a
            x, y, z = move * move
            move *= 0.25 * (1 - rest_length / np.sqrt(x + y + z))
            a += move
            b -= move
    return np.ascontiguousarray(np.moveaxis(planes, 0, -1))


def _pairs(points: Points, first_axis: int = 0) -> list[tuple[Points, Points]]:
    """Views of the two ends of every edge. first_axis: the axis along the sheet; the one across follows it."""
    lower, upper, every = slice(None, -1), slice(1, None), slice(None)
    ends = [
        ((every, lower), (every, upper)),
        ((lower, every), (upper, every)),
        ((lower, lower), (upper, upper)),
        ((lower, upper), (upper, lower)),
    ]
    outer = (every,) * first_axis
    return [(points[(*outer, *a)], points[(*outer, *b)]) for a, b in ends]


def stretch(points: Points, rest: Points) -> npt.NDArray[np.float64]:
    """The relative lengthening of each edge along and across, against its rest length."""
    ends = zip(_pairs(points)[:2], _pairs(rest)[:2], strict=True)
    return np.concatenate(
        [(np.linalg.norm(a - b, axis=-1) / np.linalg.norm(c - d, axis=-1) - 1).ravel() for (a, b), (c, d) in ends]
    )
