"""Files made to cost a decoder far more than they weigh, and the price of one: CPU seconds and memory, in a process apart.

Run as `python bombs.py KIND CPU_LIMIT_S MEMORY_LIMIT_MIB` it prints what each file of BOMBS[KIND] costs `inspect` and, if it
is a photo, `decode`, a JSON a line.
"""

import functools
import io
import json
import os
import resource
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from clip_bombs import CLIP_BOMBS
from PIL import Image

SIDE_PX = 9_459
"""The side of the largest square within Pillow's limit of pixels."""


@dataclass(frozen=True)
class Price:
    """What one file cost. verdict: of the inspection, or the reason of the decoder; memory_mib: above what ran before."""

    verdict: str
    cpu_s: float
    memory_mib: float


def price(work: Callable[[], str], cpu_limit_s: int, memory_limit_mib: int) -> Price:
    """Do the work in a child that is killed beyond the CPU limit and gets no memory beyond the other; Linux counts both."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        _in_child(work, writing, cpu_limit_s, memory_limit_mib)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, status, usage = os.wait4(child, 0)
    if os.WIFSIGNALED(status):
        return Price(f"killed by signal {os.WTERMSIG(status)}", usage.ru_utime + usage.ru_stime, 0.0)
    return Price(**json.loads(said))


def _in_child(work: Callable[[], str], writing: int, cpu_limit_s: int, memory_limit_mib: int) -> None:
    """Never returns: what the parent would go on with is none of this process's business."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    in_use = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()  # noqa: SIM115, PTH123
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_limit_s, cpu_limit_s + 1))
    resource.setrlimit(resource.RLIMIT_AS, (in_use + memory_limit_mib * 2**20,) * 2)
    verdict = work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    spent = Price(verdict, cpu_s, (after.ru_maxrss - before.ru_maxrss) / 1024)
    os.write(writing, json.dumps(asdict(spent)).encode())
    os._exit(0)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *extra: bytes, depth: int = 8, colour: int = 6, rows: int | None = None) -> bytes:
    """A PNG of zeros. colour: 0 grey, 2 RGB, 6 RGBA; rows: of pixel data, all if None; extra: chunks before them."""
    row = 1 + width * {0: 1, 2: 3, 6: 4}[colour] * depth // 8
    blocks, rest = divmod(row * (height if rows is None else rows), 2**24)
    packer = zlib.compressobj(1)
    data = b"".join([*(packer.compress(bytes(size)) for size in [2**24] * blocks + [rest]), packer.flush()])
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + b"".join(extra)
        + png_chunk(b"IDAT", data)
        + png_chunk(b"IEND", b"")
    )


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def noise(side: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8))


def progressive_jpeg(width: int, height: int, scans: int) -> bytes:
    """A large grey progressive JPEG of one DC scan, then that many refinements, none with more than a byte of data."""
    whole = saved(Image.new("L", (64, 64)), "JPEG", progressive=True)
    start = whole.index(b"\xff\xc2") + 5
    whole = whole[:start] + struct.pack(">HH", height, width) + whole[start + 4 :]
    first_scan = whole.index(b"\xff\xda")
    # One component, successive approximation of coefficients 1 to 63: valid again and again, and each is a pass over all.
    refinement = b"\xff\xda\x00\x08\x01\x01\x00\x01\x3f\x10" + b"\x00"
    return whole[:first_scan] + whole[first_scan:-2] + refinement * scans + b"\xff\xd9"


def tiff(*entries: tuple[int, int, int, int], data: bytes = b"") -> bytes:
    """A little-endian TIFF. entries: (tag, type, count, value or offset) in order; data starts at offset 8."""
    at = 8 + len(data) + len(data) % 2
    table = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    return b"II*\0" + struct.pack("<I", at) + data.ljust(at - 8, b"\0") + table


def tiff_of(width: int, height: int, compression: int = 1, data: bytes = b"", **changed: tuple[int, int, int]) -> bytes:
    entries = {256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 8), 259: (3, 1, compression), 262: (3, 1, 1)}
    entries |= {273: (4, 1, 8), 277: (3, 1, 1), 278: (4, 1, height), 279: (4, 1, len(data))}
    entries |= {int(tag.removeprefix("tag")): value for tag, value in changed.items()}
    return tiff(*((tag, *entries[tag]) for tag in sorted(entries)), data=data)


def avif_claiming(width: int, height: int) -> bytes:
    """A small AVIF whose box of spatial extents says otherwise."""
    small = saved(noise(64), "AVIF")
    at = small.index(b"ispe") + 8
    return small[:at] + struct.pack(">II", width, height) + small[at + 8 :]


def box(kind: bytes, body: bytes) -> bytes:
    """A box of ISO 14496-12."""
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full_box(kind: bytes, body: bytes, version: int = 0) -> bytes:
    """A box with a version."""
    return box(kind, struct.pack(">I", version << 24) + body)


def heic(
    items: list[tuple[int, bytes, bytes]], references: list[tuple[bytes, int, list[int]]], sizes: dict[int, int]
) -> bytes:
    """A HEIC file whose primary item is 1. items: id, type and data; references: type, from and to; sizes: sides by id."""
    squares = sorted(set(sizes.values()))
    infe = b"".join(full_box(b"infe", struct.pack(">HH4s", one, 0, kind) + b"\0", 2) for one, kind, _ in items)
    iref = b"".join(box(k, struct.pack(f">HH{len(to)}H", one, len(to), *to)) for k, one, to in references)
    ipco = b"".join(full_box(b"ispe", struct.pack(">II", side, side)) for side in squares)
    ipma = b"".join(struct.pack(">HBB", one, 1, 0x81 + squares.index(side)) for one, side in sizes.items())
    hdlr = full_box(b"hdlr", struct.pack(">I4s12s", 0, b"pict", b"") + b"\0")
    tables = full_box(b"pitm", struct.pack(">H", 1)) + full_box(b"iinf", struct.pack(">H", len(items)) + infe)
    tables += full_box(b"iref", iref)
    tables += box(b"iprp", box(b"ipco", ipco) + full_box(b"ipma", struct.pack(">I", len(sizes)) + ipma))
    ftyp = box(b"ftyp", b"heic\0\0\0\0mif1heic")
    at = len(ftyp) + 12 + len(hdlr) + len(tables) + 12 + 4 + 14 * len(items) + 8
    iloc, data = b"", b""
    for one, _, body in items:
        iloc += struct.pack(">HHHII", one, 0, 1, at + len(data), len(body))
        data += body
    iloc = full_box(b"iloc", b"\x44\0" + struct.pack(">H", len(items)) + iloc)
    return ftyp + full_box(b"meta", hdlr + tables + iloc) + box(b"mdat", data)


def heic_of_overlays(levels: int, wide: int, side: int, *, is_plane: bool = False) -> bytes:
    """Each overlay is of all overlays of the next level, or the one of them is the transparency of a photo."""
    canvas = struct.pack(">BB4HII", 0, 1, 0, 0, 0, 65_535, side, side) + bytes(8 * wide)
    items: list[tuple[int, bytes, bytes]] = [(1, b"hvc1", b"photo")] if is_plane else [(1, b"iovl", canvas)]
    level = [1]
    references: list[tuple[bytes, int, list[int]]] = []
    for depth in range(1, levels + 1):
        below = [2 + (depth - 1) * wide + n for n in range(wide)]
        items += [(one, b"iovl" if depth < levels or is_plane else b"hvc1", canvas) for one in below]
        references += [(b"auxl", one, level) for one in below] if is_plane else [(b"dimg", one, below) for one in level]
        level = below
    return heic(items, references, {one: 64 if is_plane and one == 1 else side for one, _, _ in items})


def heic_of_tiles(rows: int, columns: int, side: int) -> bytes:
    """A grid of which all tiles but the first lie outside of its picture."""
    tiles = [2 + n for n in range(rows * columns)]
    grid = struct.pack(">BBBBII", 0, 1, rows - 1, columns - 1, side, side)
    items = [(1, b"grid", grid), *((one, b"hvc1", b"tile") for one in tiles)]
    return heic(items, [(b"dimg", 1, tiles)], dict.fromkeys([1, *tiles], side))


def heic_claiming(width: int, height: int) -> bytes:
    """A small HEIC whose box of spatial extents says otherwise."""
    small = (Path(__file__).parents[1] / "ingestion" / "media" / "heic" / "upright.heic").read_bytes()
    at = small.index(b"ispe") + 8
    return small[:at] + struct.pack(">II", width, height) + small[at + 8 :]


def jp2_claiming(width: int, height: int) -> bytes:
    """A small JPEG 2000 whose codestream says otherwise, with one tile of that size."""
    small = saved(noise(64), "JPEG2000", no_jp2=True)
    size = struct.pack(">II", width, height)
    return small[:8] + size + small[16:24] + size + small[32:]


def gif_frames(count: int) -> bytes:
    return saved(noise(64), "GIF", save_all=True, append_images=[noise(64, seed) for seed in range(1, 3)])[:-1] * count


def avif_that_says_100() -> bytes:
    """An AVIF of 12,000 x 12,000 pixels whose box of spatial extents says 100 x 100.

    The file is `saved(Image.new("L", (12_000, 12_000)), "AVIF", speed=10, quality=1)`, which takes seconds.
    """
    flat = Path(__file__).with_name("flat.avif").read_bytes()
    at = flat.index(b"ispe") + 8
    return flat[:at] + struct.pack(">II", 100, 100) + flat[at + 8 :]


def tiff_in_tiles(side: int) -> bytes:
    """64 x 64 pixels in the corner of one deflated tile."""
    data = zlib.compress(bytes(side * side), 1)
    sides: dict[str, tuple[int, int, int]] = {"tag322": (4, 1, side), "tag323": (4, 1, side)}
    return tiff_of(64, 64, 8, data, **sides, tag324=(4, 1, 8), tag325=(4, 1, len(data)))


def jp2_of_components(count: int) -> bytes:
    small = saved(noise(64), "JPEG2000", no_jp2=True)
    return small[:40] + struct.pack(">H", count) + small[42:]


def inflating(kind: bytes, head: bytes, mebibytes: int) -> bytes:
    return png_chunk(kind, head + zlib.compress(bytes(mebibytes * 2**20), 1))


PICTURE_BOMBS: dict[str, Callable[[], bytes]] = {
    "avif that says 100 pixels a side and has 12,000": avif_that_says_100,
    "tiff in one tile of 20,000 pixels a side": lambda: tiff_in_tiles(20_000),
    "jpeg 2000 of 16,384 components": lambda: jp2_of_components(16_384),
    "heic that claims 65,536 pixels a side": lambda: heic_claiming(65_536, 65_536),
    "heic of overlays of overlays": lambda: heic_of_overlays(levels=4, wide=30, side=256),
    "heic whose transparency is 25,000 pixels a side": lambda: heic_of_overlays(
        levels=1, wide=1, side=25_000, is_plane=True
    ),
    "heic whose tiles are 64 times its size": lambda: heic_of_tiles(rows=8, columns=8, side=4_096),
    "heic that claims to be at the limit": lambda: heic_claiming(SIDE_PX, SIDE_PX),
    "heic that claims to be smaller": lambda: heic_claiming(16, 16),
    "jpeg 2000 that claims 65,536 pixels a side": lambda: jp2_claiming(65_536, 65_536),
    "jpeg 2000 that claims to be at the limit": lambda: jp2_claiming(SIDE_PX, SIDE_PX),
    "png of the largest declared size": lambda: png(2**31 - 1, 2**31 - 1, rows=0, colour=0),
    "png one row too large": lambda: png(SIDE_PX, SIDE_PX + 2, rows=0),
    "png within the limit, of no data": lambda: png(SIDE_PX, SIDE_PX, rows=1),
    "png within the limit, transparent": lambda: png(SIDE_PX, SIDE_PX),
    "png within the limit, grey 16 bits": lambda: png(SIDE_PX, SIDE_PX, depth=16, colour=0),
    "png, a strip": lambda: png(5_592_405, 16, colour=2),
    "png with text of 3 GiB": lambda: png(64, 64, *[inflating(b"zTXt", b"x\0\0", 64)] * 48),
    "png with international text of 3 GiB": lambda: png(64, 64, *[inflating(b"iTXt", b"x\0\1\0\0\0", 64)] * 48),
    "png with a profile of 1 GiB": lambda: png(64, 64, inflating(b"iCCP", b"x\0\0", 1024)),
    "png whose data go on for 1 GiB": lambda: png(64, 64, rows=4_000_000),
    "gif of 65,535 pixels a side": lambda: (
        b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0) + saved(noise(64), "GIF")[13:]
    ),
    "gif of many frames": lambda: gif_frames(2_000),
    "jpeg of 65,500 pixels a side": lambda: progressive_jpeg(65_500, 65_500, 1),
    "jpeg of 5,000 scans": lambda: progressive_jpeg(SIDE_PX, SIDE_PX, 5_000),
    "jpeg of 50 scans at the limit of pixels": lambda: progressive_jpeg(SIDE_PX, SIDE_PX, 50),
    "jpeg with 90,000 comments": lambda: b"\xff\xd8" + b"\xff\xfe\x00\x02" * 90_000 + saved(noise(64), "JPEG")[2:],
    "tiff of 2^32 values a tag": lambda: tiff_of(64, 64, data=bytes(4096), tag273=(4, 2**32 - 1, 8)),
    "tiff of 65,535 samples a pixel": lambda: tiff_of(64, 64, data=bytes(4096), tag277=(3, 1, 65_535)),
    "tiff of one row a strip, all in one place": lambda: tiff_of(64, 64, data=bytes(4096), tag278=(4, 1, 1)),
    "tiff of tiles of 2^31 pixels": lambda: tiff_of(64, 64, data=bytes(4096), tag322=(4, 1, 2**31), tag323=(4, 1, 2**31)),
    "tiff at the limit, deflated": lambda: tiff_of(SIDE_PX, SIDE_PX, 8, zlib.compress(bytes(SIDE_PX * SIDE_PX), 1)),
    "tiff whose strip goes on for 1 GiB": lambda: tiff_of(64, 64, 8, zlib.compress(bytes(2**30), 1)),
    "webp of 16,383 pixels a side": lambda: saved(Image.new("L", (16_383, 16_383)), "WEBP", lossless=True, method=0),
    "webp at the limit": lambda: saved(Image.new("RGBA", (SIDE_PX, SIDE_PX)), "WEBP", lossless=True, method=0),
    "avif that claims 65,536 pixels a side": lambda: avif_claiming(65_536, 65_536),
    "avif that claims the limit": lambda: avif_claiming(SIDE_PX, SIDE_PX),
    "bmp of 2^31 pixels a side": lambda: (
        saved(noise(64), "BMP")[:18] + struct.pack("<ii", 2**31 - 1, 2**31 - 1) + bytes(5000)
    ),
}


BOMBS = {"pictures": PICTURE_BOMBS, "clips": CLIP_BOMBS}


def prices(bombs: str, cpu_limit_s: int, memory_limit_mib: int) -> Iterator[tuple[str, str, Price]]:
    """Of each bomb, in the order of the pipeline: the classifiers read only what inspection passed. (bomb, reader, price)"""
    from pipeline_assets.classify.decode import decode
    from pipeline_assets.classify.model_files import Preprocessing
    from pipeline_assets.errors import BadImage
    from pipeline_assets.ingestion.media.inspection import inspect

    def decoded(data: bytes) -> str:
        try:
            decode(data, Preprocessing())
        except BadImage as bad:
            return bad.reason
        return "ok"

    for name, make in BOMBS[bombs].items():
        data = make()
        inspect(data[:64] + bytes(64), "a")  # what is imported when first needed is nobody's price
        inspected = price(functools.partial(_verdict, inspect, data), cpu_limit_s, memory_limit_mib)
        yield name, "inspect", inspected
        if inspected.verdict == "ok" and name not in CLIP_BOMBS:
            yield name, "decode", price(functools.partial(decoded, data), cpu_limit_s, memory_limit_mib)


def _verdict(inspect: Callable[..., Any], data: bytes) -> str:
    return str(inspect(data, "a").verdict)


if __name__ == "__main__":
    for bomb, reader, cost in prices(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])):
        print(json.dumps([bomb, reader, asdict(cost)]), flush=True)
