"""TIFF as a container: its first page alone, with the tags that pixels need. Source: TIFF 6.0."""

import struct

from pipeline_assets.errors import BadImage
from pipeline_assets.ingestion.media.exif import Entry, TiffBlock
from pipeline_assets.ingestion.media.still import Still

MAX_TIFF_TILE_PX = 2**24


MAX_TIFF_STRIPS = 262_144


MAX_TIFF_PAGES = 16


_TIFF_KEPT = frozenset(
    (256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325, 332, 338, 339)
) | frozenset((347, 512, 513, 514, 515, 519, 520, 521, 529, 530, 531, 532))
"""Tags that the pixels of a baseline or extended TIFF need: no text, resolution, orientation, EXIF or vendors' tags."""


_SUBFILE, _DNG_VERSION = 254, 50706
_TIFF_SINGLE = frozenset((256, 257, 259, 262, 266, 277, 278, 284, 317, 322, 323))


def read_tiff(data: bytes) -> Still:
    """The first page, in the same file, under a directory that holds nothing but the tags of its pixels."""
    tiff = TiffBlock(data)
    if not tiff.is_valid:
        raise BadImage("unsupported_format", "a BigTIFF; only classic TIFF is read")
    entries, following = tiff.directory(tiff.first)
    width, height = tiff.number(entries.get(256)), tiff.number(entries.get(257))
    if not width or not height:
        raise BadImage("truncated", "the TIFF's first directory is missing, damaged, or declares no size")
    if _DNG_VERSION in entries:
        raise BadImage("unsupported_format", "a camera's raw file (DNG)")
    kept_entries = [entry for tag, entry in sorted(entries.items()) if tag in _TIFF_KEPT]
    if any(entry.count > MAX_TIFF_STRIPS or (entry.tag in _TIFF_SINGLE and entry.count != 1) for entry in kept_entries):
        raise BadImage("truncated", "the TIFF's first directory has a tag of too many values")
    tile = (tiff.number(entries.get(322)) or 0) * (tiff.number(entries.get(323)) or 0)
    if tile > max(MAX_TIFF_TILE_PX, 4 * width * height):
        raise BadImage("too_many_pixels", f"a TIFF of {width} x {height} in tiles of {tile} pixels")
    return Still(_with_directory(tiff, kept_entries), (width, height), data, min(2, _tiff_pages(tiff, following)))


def _with_directory(tiff: TiffBlock, entries: list[Entry]) -> bytes:
    """The same bytes, the first directory overwritten: fewer entries take less room, so nothing moves or grows."""
    order, data = tiff.order, tiff.data
    table = struct.pack(order + "H", len(entries))
    for entry in entries:
        value = data[entry.at : entry.at + 4].ljust(4, b"\0")
        if entry.size_bytes > 4:
            value = struct.pack(order + "I", entry.at)
        table += struct.pack(order + "HHI", entry.tag, entry.kind, entry.count) + value
    table += bytes(4)
    return data[: tiff.first] + table + data[tiff.first + len(table) :]


def _tiff_pages(tiff: TiffBlock, following: int) -> int:
    """1 and the further pages; reduced copies (thumbnails) are none. Stops at a loop and after 16 directories."""
    pages, visited = 1, {tiff.first}
    while following and following not in visited and len(visited) < MAX_TIFF_PAGES:
        visited.add(following)
        entries, after = tiff.directory(following)
        pages += bool(entries) and not (tiff.number(entries.get(_SUBFILE)) or 0) & 1
        following = after
    return pages
