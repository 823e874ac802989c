"""Image files as containers: declared size, EXIF block, number of frames, and the bytes that the pixels need.

Each reader walks its format's blocks in bounded steps and hands on a lean copy: what holds pixels stays, what Pillow
would only warn about, inflate or follow (EXIF, ICC, XMP, text, comments, later frames, further pages) goes. So the
decoder sees little that can surprise it, and sizes are known before it allocates. No pixel is decoded here.

TIFF is read by `tiff_container`, JPEG 2000 and HEIF by `boxes`. Sources of the others: ITU T.81 (JPEG), W3C PNG 3, GIF89a,
RFC 9649 (WebP).
"""

import struct
from collections.abc import Callable

from pipeline_assets.errors import BadImage
from pipeline_assets.ingestion.media.boxes import read_heif, read_jp2
from pipeline_assets.ingestion.media.still import MAX_BLOCKS, Still
from pipeline_assets.ingestion.media.tiff_container import read_tiff

MAX_GIF_SUB_BLOCKS = 600_000
MAX_JPEG_SCANS = 64
MAX_JPEG_SCANNED_PX = 2**30
"""Of all scans together: MIN_JPEG_SCANS at Pillow's limit of pixels, of which encoders write ten."""
MIN_JPEG_SCANS = 12


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
            _refuse_many_scans(data, at, size)
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


def _refuse_many_scans(data: bytes, start: int, size: tuple[int, int] | None) -> None:
    """Each scan costs a pass over all pixels, whatever its bytes. FF in coded data is never followed by DA or D9."""
    end = data.find(b"\xff\xd9", start)
    scans = data.count(b"\xff\xda", start, end if end >= 0 else len(data))
    width, height = size or (0, 0)
    max_scans = max(MIN_JPEG_SCANS, min(MAX_JPEG_SCANS, MAX_JPEG_SCANNED_PX // max(1, width * height)))
    if scans > max_scans:
        raise BadImage("unsupported_format", f"a JPEG of {scans} scans; at most {max_scans} of its size are decoded")


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


def exif_of(data: bytes, media_type: str) -> bytes | None:
    """The EXIF block of a sound picture's file."""
    return read_container(data, media_type).exif


_READERS: dict[str, Callable[[bytes], Still]] = {
    "image/jpeg": _read_jpeg,
    "image/png": _read_png,
    "image/gif": _read_gif,
    "image/webp": _read_webp,
    "image/bmp": _read_bmp,
    "image/tiff": read_tiff,
    "image/avif": read_heif,
    "image/heic": read_heif,
    "image/jp2": read_jp2,
}
