"""Decodes photos to pixels on a canvas and encodes pixels. Runs on the CPU, one photo at a time; thread-safe."""

import io
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import simplejpeg
import torch
import torch.nn.functional as functional
from PIL import Image
from scipy.fft import dct

from pipeline_assets.classify.decode import decode_upright
from pipeline_assets.errors import BadImage, UnfitParent
from pipeline_assets.ingestion.media.inspection import DEFAULT_LIMITS
from pipeline_assets.variants.photos.effects import Canvas, Encoding
from pipeline_assets.variants.photos.plans import Region

Pixels = npt.NDArray[np.uint8]
"""(H, W, 3), sRGB. Of results (H, W, 4), too: the fourth byte is 0 and means nothing."""
OVERSAMPLED = 2
"""A photo is decoded at no less than this many times the canvas's side, where it has that: cuts out of it stay sharp."""
PNG_LEVEL = 3
_HASH_SIDE_PX, _HASH_ROWS = 32, 8
_LUMA = np.array([0.299, 0.587, 0.114, 0])


@dataclass(frozen=True)
class Photo:
    """A decoded parent, possibly downscaled. width_px, height_px: of the whole upright photo, the units of its labels."""

    pixels: Pixels
    width_px: int
    height_px: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the whole photo."""
        return self.width_px, self.height_px

    def snapped(self, region: Region) -> Region:
        """The nearest region of whole decoded pixels, at least one pixel wide and high."""
        height, width = self.pixels.shape[:2]
        left, right = _whole_pixels(region[0], region[2], width / self.width_px, width)
        top, bottom = _whole_pixels(region[1], region[3], height / self.height_px, height)
        x, y = self.width_px / width, self.height_px / height
        return left * x, top * y, right * x, bottom * y

    def fitted(self, canvas: Canvas, region: Region) -> Pixels:
        """A snapped region scaled to the canvas, bilinearly with antialiasing."""
        x, y = self.pixels.shape[1] / self.width_px, self.pixels.shape[0] / self.height_px
        left, right, top, bottom = round(region[0] * x), round(region[2] * x), round(region[1] * y), round(region[3] * y)
        crop = torch.from_numpy(self.pixels[top:bottom, left:right]).permute(2, 0, 1)[None]
        crop = crop.contiguous(memory_format=torch.channels_last)
        size = (canvas.height, canvas.width)
        scaled = functional.interpolate(crop, size, mode="bilinear", align_corners=False, antialias=True)
        return np.ascontiguousarray(scaled[0].permute(1, 2, 0).numpy())


def decoded(data: bytes, side_px: int) -> Photo:
    """A parent's pixels, for canvases with this short side. Raises UnfitParent: a reason of `decode`, or too_large."""
    if len(data) > DEFAULT_LIMITS.max_bytes:
        raise UnfitParent("too_large", f"{len(data)} bytes; at most {DEFAULT_LIMITS.max_bytes} are read as a photo")
    try:
        photo = decode_upright(data, OVERSAMPLED * side_px)
    except BadImage as bad:
        raise UnfitParent(bad.reason, bad.detail) from bad
    return Photo(photo.pixels, photo.width_px, photo.height_px)


def mirrored(pixels: Pixels, axes: tuple[int, ...]) -> Pixels:
    """Mirror along axes: 0 vertical, 1 horizontal. Pixels are moved as single numbers, which is six times faster."""
    if 1 in axes:
        pixels = torch.from_numpy(pixels).flip(1).numpy()
    return np.ascontiguousarray(pixels[::-1]) if 0 in axes else pixels


def encoded(pixels: Pixels, encoding: Encoding) -> bytes:
    """The bytes of a result. pixels: contiguous."""
    if encoding.quality is not None:
        return jpeg(pixels, encoding.quality)
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels[..., :3]))
    if encoding.format == "png":
        image.save(buffer, "PNG", compress_level=PNG_LEVEL)
    else:
        image.save(buffer, "WEBP", lossless=True, quality=0, method=1)
    return buffer.getvalue()


def jpeg(pixels: Pixels, quality: int) -> bytes:
    """A JPEG with colour at half the resolution. Four bytes per pixel give the same JPEG in 60 % of the time."""
    order = "RGBX" if pixels.shape[2] == 4 else "RGB"
    return simplejpeg.encode_jpeg(pixels, quality=quality, colorspace=order, colorsubsampling="420")


def recompressed(pixels: Pixels, quality: int) -> Pixels:
    """The pixels after encoding as a JPEG of this quality."""
    return simplejpeg.decode_jpeg(jpeg(pixels, quality), "RGB")


def _whole_pixels(start: float, end: float, scale: float, size: int) -> tuple[int, int]:
    """Whole pixels nearest to a stretch, at least one, within size."""
    first = min(max(round(start * scale), 0), size - 1)
    return first, min(max(round(end * scale), first + 1), size)


def perceptual_hash(pixels: Pixels) -> str:
    """64 bits as 16 hex digits, within two bits of the hash in `raw_uploads` for such a picture.

    What `imagehash.phash` does in steps (luma, Lanczos to 32 x 32, a cosine transform) is linear, so two products do it all.
    Results are rounded, so that the frequencies of a flat picture are exactly 0 in single precision.
    """
    height, width, depth = pixels.shape
    columns = _lowest(height) @ torch.from_numpy(pixels).view(height, -1).float()
    luma = columns.numpy().astype(np.float64).reshape(-1, depth) @ _LUMA[:depth]
    low = np.rint(luma.reshape(_HASH_ROWS, width) @ _lowest_across(width)).ravel()
    middle = np.sort(low)[31:33].sum() / 2
    return np.packbits(low > middle).tobytes().hex()


@lru_cache(maxsize=64)
def _lowest(size: int) -> torch.Tensor:
    """(8, size): from a line of pixels to its lowest frequencies, once scaled to 32."""
    with torch.inference_mode(False):
        scaling = Image.fromarray(np.eye(size, dtype=np.float32)).resize((size, _HASH_SIDE_PX), Image.Resampling.LANCZOS)
        return torch.from_numpy(dct(np.eye(_HASH_SIDE_PX), axis=0)[:_HASH_ROWS] @ np.asarray(scaling)).float()


@lru_cache(maxsize=64)
def _lowest_across(size: int) -> npt.NDArray[np.float64]:
    return np.ascontiguousarray(_lowest(size).numpy().T, dtype=np.float64)
