"""Between photos' bytes and pixels on a canvas. On the host, a photo at a time; safe on threads."""

import io
from dataclasses import dataclass

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline_assets.classify.decode import RESAMPLING, decode_upright
from pipeline_assets.errors import BadImage, UnfitParent
from pipeline_assets.ingestion.inspection import DEFAULT_LIMITS
from pipeline_assets.variants.photos.effects import Canvas, Encoding
from pipeline_assets.variants.photos.plans import Region

Pixels = npt.NDArray[np.uint8]
"""(H, W, 3), sRGB."""
OVERSAMPLED = 2
"""A photo is decoded at no less than this many times the canvas's side, where it has that: cuts out of it stay sharp."""
PNG_LEVEL = 3
_HASH_SIDE_PX = 32


@dataclass(frozen=True)
class Photo:
    """A decoded parent, perhaps scaled down. width_px, height_px: of the whole photo upright, as its labels count."""

    image: Image.Image
    width_px: int
    height_px: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the whole photo."""
        return self.width_px, self.height_px


def decoded(data: bytes, side_px: int) -> Photo:
    """A parent's pixels, good for canvases of this short side. Raises UnfitParent with the reason of `decode`, or too_large."""
    if len(data) > DEFAULT_LIMITS.max_bytes:
        raise UnfitParent("too_large", f"{len(data)} bytes; at most {DEFAULT_LIMITS.max_bytes} are read as a photo")
    try:
        photo = decode_upright(data, OVERSAMPLED * side_px)
    except BadImage as bad:
        raise UnfitParent(bad.reason, bad.detail) from bad
    return Photo(photo.image, photo.width_px, photo.height_px)


def fitted(photo: Photo, canvas: Canvas, region: Region) -> Pixels:
    """A region of a photo, in pixels of the whole one, scaled to the canvas with antialiasing."""
    image = photo.image
    x, y = image.width / photo.width_px, image.height / photo.height_px
    left, top = max(region[0] * x, 0.0), max(region[1] * y, 0.0)
    right, bottom = min(region[2] * x, float(image.width)), min(region[3] * y, float(image.height))
    return np.asarray(image.resize((canvas.width, canvas.height), RESAMPLING, box=(left, top, right, bottom)))


def encoded(pixels: Pixels, encoding: Encoding) -> bytes:
    """The bytes of a result."""
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    match encoding.format:
        case "jpeg":
            image.save(buffer, "JPEG", quality=encoding.quality, subsampling="4:2:0")
        case "png":
            image.save(buffer, "PNG", compress_level=PNG_LEVEL)
        case _:
            image.save(buffer, "WEBP", lossless=True, quality=0, method=1)
    return buffer.getvalue()


def recompressed(pixels: Pixels, quality: int) -> Pixels:
    """What a JPEG of this quality leaves."""
    data = encoded(pixels, Encoding("jpeg", quality))
    return np.asarray(Image.open(io.BytesIO(data), formats=("JPEG",)))


def perceptual_hash(pixels: Pixels) -> str:
    """64 bits as 16 hex digits, as `raw_uploads` has them of such a picture."""
    side = (_HASH_SIDE_PX, _HASH_SIDE_PX)
    luma = Image.fromarray(pixels).convert("L").resize(side, Image.Resampling.LANCZOS, reducing_gap=4)
    return str(imagehash.phash(luma))
