"""What is done to one photo's pixels, with every number drawn: plain values that `pixels.py` carries out in batches.

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
    """Pixels move. matrix: (3, 3), from where a point was to where it goes, both on the canvas."""

    matrix: Matrix


@dataclass(frozen=True, eq=False)
class Colour:
    """Channels mix. matrix: (3, 4), from (red, green, blue, 1) to red, green, blue, which are then cut to [0, 1]."""

    matrix: Matrix


@dataclass(frozen=True, eq=False)
class Curve:
    """Tones change. table: (3, 256) float32 in [0, 1], what each 8-bit value of red, green, blue becomes."""

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
    """Once through a JPEG of this quality."""

    quality: int


@dataclass(frozen=True)
class Vignette:
    """Darker away from the centre. strength: how much darker in the corners, of 1."""

    strength: float


@dataclass(frozen=True)
class Detail:
    """Differences from the surroundings are enlarged. amount: 1 doubles them."""

    amount: float


@dataclass(frozen=True)
class Cut:
    """A rectangle becomes one grey. grey: in [0, 1]."""

    rectangle: Rectangle
    grey: float


@dataclass(frozen=True)
class Blend:
    """The other photo shines through. share: of the other one, in (0, 1)."""

    share: float


@dataclass(frozen=True)
class Paste:
    """A rectangle shows the other photo."""

    rectangle: Rectangle


Effect = Warp | Colour | Curve | Blur | Noise | Recompress | Vignette | Detail | Cut | Blend | Paste
_E = TypeVar("_E", bound=Effect)


@dataclass(frozen=True)
class Encoding:
    """How a result is written. quality: of a JPEG; None loses nothing."""

    format: str
    quality: int | None = None

    @property
    def media_type(self) -> str:
        """The IANA name."""
        return f"image/{self.format}"

    @property
    def described(self) -> str:
        """For the row of a variant."""
        return f"{self.format}, lossless" if self.quality is None else f"{self.format}, quality {self.quality}, 4:2:0"


@dataclass(frozen=True)
class Fit:
    """The canvas that a photo is brought to. is_square: the centre is cut out; else the photo keeps its aspect."""

    side_px: int
    is_square: bool


def fused(effects: list[Effect]) -> list[Effect]:
    """The same with neighbours that can be one made one: pixels are then resampled, and colours cut off, only once."""
    done: list[Effect] = []
    for effect in effects:
        before = done[-1] if done else None
        if isinstance(effect, Warp) and isinstance(before, Warp):
            done[-1] = Warp(effect.matrix @ before.matrix)
        elif isinstance(effect, Colour) and isinstance(before, Colour):
            done[-1] = Colour(effect.matrix @ np.vstack([before.matrix, [0, 0, 0, 1]]))
        else:
            done.append(effect)
    return done


def is_upright(matrix: Matrix) -> bool:
    """Whether a warp only cuts out, scales and mirrors: no turn, no perspective."""
    return not (matrix[0, 1] or matrix[1, 0] or matrix[2, 0] or matrix[2, 1])
