"""The measured style of a photo: a few numbers with published definitions, from pixels alone.

All except aspect are measured on 8-bit sRGB with a short side of 256 pixels (`decode.py`), so that sharpness and
noise do not depend on the camera's resolution. Nothing here is learned.
"""

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline_assets.classify.photo_classifier import PhotoClassifier
from pipeline_assets.classify.schemas import MeasuredStyles

if TYPE_CHECKING:
    from pipeline_assets.classify.decode import Decoded

STYLES_ID = "styles-1"
"""Part of every row: raise it when a definition below, or the scaling in `decode.py`, changes."""

REC709 = (0.2126, 0.7152, 0.0722)


@dataclass(frozen=True)
class Styles:
    """The measured columns of `MeasuredStyles`, in its order and units."""

    brightness: float
    contrast: float
    saturation: float
    colourfulness: float
    sharpness: float
    aspect: float


def measure_styles(image: npt.NDArray[np.uint8], aspect: float) -> Styles:
    """Measure one photo.

    image: (H, W, 3) uint8 sRGB, both sides at least 3; aspect: width over height of the whole photo.

    - brightness: mean of luma in [0, 1], luma = 0.2126 R' + 0.7152 G' + 0.0722 B' (ITU-R BT.709-6, 3.2).
    - contrast: standard deviation of that luma, "RMS contrast" (Peli 1990, Contrast in complex images, eq. 3).
    - saturation: mean of HSV saturation, (max - min) / max, 0 for black (Smith 1978, Color gamut transform pairs).
    - colourfulness: sqrt(s_rg^2 + s_yb^2) + 0.3 sqrt(m_rg^2 + m_yb^2) with rg = R - G, yb = (R + G) / 2 - B in
      [-255, 255], s and m standard deviation and mean (Hasler and Suesstrunk 2003, Measuring colourfulness in
      natural images, M-hat(3)).
    - sharpness: variance of the 4-neighbour Laplacian of luma in [0, 255], borders left out (Pech-Pacheco et al.
      2000, Diatom autofocusing in brightfield microscopy, LAP_VAR).
    """
    planes = np.ascontiguousarray(image.transpose(2, 0, 1))
    red, green, blue = planes.astype(np.float32)
    luma = REC709[0] * red + REC709[1] * green + REC709[2] * blue

    high = np.maximum(np.maximum(planes[0], planes[1]), planes[2])
    low = np.minimum(np.minimum(planes[0], planes[1]), planes[2])
    # Black pixels have high = low = 0: a divisor of 1 gives saturation 0.
    saturation = (high - low).astype(np.float32) / np.maximum(high, 1)

    rg_mean, rg_var = _moments(red - green)
    yb_mean, yb_var = _moments((red + green) * 0.5 - blue)
    luma_mean, luma_var = _moments(luma)
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * luma[1:-1, 1:-1]
    return Styles(
        brightness=min(luma_mean / 255, 1.0),
        contrast=luma_var**0.5 / 255,
        saturation=float(saturation.mean()),
        colourfulness=(rg_var + yb_var) ** 0.5 + 0.3 * (rg_mean**2 + yb_mean**2) ** 0.5,
        sharpness=_moments(laplacian)[1],
        aspect=aspect,
    )


def _measure(photo: "Decoded") -> tuple[float, ...]:
    return astuple(measure_styles(photo.scaled, photo.width_px / photo.height_px))


def _moments(plane: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Mean and variance; deviations are computed before squaring, so that flat images give exactly 0."""
    mean = plane.mean()
    deviation = (plane - mean).ravel()
    # einsum stays on this thread where dot would wake a BLAS pool.
    return float(mean), float(np.einsum("i,i->", deviation, deviation)) / deviation.size


CLASSIFIER = PhotoClassifier("photo_styles", STYLES_ID, MeasuredStyles, lambda: _measure, MeasuredStyles.__doc__ or "")
