"""What a HEIC or AVIF file tells its decoder to put together, bounded before any of it is decoded.

A picture may be made of others: a grid of tiles, an overlay of pictures that are overlays themselves, a plane of
transparency with a size of its own. A few hundred bytes can so ask for hours, or for gigabytes, behind a small picture.
And what is coded may be larger than its box says: `coded_sizes` reads the headers that the decoder goes by.
Source: ISO 23008-12 (HEIF), ISO 14496-12 (boxes).
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pipeline_assets.errors import BadImage
from pipeline_assets.ingestion.media import coded_sizes

MAX_PIXELS = 89_478_485
"""Of any one picture of the file that is decoded with its photo."""
MAX_CODED_PIXELS = 2 * MAX_PIXELS
"""Of all tiles and planes of a photo together."""
LARGEST_LIE = 4
"""How many times its declared pixels a picture may have coded: encoders fill its last blocks."""
_SMALLEST_CODED = 2**16
_MAX_EXTENTS = 64
_DERIVED = frozenset((b"grid", b"iovl", b"iden", b"tmap"))
_MAX_BOXES = 100_000
_DEEPEST = 4
"""A photo, its plane of transparency, and the tiles of that: a photo's own tiles have no planes."""


@dataclass
class _Items:
    """Items by id. made_of: the pictures that one is put together from; planes: those that belong to one."""

    primary: int = 0
    idat: int = 0
    kinds: dict[int, bytes] = field(default_factory=dict)
    made_of: dict[int, list[int]] = field(default_factory=dict)
    planes: dict[int, list[int]] = field(default_factory=dict)
    pixels: dict[int, int] = field(default_factory=dict)
    coded: dict[int, int] = field(default_factory=dict)
    length_bytes: dict[int, int] = field(default_factory=dict)
    extents: dict[int, tuple[tuple[int, int], ...]] = field(default_factory=dict)


def check_items(data: bytes) -> int:
    """The pixels that are decoded for a photo. Raises BadImage for one that is put together from more than it could be
    made of. Damage is left to the decoder.

    Raises struct.error and IndexError where boxes end early.
    """
    items = _read(data)
    _add_coded_sizes(data, items)
    coded = _pixels(items, items.primary, _DEEPEST, {})
    if coded > MAX_CODED_PIXELS:
        raise BadImage("too_many_pixels", f"the parts of the photo have {coded} pixels; at most {MAX_CODED_PIXELS} are read")
    return coded


def _add_coded_sizes(data: bytes, items: _Items) -> None:
    """What each picture's bitstream says, wherever it says it. Of pictures that share their bytes, those are read once."""
    pixels_by_place: dict[tuple[bytes, int, tuple[tuple[int, int], ...]], int] = {}
    left = 2 * len(data)
    for item, extents in items.extents.items():
        kind, length_bytes = items.kinds.get(item, b""), items.length_bytes.get(item, 4)
        if kind not in (b"hvc1", b"hev1", b"av01"):
            continue
        key = (kind, length_bytes, extents)
        if key not in pixels_by_place:
            left -= sum(min(length or len(data), len(data)) for _, length in extents)
            if left < 0 or len(extents) > _MAX_EXTENTS:
                raise BadImage("truncated", "the pictures of the file lie upon each other")
            body = b"".join(data[at : at + length if length else len(data)] for at, length in extents)
            units = coded_sizes.units_of_data(body, length_bytes)
            pixels_by_place[key] = coded_sizes.av1_pixels(body) if kind == b"av01" else coded_sizes.hevc_pixels(units)
        items.coded[item] = max(items.coded.get(item, 0), pixels_by_place[key])
    for item, coded in items.coded.items():
        declared = items.pixels.get(item, 0)
        if declared and coded > max(LARGEST_LIE * declared, _SMALLEST_CODED):
            raise BadImage("too_many_pixels", f"declared as {declared} pixels; the picture inside has {coded}")
        items.pixels[item] = max(declared, coded)


def _pixels(items: _Items, item: int, deeper: int, memo: dict[tuple[int, int], int]) -> int:
    """What is decoded for an item: itself, its parts and planes, each as often as it is asked for."""
    if (item, deeper) in memo:
        return memo[item, deeper]
    parts, planes = items.made_of.get(item, []), items.planes.get(item, [])
    if items.kinds.get(item) == b"iovl" or any(items.kinds.get(part) in _DERIVED for part in parts) or not deeper:
        raise BadImage("unsupported_format", "a HEIC of pictures laid over each other; convert it to JPEG, PNG or WebP")
    own_pixels = items.pixels.get(item, 0)
    if own_pixels > MAX_PIXELS:
        raise BadImage("too_many_pixels", f"a part of the photo has {own_pixels} pixels; at most {MAX_PIXELS} are read")
    coded = 0 if items.kinds.get(item) in _DERIVED else own_pixels
    coded += sum(_pixels(items, part, deeper - 1, memo) for part in (*parts, *planes))
    memo[item, deeper] = coded
    return coded


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The kind of each box, and where its content begins and ends."""
    for _ in range(_MAX_BOXES):
        if at + 8 > end:
            return
        length, kind = struct.unpack_from(">I4s", data, at)
        head = 16 if length == 1 else 8
        length = struct.unpack_from(">Q", data, at + 8)[0] if length == 1 else length or end - at
        if length < head or at + length > end:
            return
        yield kind, at + head, at + length
        at += length


def _read(data: bytes) -> _Items:
    items = _Items()
    for kind, start, end in _boxes(data, 0, len(data)):
        if kind == b"meta":
            inside = list(_boxes(data, start + 4, end))
            items.idat = next((at for inner, at, _ in inside if inner == b"idat"), 0)
            for inner, at, stop in inside:
                if inner in _READERS:
                    _READERS[inner](data, at, stop, items)
    return items


def _primary(data: bytes, at: int, _end: int, items: _Items) -> None:
    items.primary = _number(data, at + 4, wide=data[at] > 0)


def _kinds(data: bytes, at: int, end: int, items: _Items) -> None:
    for kind, start, _ in _boxes(data, at + (8 if data[at] else 6), end):
        if kind == b"infe" and data[start] >= 2:
            wide = data[start] > 2
            place = start + (10 if wide else 8)
            items.kinds[_number(data, start + 4, wide=wide)] = data[place : place + 4]


def _references(data: bytes, at: int, end: int, items: _Items) -> None:
    wide = data[at] > 0
    step = 4 if wide else 2
    for kind, start, stop in _boxes(data, at + 4, end):
        source = _number(data, start, wide=wide)
        count = min(_number(data, start + step, wide=False), max(0, stop - start - step - 2) // step)
        targets = [_number(data, start + step + 2 + step * n, wide=wide) for n in range(count)]
        if kind == b"dimg":
            items.made_of.setdefault(source, []).extend(targets)
        elif kind == b"auxl":
            for target in targets:
                items.planes.setdefault(target, []).append(source)


@dataclass
class _Property:
    """What a property says of the pictures that have it: their declared pixels, and of their bitstream."""

    pixels: int = 0
    coded: int = 0
    length_bytes: int = 0


def _properties(data: bytes, at: int, end: int, items: _Items) -> None:
    properties: dict[int, _Property] = {}
    for kind, start, stop in _boxes(data, at, end):
        if kind == b"ipco":
            for number, (inner, place, last) in enumerate(_boxes(data, start, stop), 1):
                if inner == b"ispe":
                    width, height = struct.unpack_from(">II", data, place + 4)
                    properties[number] = _Property(pixels=width * height)
                elif inner == b"av1C":
                    properties[number] = _Property(coded=coded_sizes.av1_pixels(data[place + 4 : last]))
                elif inner == b"hvcC":
                    units = coded_sizes.units_of_config(data[place:last])
                    properties[number] = _Property(0, coded_sizes.hevc_pixels(units), (data[place + 21] & 3) + 1)
        elif kind == b"ipma":
            _associate(data, start, properties, items)


def _associate(data: bytes, at: int, properties: Mapping[int, _Property], items: _Items) -> None:
    wide, long = data[at] > 0, data[at + 3] & 1
    count, at = struct.unpack_from(">I", data, at + 4)[0], at + 8
    for _ in range(min(count, _MAX_BOXES)):
        item = _number(data, at, wide=wide)
        at += 4 if wide else 2
        associations, at = data[at], at + 1
        for _ in range(associations):
            number = struct.unpack_from(">H", data, at)[0] & 0x7FFF if long else data[at] & 0x7F
            at += 2 if long else 1
            if number in properties:
                items.pixels[item] = max(items.pixels.get(item, 0), properties[number].pixels)
                items.coded[item] = max(items.coded.get(item, 0), properties[number].coded)
                items.length_bytes[item] = properties[number].length_bytes or items.length_bytes.get(item, 4)


def _locations(data: bytes, at: int, end: int, items: _Items) -> None:
    """Where each item's bytes lie, by `iloc`. Those inside of other items are no pictures of an encoder."""
    version = data[at]
    offset_bytes, length_bytes = data[at + 4] >> 4, data[at + 4] & 15
    base_bytes, index_bytes = data[at + 5] >> 4, data[at + 5] & 15 if version else 0
    wide = version > 1
    count, at = _number(data, at + 6, wide=wide), at + (10 if wide else 8)
    steps = 0
    for _ in range(count):
        item, at = _number(data, at, wide=wide), at + (4 if wide else 2)
        method = data[at + 1] & 15 if version else 0
        at += 2 * (version > 0) + 2
        base, at = int.from_bytes(data[at : at + base_bytes], "big"), at + base_bytes
        extent_count, at = _number(data, at, wide=False), at + 2
        extents = []
        steps += 1 + extent_count
        if steps > _MAX_BOXES or at > end:
            raise BadImage("truncated", "the file's table of items makes no sense")
        for _ in range(extent_count):
            at += index_bytes
            place, at = int.from_bytes(data[at : at + offset_bytes], "big"), at + offset_bytes
            length, at = int.from_bytes(data[at : at + length_bytes], "big"), at + length_bytes
            extents.append((base + place + (items.idat if method == 1 else 0), length))
        if method > 1:
            raise BadImage("unsupported_format", "a picture that is coded inside of another item")
        items.extents[item] = tuple(extents)


def _number(data: bytes, at: int, *, wide: bool) -> int:
    return int(struct.unpack_from(">I" if wide else ">H", data, at)[0])


_READERS = {b"pitm": _primary, b"iinf": _kinds, b"iref": _references, b"iprp": _properties, b"iloc": _locations}
