"""JPEG 2000, HEIC and AVIF as containers: boxes. Sources: ISO 15444-1 (JPEG 2000), ISO 23008-12 (HEIF)."""

import struct

from pipeline_assets.errors import BadImage
from pipeline_assets.ingestion.media.heif_items import check_items
from pipeline_assets.ingestion.media.still import MAX_BLOCKS, Still

MAX_JP2_COMPONENTS = 4


_EXIF_BOX = b"JpgTiffExif->JP2"
"""The UUID of the box in which tools keep the EXIF of a JP2."""


def read_jp2(data: bytes) -> Still:
    """A codestream as it is; of a JP2's boxes those that the pixels need, its EXIF apart."""
    if data[:4] == b"\xff\x4f\xff\x51":
        return Still(data, _codestream_size(data, 0))
    parts, at, exif = [], 0, None
    for _ in range(MAX_BLOCKS):
        length, kind = struct.unpack_from(">I4s", data, at)
        head = 16 if length == 1 else 8
        length = struct.unpack_from(">Q", data, at + 8)[0] if length == 1 else length or len(data) - at
        if length < head or at + length > len(data):
            raise BadImage("truncated", f"the JPEG 2000 ends inside of its {kind!r} box")
        box = data[at : at + length]
        if kind == b"uuid" and box[head : head + 16] == _EXIF_BOX:
            exif = exif or box[head + 16 :]
        if kind in (b"jP  ", b"ftyp", b"jp2h", b"jp2c"):
            parts.append(box)
        if kind == b"jp2c":
            return Still(b"".join(parts), _codestream_size(box, head), exif or _jp2_exif(data, at + length))
        at += length
    raise BadImage("truncated", f"more than {MAX_BLOCKS} boxes before the picture of a JPEG 2000")


def _jp2_exif(data: bytes, at: int) -> bytes | None:
    """EXIF that comes after the picture."""
    for _ in range(MAX_BLOCKS):
        if at + 8 > len(data):
            return None
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"uuid" and data[at + 8 : at + 24] == _EXIF_BOX:
            return data[at + 24 : at + length]
        if length < 8:
            return None
        at += length
    return None


def _codestream_size(data: bytes, at: int) -> tuple[int, int]:
    """Width and height by the SIZ marker, which the decoder goes by."""
    if data[at : at + 4] != b"\xff\x4f\xff\x51":
        raise BadImage("truncated", "the JPEG 2000 does not begin with its size")
    right, bottom, left, top = struct.unpack_from(">4I", data, at + 8)
    components = struct.unpack_from(">H", data, at + 40)[0]
    if components > MAX_JP2_COMPONENTS:
        raise BadImage(
            "unsupported_format", f"a JPEG 2000 of {components} components; at most {MAX_JP2_COMPONENTS} are read"
        )
    return max(0, right - left), max(0, bottom - top)


def read_heif(data: bytes) -> Still:
    """A HEIC or AVIF as it is, once `heif_items` has bounded it. A sequence has frames; else the primary picture counts."""
    at = 0
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if length == 1:
            length = struct.unpack_from(">Q", data, at + 8)[0]
        if length >= 8 and at + length > len(data) and kind in (b"ftyp", b"meta", b"mdat", b"moov"):
            raise BadImage("truncated", f"the file ends inside of its {kind!r} box")
        if length < 8:  # the last box, or what a vendor has appended
            break
        at += length
    coded_px = check_items(data)
    return Still(data, frames=2 if data[8:12] in (b"hevc", b"hevx", b"msf1", b"avis") else 1, coded_px=coded_px)
