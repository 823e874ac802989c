"""Thumbnails of photos: small JPEGs without EXIF, inline on the page. Pure."""

import io

from PIL import Image

from pipeline_assets.classify.decode import decode_upright

SIDE_PX = 96
"""Of the longer side."""
QUALITY = 72
MADE_BY = f"{SIDE_PX}px-q{QUALITY}-1"
"""Names the way that a thumbnail was made, with the number of this code's version: a kept one of another way is not used."""


def thumbnail(data: bytes) -> bytes:
    """A JPEG of at most SIDE_PX x SIDE_PX pixels, upright, without EXIF and profiles. Raises BadImage as `decode`."""
    image = Image.fromarray(decode_upright(data, SIDE_PX).pixels)
    image.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY, optimize=True)
    return file.getvalue()
