"""Builders of odd files as they occur among uploads: pure, small, and the same bytes at every call.

Used by the sample and by the tests of ingestion, which must handle each without a crash. `odd_files` yields one of each with
its valid verdicts of `ingestion.schemas.VERDICTS`. Their photos are drawn here (`drawing`), so that nothing is read from
disk. JPEG and GIF bytes depend on the installed Pillow.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class OddFile(NamedTuple):
    """An upload that is not an ordinary photo. verdicts: each is a valid answer."""

    name: str
    data: bytes
    verdicts: frozenset[str]


def drawing(width: int = 200, height: int = 150, seed: int = 0) -> Image.Image:
    """A smooth colourful RGB picture with some grain: compresses like a photo, and differs for every seed."""
    rng = np.random.default_rng([seed, width, height])
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    waves = [np.sin(2 * np.pi * (a * x + b * y) + c) for a, b, c in rng.uniform(-2, 2, (3, 3))]
    grain = rng.normal(0, 6, (height, width, 3))
    pixels = 127 + 100 * np.stack(waves, axis=-1) + grain
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8), "RGB")


def encoded(image: Image.Image, image_format: str, **options: object) -> bytes:
    """The image as bytes of a Pillow format name (JPEG, PNG, TIFF, GIF, WEBP, BMP), with Pillow's save options."""
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def truncated(data: bytes, keep: float = 0.5) -> bytes:
    """The first share `keep` of the bytes, in [0, 1], as after a broken connection."""
    return data[: int(len(data) * keep)]


def bomb_png(width: int = 60_000, height: int = 60_000) -> bytes:
    """A valid PNG header that declares width x height RGB pixels, over a few bytes of data."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 64)), (b"IEND", b""))
    return PNG_SIGNATURE + b"".join(_png_chunk(kind, body) for kind, body in chunks)


def sixteen_bit_png(width: int = 64, height: int = 64) -> bytes:
    """A greyscale PNG of 16 bits a pixel: a ramp over the whole range."""
    ramp = np.linspace(0, 65_535, width * height).reshape(height, width)
    return encoded(Image.fromarray(ramp.astype(np.uint16)), "PNG")


def animation(image_format: str = "GIF", frames: int = 4) -> bytes:
    """Several different frames as GIF, PNG (APNG), WEBP or TIFF (pages)."""
    first, *others = [drawing(64, 48, seed) for seed in range(frames)]
    return encoded(first, image_format, save_all=True, append_images=others)


def with_exif(
    image: Image.Image,
    *,
    orientation: int = 1,
    taken_at: datetime | None = None,
    camera: tuple[str, str] | None = None,
    position_deg: tuple[float, float] | None = None,
    quality: int = 90,
) -> bytes:
    """A JPEG with EXIF. camera: (make, model); position_deg: (latitude, longitude), south and west negative.

    The pixels are stored as given: orientation only says how a viewer should turn them.
    """
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    if taken_at is not None:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = f"{taken_at:%Y:%m:%d %H:%M:%S}"
    if camera is not None:
        exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = camera
    if position_deg is not None:
        latitude, longitude = position_deg
        gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
        gps[ExifTags.GPS.GPSLatitudeRef] = "N" if latitude >= 0 else "S"
        gps[ExifTags.GPS.GPSLatitude] = _degrees_minutes_seconds(latitude)
        gps[ExifTags.GPS.GPSLongitudeRef] = "E" if longitude >= 0 else "W"
        gps[ExifTags.GPS.GPSLongitude] = _degrees_minutes_seconds(longitude)
    return encoded(image, "JPEG", quality=quality, exif=exif)


def odd_files() -> Iterator[OddFile]:
    """One of each odd file. Names are unique and describe the oddity."""
    jpeg, png = encoded(drawing(seed=1), "JPEG", quality=90), encoded(drawing(seed=2), "PNG")
    broken_png = bytearray(encoded(drawing(seed=3), "PNG"))
    broken_png[len(broken_png) // 2] ^= 0xFF
    cmyk = encoded(drawing(seed=4).convert("CMYK"), "JPEG", quality=90)
    yield _odd_file("zero-bytes.jpg", b"", "empty")
    yield _odd_file("truncated.jpg", truncated(jpeg), "truncated")
    yield _odd_file("truncated-in-header.jpg", jpeg[:64], "truncated", "not_an_image")
    yield _odd_file("truncated.png", truncated(png), "truncated")
    yield _odd_file("flipped-byte.png", bytes(broken_png), "truncated")
    yield _odd_file("png-named.jpg", png, "wrong_extension")
    yield _odd_file("jpeg-named.png", jpeg, "wrong_extension")
    yield _odd_file("text-named.jpg", "Not a photo, whatever its name says. Ünïcode too.\n".encode(), "not_an_image")
    yield _odd_file("notes.txt", b"Shopping: bread, film, batteries\n", "not_an_image")
    yield _odd_file("script.svg", b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', *_NOT_READ)
    yield _odd_file("bomb.png", bomb_png(), "too_many_pixels")
    yield _odd_file("cmyk.jpg", cmyk, "ok", "unsupported_mode")
    yield _odd_file("sixteen-bit.png", sixteen_bit_png(), "ok", "unsupported_mode")
    yield _odd_file("palette.png", encoded(drawing(seed=5).quantize(64), "PNG"), "ok", "unsupported_mode")
    yield _odd_file("animated.gif", animation("GIF"), "animated")
    yield _odd_file("animated.png", animation("PNG"), "animated")
    yield _odd_file("pages.tif", animation("TIFF"), "animated", "unsupported_format")
    yield _odd_file("broken.flac", b"fLaC" + b"\xff" * 500, "undecodable")
    yield _odd_file("tiny.png", encoded(drawing(8, 8), "PNG"), "too_small")


_NOT_READ = ("not_an_image", "unsupported_format")


def _odd_file(name: str, data: bytes, *verdicts: str) -> OddFile:
    return OddFile(name, data, frozenset(verdicts))


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _degrees_minutes_seconds(degrees: float) -> tuple[float, float, float]:
    minutes, seconds = divmod(round(abs(degrees) * 3600, 2), 60)
    whole_degrees, minutes = divmod(minutes, 60)
    return whole_degrees, minutes, round(seconds, 2)
