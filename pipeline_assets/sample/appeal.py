"""The content part of the sample's known truth: how much a photo appeals, measured from its pixels.

A fixed, smooth function of a 48 x 48 thumbnail, so that a model which sees the photo can learn it:

    raw = 0.65 z(colourfulness) + 0.5 z(brightness) + 0.5 z(log edges) + 0.65 z(warmth)
    z(x) = 2 tanh((x - typical) / (2 spread))
    appeal = LIMIT tanh(raw / LIMIT)

with the constants of `TERMS`, which are near the mean and standard deviation over ImageNet photos: there the appeal's
mean is near 0 and its standard deviation near 0.8; over the sample's few and contrary sources it is near 1.1. It says
nothing about any real person's taste.
"""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

THUMBNAIL_PX = 48
PIXEL_LIMIT = 64_000_000
"""Limit of declared pixels; larger photos are not decoded."""
FORMATS = ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP")
"""Formats that Pillow may decode; those that start other programs (EPS) are excluded."""

TERMS: dict[str, tuple[float, float, float]] = {
    "colourfulness": (0.65, 0.145, 0.085),
    "brightness": (0.5, 0.46, 0.13),
    "log_edges": (0.5, -2.84, 0.37),
    "warmth": (0.65, 0.075, 0.115),
}
"""Weight, typical value and spread of each measurement."""
LIMIT = 1.5
"""Bound on the absolute appeal."""


def appeal(data: bytes) -> float | None:
    """Appeal of an encoded photo, in (-LIMIT, LIMIT); None where the bytes do not decode.

    JPEGs are decoded at a reduced scale, so this takes a few milliseconds per photo.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as photo:
            if photo.width * photo.height > PIXEL_LIMIT:
                return None
            photo.draft("RGB", (THUMBNAIL_PX, THUMBNAIL_PX))
            small = photo.convert("RGB").resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BOX)
    # Hostile bytes make Pillow's decoders raise almost anything; here all of it means "does not decode".
    except Exception:
        return None
    return appeal_of_pixels(np.asarray(small, dtype=np.float64) / 255)


def appeal_of_pixels(rgb: npt.NDArray[np.float64]) -> float:
    """Appeal of a thumbnail; rgb: (H, W, 3) in [0, 1], both sides at least 2."""
    measured = measurements(rgb)
    raw = sum(
        weight * 2 * np.tanh((measured[name] - typical) / (2 * spread)) for name, (weight, typical, spread) in TERMS.items()
    )
    return float(LIMIT * np.tanh(raw / LIMIT))


def measurements(rgb: npt.NDArray[np.float64]) -> dict[str, float]:
    """The four measurements of `TERMS`; rgb: (H, W, 3) in [0, 1].

    Colourfulness is Hasler and Suesstrunk 2003, M3, over 255; edges are the mean absolute luma step between neighbours.
    """
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    red_green, yellow_blue = red - green, (red + green) / 2 - blue
    edges = (np.abs(np.diff(luma, axis=0)).mean() + np.abs(np.diff(luma, axis=1)).mean()) / 2
    return {
        "colourfulness": float(
            np.hypot(red_green.std(), yellow_blue.std()) + 0.3 * np.hypot(red_green.mean(), yellow_blue.mean())
        ),
        "brightness": float(luma.mean()),
        "log_edges": float(np.log(edges + 0.005)),
        "warmth": float((red - blue).mean()),
    }
