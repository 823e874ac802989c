"""One look at an upload's bytes: what it is, whether it decodes, what its EXIF says. Sound, video: `sounds`, `videos`.

Every object gets exactly one verdict. A photo is decoded once; its perceptual hash comes from the same pixels.
Everything is safe on threads: no warnings are caught, no global of Pillow is touched. `containers` says what the
decoder gets to see, and why.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import imagehash
import numpy as np
from PIL import Image
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from pipeline_assets.errors import BadClip, BadImage, BadUpload
from pipeline_assets.ingestion.media import sounds, videos
from pipeline_assets.ingestion.media.containers import read_container
from pipeline_assets.ingestion.media.exif import parse_exif
from pipeline_assets.ingestion.media.heif import HeifImageFile
from pipeline_assets.ingestion.media.media_types import DECODED, claimed, sniff
from pipeline_assets.ingestion.media.orientation import upright
from pipeline_assets.ingestion.verdicts import VERDICTS
from pipeline_assets.runtime.blobs import MAX_IN_MEMORY_BYTES, bytes_of, head_of, size_of
from pipeline_assets.runtime.decode_turns import decoding
from resources.files import sha256_of

# The plugins themselves, not Image.open: that one tries other formats too, and warns about sizes that are checked here.
_PLUGINS: dict[str, Callable[[io.BytesIO], ImageFile]] = {
    "image/jpeg": JpegImageFile,
    "image/png": PngImageFile,
    "image/gif": GifImageFile,
    "image/webp": WebPImageFile,
    "image/bmp": BmpImageFile,
    "image/tiff": TiffImageFile,
    "image/avif": AvifImageFile,
    "image/heic": HeifImageFile,
    "image/jp2": Jpeg2KImageFile,
}
_T = TypeVar("_T")
_SIXTEEN_BIT = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})
_MODES = _SIXTEEN_BIT | {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"}
_HASH_SIDE = 32
_DRAFT_SIDE = 4 * _HASH_SIDE


@dataclass(frozen=True)
class Limits:
    """What one photo may be; beyond it is quarantined."""

    max_pixels: int = 89_478_485  # Pillow's own limit, which the classifiers keep too
    max_bytes: int = MAX_IN_MEMORY_BYTES
    min_side_px: int = 16


@dataclass(frozen=True)
class Inspection:
    """The columns of `RawUploads` that bytes and name decide, under the same names."""

    verdict: str
    verdict_detail: str | None = None
    sha256: str | None = None
    media_type: str | None = None
    duration_s: float | None = None
    width_px: int | None = None
    height_px: int | None = None
    mode: str | None = None
    orientation: int | None = None
    taken_at: datetime | None = None
    latitude_deg: float | None = None
    longitude_deg: float | None = None
    camera: str | None = None
    phash: str | None = None


DEFAULT_LIMITS = Limits()


def inspect(data: bytes | Path, name: str, limits: Limits = DEFAULT_LIMITS) -> Inspection:
    """Everything that an upload's bytes say, with its verdict. Never raises, whatever the bytes are.

    data: the bytes, or a file that holds them: sound and video in one are read piece by piece. name: the key or file name,
    for its extension alone. Facts found before a fault keep their columns.
    """
    facts: dict[str, Any] = {"sha256": sha256_of(data)}
    try:
        _examine(data, name, limits, facts)
    except BadUpload as bad:
        return Inspection(bad.reason, bad.detail, **facts)
    return Inspection("ok", **facts)


def rejected_without_bytes(verdict: str, detail: str | None = None) -> Inspection:
    """The row of an object whose bytes were not read: bad_key, gone, too_large. Raises ValueError for no such verdict."""
    if verdict not in VERDICTS or verdict == "ok":
        raise ValueError(f"{verdict!r} is no quarantine reason; choose one of VERDICTS")
    return Inspection(verdict, detail or VERDICTS[verdict])


def _examine(data: bytes | Path, name: str, limits: Limits, facts: dict[str, Any]) -> None:
    """Adds to facts what is found, in order of cost; raises BadImage at the first fault."""
    size = size_of(data)
    if not size:
        raise BadImage("empty", "the object has zero bytes")
    media_type = facts["media_type"] = sniff(head_of(data))
    if media_type in sounds.DECODED:
        facts["duration_s"] = sounds.facts(data).duration_s
        _check_name(name, media_type)
        return
    if media_type in videos.DEMUXERS:
        video = videos.facts(data)
        facts |= {"duration_s": video.duration_s, "width_px": video.width_px, "height_px": video.height_px}
        _check_name(name, media_type)
        return
    if media_type.startswith("audio/"):
        raise BadClip("undecodable", f"{media_type} is not read; convert it to WAV, FLAC, AIFF, Ogg or MP3")
    if size > limits.max_bytes:
        raise BadImage("too_large", f"{size} bytes; at most {limits.max_bytes} are read")
    if not media_type.startswith("image/"):
        raise BadImage("not_an_image", f"the bytes are {media_type}")
    if media_type not in DECODED:
        raise BadImage("unsupported_format", f"{media_type} is not read; convert it to JPEG, PNG or WebP")
    still = read_container(bytes_of(data), media_type)
    _add_shape(facts, still.size, still.exif)
    _check_size(still.size, limits)
    _check_frames(still.frames, media_type)
    image = _guarded(lambda: _PLUGINS[media_type](io.BytesIO(still.data)))
    facts["mode"] = image.mode
    if still.size is None:
        _add_shape(facts, image.size, image.info.get("exif"))
    _check_size(image.size, limits)
    _check_frames(getattr(image, "n_frames", 1) if media_type == "image/avif" else 1, media_type)
    if image.mode not in _MODES:
        raise BadImage("unsupported_mode", f"mode {image.mode} has no agreed conversion to 8-bit RGB")
    with decoding(image):
        luma = _guarded(lambda: _small_luma(image))
    _check_name(name, media_type)
    facts["phash"] = str(imagehash.phash(upright(luma, facts["orientation"])))


def _check_name(name: str, media_type: str) -> None:
    claim = claimed(name)
    if claim not in (None, media_type):
        raise BadImage("wrong_extension", f"the name claims {claim}, the bytes are {media_type}")


def _guarded(work: Callable[[], _T]) -> _T:
    """The decoder's result. Its complaints have no common type: on bytes of a known format they all mean damage."""
    try:
        return work()
    except Exception as error:
        raise BadImage("truncated", f"the decoder says: {error!s:.200}".rstrip(": ")) from error


def _add_shape(facts: dict[str, Any], size: tuple[int, int] | None, exif_block: bytes | None) -> None:
    exif = parse_exif(exif_block or b"")
    facts |= vars(exif)
    if size is not None and max(size) < 2**31:
        facts["width_px"], facts["height_px"] = size[::-1] if (exif.orientation or 1) >= 5 else size


def _check_size(size: tuple[int, int] | None, limits: Limits) -> None:
    if size is None:
        return
    width, height = size
    if width < 1 or height < 1:
        raise BadImage("truncated", f"declared as {width} x {height} pixels")
    if width * height > limits.max_pixels:
        raise BadImage("too_many_pixels", f"declared as {width} x {height}; at most {limits.max_pixels} pixels are read")
    if min(size) < limits.min_side_px:
        raise BadImage("too_small", f"{width} x {height} pixels; each side needs {limits.min_side_px}")


def _check_frames(frames: int, media_type: str) -> None:
    if frames > 1:
        noun = "pages" if media_type == "image/tiff" else "frames"
        raise BadImage("animated", f"more than one of its {noun}: a photo has one")


def _small_luma(image: ImageFile) -> Image.Image:
    """Decode all of the image, and scale its luma to 32 x 32; transparency shows white.

    A JPEG is decoded at a fraction of its size, which reads every coded byte all the same.
    """
    image.draft("L", (_DRAFT_SIDE, _DRAFT_SIDE))
    image.load()
    side = (_HASH_SIDE, _HASH_SIDE)
    pixels: Image.Image = image
    if image.mode in _SIXTEEN_BIT:
        pixels = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("P", "PA", "La", "RGBa", "1"):
        pixels = image.convert("L" if image.mode == "1" else "RGBA" if image.has_transparency_data else "RGB")
    small = pixels.resize(side, Image.Resampling.LANCZOS, reducing_gap=4)
    if small.mode in ("RGBA", "LA"):
        small = small.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", side, "white"), small).convert("L")
    return small if small.mode == "L" else small.convert("RGB").convert("L")
