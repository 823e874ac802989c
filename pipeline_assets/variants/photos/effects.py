"""Effects on one photo's pixels, with every number drawn: plain values that `pixels.py` applies in batches.

Coordinates are continuous: pixel (column, row) covers [column, column + 1) x [row, row + 1), so a canvas of W x H pixels is
[0, W] x [0, H]. Colours are sRGB in [0, 1] as stored, not linear light.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
Rectangle = tuple[int, int, int, int]
"""left, top, right, bottom in whole pixels, right and bottom not included."""


@dataclass(frozen=True)
class Canvas:
    """The size that a photo is fitted to, and that every effect keeps."""

    width: int
    height: int


@dataclass(frozen=True, eq=False)
class Warp:
    """Moves pixels. matrix: (3, 3), from a point's old position to its new one, both on the canvas."""

    matrix: Matrix


@dataclass(frozen=True, eq=False)
class Colour:
    """Mixes channels. matrix: (3, 4), from (red, green, blue, 1) to red, green, blue, which are then clipped to [0, 1]."""

    matrix: Matrix


@dataclass(frozen=True, eq=False)
class Curve:
    """Changes tones. table: (3, 256) float32 in [0, 1], the new value for each 8-bit value of red, green, blue."""

    table: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Blur:
    """A Gaussian. sigma: in pixels."""

    sigma: float


@dataclass(frozen=True)
class Noise:
    """Gaussian noise on each channel or, if grey, the same on all. sigma: of the range of values."""

    sigma: float
    seed: int
    is_grey: bool = False


@dataclass(frozen=True)
class Recompress:
    """Encodes as a JPEG of this quality and decodes it."""

    quality: int


@dataclass(frozen=True)
class Vignette:
    """Darkens away from the centre. strength: by this share in the corners."""

    strength: float


@dataclass(frozen=True)
class Detail:
    """Amplifies differences from the surroundings. amount: 1 doubles them."""

    amount: float


@dataclass(frozen=True)
class Cut:
    """Fills a rectangle with grey. grey: in [0, 1]."""

    rectangle: Rectangle
    grey: float


@dataclass(frozen=True)
class Blend:
    """Blends with the second photo. share: of the second photo, in (0, 1)."""

    share: float


@dataclass(frozen=True)
class Paste:
    """Shows the second photo in a rectangle."""

    rectangle: Rectangle


Effect = Warp | Colour | Curve | Blur | Noise | Recompress | Vignette | Detail | Cut | Blend | Paste
_E = TypeVar("_E", bound=Effect)


@dataclass(frozen=True)
class Encoding:
    """The format of a result. quality: of a JPEG; None is lossless."""

    format: str
    quality: int | None = None

    @property
    def media_type(self) -> str:
        """The IANA name."""
        return f"image/{self.format}"

    @property
    def described(self) -> str:
        """As in a variant's row."""
        return f"{self.format}, lossless" if self.quality is None else f"{self.format}, quality {self.quality}, 4:2:0"


@dataclass(frozen=True)
class Fit:
    """The canvas that a photo is fitted to. is_square: the centre is cut out; else the photo keeps its aspect ratio."""

    side_px: int
    is_square: bool


def fused(effects: list[Effect]) -> list[Effect]:
    """The same effects with neighbours merged where possible: pixels are then resampled, and colours clipped, only once."""
    result: list[Effect] = []
    for effect in effects:
        previous = result[-1] if result else None
        if isinstance(effect, Warp) and isinstance(previous, Warp):
            result[-1] = Warp(effect.matrix @ previous.matrix)
        elif isinstance(effect, Colour) and isinstance(previous, Colour):
            result[-1] = Colour(effect.matrix @ np.vstack([previous.matrix, [0, 0, 0, 1]]))
        else:
            result.append(effect)
    return result


def is_upright(matrix: Matrix) -> bool:
    """Whether a warp only crops, scales and mirrors, without rotation or perspective."""
    return not (matrix[0, 1] or matrix[1, 0] or matrix[2, 0] or matrix[2, 1])
