"""Image files as containers: declared size, EXIF block, number of frames, and the bytes that the pixels need.

Each reader walks its format's blocks in bounded steps and hands on a lean copy: what holds pixels stays, what Pillow
would only warn about, inflate or follow (EXIF, ICC, XMP, text, comments, later frames, further pages) goes. So the
decoder sees little that can surprise it, and sizes are known before it allocates. No pixel is decoded here.

Sources: ITU T.81 (JPEG), W3C PNG 3, GIF89a, RFC 9649 (WebP), TIFF 6.0.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

from pipeline_assets.errors import BadImage
from pipeline_assets.ingestion.exif import Entry, TiffBlock

MAX_BLOCKS = 100_000
MAX_GIF_SUB_BLOCKS = 600_000
MAX_JPEG_SCANS = 64
MAX_TIFF_STRIPS = 262_144
MAX_TIFF_PAGES = 16


@dataclass(frozen=True)
class Still:
    """One picture of a file. size: declared (width, height), null where only the decoder knows it.

    data: a file of the same format that holds this picture alone; exif: a TIFF block; frames: 2 stands for more.
    """

    data: bytes
    size: tuple[int, int] | None = None
    exif: bytes | None = None
    frames: int = 1


def read_container(data: bytes, media_type: str) -> Still:
    """The file's first picture. Raises BadImage where blocks run past the end or make no sense."""
    try:
        return _READERS[media_type](data)
    except (IndexError, struct.error):
        raise BadImage("truncated", "the file ends inside of its headers or blocks") from None


def _read_jpeg(data: bytes) -> Still:
    """Keeps JFIF and Adobe's marker, without which colours are read wrongly; drops other application segments."""
    parts, at, size, exif = [data[:2]], 2, None, None
    for _ in range(MAX_BLOCKS):
        while data[at : at + 2] == b"\xff\xff":
            at += 1
        if data[at] != 0xFF:
            raise BadImage("truncated", "bytes that are no marker stand between JPEG segments")
        marker, length = data[at + 1], struct.unpack_from(">H", data, at + 2)[0]
        if marker == 0xDA:
            _refuse_many_scans(data, at)
            return Still(b"".join([*parts, data[at:]]), size, exif)
        segment = data[at : at + 2 + length]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", segment, 5)
            size = (width, height)
        if marker == 0xE1 and segment[4:10] == b"Exif\0\0":
            exif = exif or segment[10:]
        if marker in (0xE0, 0xEE) or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            parts.append(segment)
        at += 2 + length
    raise BadImage("truncated", f"more than {MAX_BLOCKS} JPEG segments before the picture")


def _refuse_many_scans(data: bytes, start: int) -> None:
    """Each scan costs a pass over all pixels, whatever its bytes. FF in coded data is never followed by DA or D9."""
    end = data.find(b"\xff\xd9", start)
    scans = data.count(b"\xff\xda", start, end if end >= 0 else len(data))
    if scans > MAX_JPEG_SCANS:
        raise BadImage("unsupported_format", f"a JPEG of {scans} scans; at most {MAX_JPEG_SCANS} are decoded")


def _read_png(data: bytes) -> Still:
    parts, at, exif, frames = [data[:8]], 8, None, 1
    size = struct.unpack_from(">II", data, 16)
    if data[12:16] != b"IHDR":
        raise BadImage("truncated", "the PNG does not start with its header chunk")
    for _ in range(MAX_BLOCKS):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise BadImage("truncated", f"the PNG ends inside of its {kind!r} chunk")
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            parts.append(data[at:end])
        elif kind == b"eXIf":
            exif = exif or data[at + 8 : end - 4]
        elif kind == b"acTL":
            frames = max(frames, min(2, struct.unpack_from(">I", data, at + 8)[0]))
        if kind == b"IEND":
            return Still(b"".join(parts), size, exif, frames)
        at = end
    raise BadImage("truncated", f"more than {MAX_BLOCKS} PNG chunks")


def _read_gif(data: bytes) -> Still:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + _colour_table_bytes(flags)
    header, control, picture, steps = data[:at], b"", b"", MAX_GIF_SUB_BLOCKS
    while (kind := data[at]) != 0x3B:
        start = at
        if kind == 0x21:
            at, steps = _after_sub_blocks(data, at + 2, steps)
            if data[start + 1] == 0xF9 and not picture:
                control = data[start:at]
        elif kind == 0x2C and picture:
            return Still(header + control + picture + b";", (width, height), frames=2)
        elif kind == 0x2C:
            left, top, frame_width, frame_height, flags = struct.unpack_from("<HHHHB", data, at + 1)
            width, height = max(width, left + frame_width), max(height, top + frame_height)
            at, steps = _after_sub_blocks(data, at + 11 + _colour_table_bytes(flags), steps)
            picture = data[start:at]
        else:
            raise BadImage("truncated", f"a GIF block of unknown kind {kind}")
    if not picture:
        raise BadImage("truncated", "the GIF holds no picture")
    return Still(header + control + picture + b";", (width, height))


def _colour_table_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _after_sub_blocks(data: bytes, at: int, steps: int) -> tuple[int, int]:
    """The offset after a chain of GIF sub-blocks that starts at `at`, and the steps that are left for the file."""
    while length := data[at]:
        at += 1 + length
        steps -= 1
        if not steps:
            raise BadImage("unsupported_format", f"a GIF of more than {MAX_GIF_SUB_BLOCKS} sub-blocks")
    return at + 1, steps


def _read_webp(data: bytes) -> Still:
    if struct.unpack_from("<I", data, 4)[0] + 8 > len(data):
        raise BadImage("truncated", "the WebP is shorter than its header says")
    exif, frames, at = None, 0, 12
    size = _webp_size(data)
    for _ in range(MAX_BLOCKS):
        if at + 8 > len(data):
            break
        kind, length = struct.unpack_from("<4sI", data, at)
        if kind == b"EXIF":
            exif = exif or data[at + 8 : at + 8 + length]
        frames += kind == b"ANMF"
        at += 8 + length + length % 2
    return Still(data, size, exif, min(2, max(1, frames)))


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        low_w, high_w, low_h, high_h = struct.unpack_from("<HBHB", data, 24)
        return (low_w | high_w << 16) + 1, (low_h | high_h << 16) + 1
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise BadImage("truncated", f"the WebP starts with an unknown chunk {kind!r}")


def _read_bmp(data: bytes) -> Still:
    """Uncompressed ones only: Pillow unpacks run lengths in Python, at seconds a file."""
    if struct.unpack_from("<I", data, 14)[0] == 12:
        return Still(data, struct.unpack_from("<HH", data, 18))
    width, height = struct.unpack_from("<ii", data, 18)
    compression = struct.unpack_from("<I", data, 30)[0]
    if compression not in (0, 3, 6):
        raise BadImage("unsupported_format", f"a BMP of compression {compression}; only uncompressed ones are read")
    return Still(data, (width, abs(height)))


_TIFF_KEPT = frozenset(
    (256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325, 332, 338, 339)
) | frozenset((347, 512, 513, 514, 515, 519, 520, 521, 529, 530, 531, 532))
"""Tags that the pixels of a baseline or extended TIFF need: no text, resolution, orientation, EXIF or vendors' tags."""
_TIFF_SINGLE = frozenset((256, 257, 259, 262, 266, 277, 278, 284, 317, 322, 323))
_SUBFILE, _DNG_VERSION = 254, 50706


def _read_tiff(data: bytes) -> Still:
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
    kept = [entry for tag, entry in sorted(entries.items()) if tag in _TIFF_KEPT]
    if any(entry.count > MAX_TIFF_STRIPS or (entry.tag in _TIFF_SINGLE and entry.count != 1) for entry in kept):
        raise BadImage("truncated", "the TIFF's first directory has a tag of too many values")
    return Still(_with_directory(tiff, kept), (width, height), data, min(2, _tiff_pages(tiff, following)))


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
    pages, seen = 1, {tiff.first}
    while following and following not in seen and len(seen) < MAX_TIFF_PAGES:
        seen.add(following)
        entries, after = tiff.directory(following)
        pages += bool(entries) and not (tiff.number(entries.get(_SUBFILE)) or 0) & 1
        following = after
    return pages


_READERS: dict[str, Callable[[bytes], Still]] = {
    "image/jpeg": _read_jpeg,
    "image/png": _read_png,
    "image/gif": _read_gif,
    "image/webp": _read_webp,
    "image/bmp": _read_bmp,
    "image/tiff": _read_tiff,
    "image/avif": Still,
}
