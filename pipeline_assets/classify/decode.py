"""Decodes a photo's bytes to pixels, once for all classifiers. Pure; thread-safe.

Colours are interpreted as sRGB: an embedded profile is not applied. Only the orientation is read from EXIF.
"""

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import ExifTags, Image, UnidentifiedImageError

from pipeline_assets.classify.model_files import Preprocessing
from pipeline_assets.errors import BadImage
from pipeline_assets.ingestion.media import heif
from pipeline_assets.ingestion.media.containers import exif_of
from pipeline_assets.ingestion.media.orientation import upright
from pipeline_assets.runtime.decode_turns import decoding

Image.init()  # Pillow registers formats when first needed, which is not safe on several threads
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", heif.HeifImageFile.format, "JPEG2000")
STYLE_SHORT_PX = 256
RESAMPLING = Image.Resampling.BILINEAR
"""With antialiasing. On 800 ImageNet photos top-1 is 711 as with bicubic, in 4.4 ms of CPU a photo and not 6.0;
Hamming (3.7 ms) loses 3 photos and box (3.5 ms) 5."""
SMALLEST_PX = 16
BAND_PX = 256
LONGEST_ASPECT = 16
"""A longer strip is cut to its centre of this aspect, so that scaling 16 x 5,000,000 up stays small."""


@dataclass(frozen=True)
class Decoded:
    """One upright photo in 8-bit sRGB.

    scaled: (H, W, 3) uint8, short side 256. crop: (3, crop_px, crop_px) uint8, the centre, a view whose memory is
    in (H, W, C) order, as channels_last wants it. width_px, height_px: of the whole photo, after orientation.
    """

    scaled: npt.NDArray[np.uint8]
    crop: npt.NDArray[np.uint8]
    width_px: int
    height_px: int


@dataclass(frozen=True)
class Upright:
    """One upright photo in 8-bit sRGB.

    pixels: (H, W, 3) uint8, the whole photo, possibly downscaled by the decoder; writable. width_px, height_px: of the photo
    as stored, after orientation.
    """

    pixels: npt.NDArray[np.uint8]
    width_px: int
    height_px: int


def decode_upright(data: bytes, short_px: int) -> Upright:
    """Decode one whole still photo, its short side at least short_px if the photo is that large.

    Converts to RGB as `decode`, and raises the same reasons.
    """
    image = _open(data)
    pixels = _whole_jpeg(data, image, short_px)
    if pixels is not None:
        orientation = _orientation(image)
        if orientation > 1:
            pixels = np.array(upright(Image.fromarray(pixels), orientation))
        return Upright(pixels, *_turned(image.size, orientation))
    with decoding(image):
        rgb, orientation, (width, height) = _read(image, short_px)
        return Upright(np.array(upright(rgb, orientation)), width, height)


def _whole_jpeg(data: bytes, image: Image.Image, short: int) -> npt.NDArray[np.uint8] | None:
    """A valid colour JPEG, decoded at its full size; None for other photos, and if a smaller size is sufficient.

    The pixels are Pillow's, a fifth faster and without the interpreter's lock.
    """
    if image.format != "JPEG" or image.mode != "RGB" or min(image.size) >= 2 * short:
        return None
    try:
        return simplejpeg.decode_jpeg(data, "RGB")
    except ValueError:
        return None


def decode(data: bytes, preprocessing: Preprocessing) -> Decoded:
    """Decode one still photo straight to the needed sizes (JPEG: scaled in the DCT domain).

    Transparency is composed on white; CMYK, palette, grey and 16-bit pixels become 8-bit RGB.
    Raises BadImage with the reason empty, not_an_image, unsupported_format, animated, too_small, too_many_pixels
    (`PIL.Image.MAX_IMAGE_PIXELS`), truncated or unsupported_mode.
    """
    image = _open(data)
    with decoding(image):
        return _decode(data, image, preprocessing)


def _decode(data: bytes, image: Image.Image, preprocessing: Preprocessing) -> Decoded:
    short = max(STYLE_SHORT_PX, preprocessing.resize_short_px)
    pixels = _whole_jpeg(data, image, short)
    if pixels is not None:
        rgb, orientation = Image.fromarray(pixels), _orientation(image)
        width, height = _turned(image.size, orientation)
    else:
        rgb, orientation, (width, height) = _read(image, short)
    scaled = _scale(rgb, STYLE_SHORT_PX)
    is_shared = preprocessing.resize_short_px == STYLE_SHORT_PX
    source = scaled if is_shared else _scale(rgb, preprocessing.resize_short_px)
    crop = _centre(source, (preprocessing.crop_px, preprocessing.crop_px))
    return Decoded(
        scaled=np.asarray(upright(scaled, orientation)),
        crop=np.asarray(upright(crop, orientation)).transpose(2, 0, 1),
        width_px=width,
        height_px=height,
    )


def _read(image: Image.Image, short: int) -> tuple[Image.Image, int, tuple[int, int]]:
    """The stored pixels, their EXIF orientation, and the upright photo's width and height."""
    stored_size = image.size
    try:
        # Grey stays grey; the chosen coded size is at least the target's, so that scaling never enlarges.
        image.draft(None, _scaled_size(stored_size, short))
        is_drafted = image.size != stored_size
        image.load()
        orientation = _orientation(image)
        rgb = _to_rgb(image)
    except BadImage:
        raise
    except MemoryError as error:
        raise BadImage("too_many_pixels", "the pixels do not fit into memory") from error
    except Exception as error:
        # Decoders' errors have no common type: on bytes of a known format they all mean damage.
        raise BadImage("truncated", f"the pixels can't be decoded: {error!s:.200}") from error
    return rgb, orientation, _turned(stored_size if is_drafted else image.size, orientation)


def _open(data: bytes) -> Image.Image:
    if not data:
        raise BadImage("empty", "zero bytes")
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise BadImage("not_an_image", f"the bytes are none of {', '.join(FORMATS)}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImage("too_many_pixels", str(error)) from error
    except Exception as error:
        raise BadImage("truncated", f"the header can't be read: {error!s:.200}") from error
    width, height = image.size
    # Pillow only warns up to twice its limit.
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        raise BadImage("too_many_pixels", f"{width} x {height} pixels; at most {Image.MAX_IMAGE_PIXELS} are decoded")
    if min(width, height) < SMALLEST_PX:
        raise BadImage("too_small", f"{width} x {height} pixels; each side needs {SMALLEST_PX}")
    if image.format == "JPEG2000" and (exif := exif_of(data, "image/jp2")):
        image.info["exif"] = exif  # Pillow does not look for it there
    # A phone's MPO or HEIC has previews besides its photo: it has frames, but it is not animated.
    if image.format not in ("MPO", "HEIF") and getattr(image, "is_animated", False):
        raise BadImage("animated", "more than one frame: a photo has one")
    return image


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 if EXIF is absent or damaged.

    Read after load, because Pillow rotates a TIFF on load and then removes the tag.
    """
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _turned(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Width and height of an image of this stored size once it is upright."""
    return (size[1], size[0]) if orientation >= 5 else size


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert any stored mode to 8-bit RGB: 16-bit grey keeps its high byte, transparency is composed on white."""
    if image.mode.startswith("I;16"):
        high = (np.asarray(image) >> 8).astype(np.uint8)
        return Image.fromarray(high).convert("RGB")
    if image.mode not in {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"}:
        raise BadImage("unsupported_mode", f"mode {image.mode} has no agreed conversion to 8-bit RGB")
    if image.has_transparency_data:
        return _on_white(image)
    return image.convert("RGB") if image.mode != "RGB" else image


def _on_white(image: Image.Image) -> Image.Image:
    """A transparent image composed on white, in bands: as a whole it would need five copies in memory."""
    rgb = Image.new("RGB", image.size)
    for top in range(0, image.height, BAND_PX):
        band = image.crop((0, top, image.width, min(top + BAND_PX, image.height))).convert("RGBA")
        white = Image.new("RGBA", band.size, (255, 255, 255, 255))
        rgb.paste(Image.alpha_composite(white, band).convert("RGB"), (0, top))
    return rgb


def _scaled_size(size: tuple[int, int], short: int) -> tuple[int, int]:
    """Size with the given short side, aspect kept to the pixel."""
    width, height = size
    if width <= height:
        return short, max(short, round(height * short / width))
    return max(short, round(width * short / height)), short


def _scale(image: Image.Image, short: int) -> Image.Image:
    """Scale to the given short side; a strip longer than LONGEST_ASPECT is cropped to its centre first."""
    limit = min(image.size) * LONGEST_ASPECT
    cropped = _centre(image, (min(image.width, limit), min(image.height, limit)))
    return cropped.resize(_scaled_size(cropped.size, short), RESAMPLING)


def _centre(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    if image.size == size:
        return image
    left, top = (image.width - size[0]) // 2, (image.height - size[1]) // 2
    return image.crop((left, top, left + size[0], top + size[1]))
