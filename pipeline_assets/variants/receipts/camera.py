"""The camera model: exposure, blur, noise, rounding to eight bits, encoding."""

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import gaussian_filter

PAPER = 0.93
"""The tone that contrast is about: a scanner makes paper white and ink black."""


@dataclass(frozen=True)
class Encoding:
    """The picture's format. quality: of a JPEG; None for PNG."""

    quality: int | None

    @property
    def media_type(self) -> str:
        """As in the row."""
        return "image/png" if self.quality is None else "image/jpeg"

    def __str__(self) -> str:
        return "png, lossless" if self.quality is None else f"jpeg, quality {self.quality}"

    def encode(self, pixels: npt.NDArray[np.uint8]) -> bytes:
        """The file's bytes."""
        buffer = io.BytesIO()
        image = Image.fromarray(pixels)
        if self.quality is None:
            image.save(buffer, "PNG", compress_level=6)
        else:
            image.save(buffer, "JPEG", quality=self.quality, subsampling=0)
        return buffer.getvalue()


def photograph(
    linear: npt.NDArray[np.float32],
    exposure: float,
    contrast: float,
    blur_px: float,
    noise: float,
    random: np.random.Generator,
) -> npt.NDArray[np.uint8]:
    """(H, W, 3) light to sRGB bytes. noise: standard deviation at white; that of photons, with a floor in the dark.
    contrast: 1 adds none.
    """
    light = gaussian_filter(linear, (blur_px, blur_px, 0)) * exposure
    light = light + noise * np.sqrt(np.maximum(light, 0) + 0.05) * random.standard_normal(light.shape)
    light = np.clip(light, 0, 1)
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)
    curve = np.clip((curve - PAPER) * contrast + PAPER, 0, 1)
    return np.round(curve * 255).astype(np.uint8)
