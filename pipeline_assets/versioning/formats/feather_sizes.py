"""Unpacked sizes of the record batches of an Arrow IPC file, from its metadata.

Reads only these fields of flatbuffers. Source: apache/arrow, format/{File,Message}.fbs; flatbuffers.dev, internals.

    Footer { version, schema, dictionaries: [Block], recordBatches: [Block] }   Block { offset: long, metaDataLength: int,
    bodyLength: long }   Message { version, header: union, bodyLength }   DictionaryBatch { id, data: RecordBatch }
    RecordBatch { length: long, nodes, buffers: [Buffer], compression }   Buffer { offset: long, length: long }
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

MAGIC = b"ARROW1"
_DICTIONARIES, _RECORD_BATCHES = 2, 3
_BLOCK = struct.Struct("<qi4xq")
_BUFFER = struct.Struct("<qq")
_IS_DICTIONARY = 2


@dataclass(frozen=True)
class Part:
    """A record batch or dictionary of a file. packed, unpacked: bytes of its buffers."""

    rows: int
    packed: int
    unpacked: int
    is_dictionary: bool


class BadFile(ValueError):
    """The bytes are no valid Arrow IPC file."""


def parts(file: BinaryIO, size: int) -> Iterator[Part]:
    """The parts listed in a file's footer. size: of the file, in bytes. Raises BadFile."""
    try:
        footer = _footer(file, size)
        root = _follow(footer, 0)
        for kind in (_DICTIONARIES, _RECORD_BATCHES):
            for block in _vector(footer, _field(footer, root, kind), _BLOCK):
                yield _part(file, size, *block)
    except (struct.error, IndexError, OSError) as error:
        raise BadFile(f"its metadata can't be read: {error}") from None


def _footer(file: BinaryIO, size: int) -> bytes:
    length = struct.unpack("<i", _read(file, size, size - 10, 4))[0]
    if _read(file, size, size - 6, 6) != MAGIC:
        raise BadFile("it does not end as an Arrow IPC file")
    return _read(file, size, size - 10 - length, length)


def _part(file: BinaryIO, size: int, offset: int, metadata_bytes: int, body_bytes: int) -> Part:
    data = _read(file, size, offset, metadata_bytes)
    data = data[8:] if data[:4] == b"\xff\xff\xff\xff" else data[4:]
    message = _follow(data, 0)
    at = _follow(data, _required(_field(data, message, 2)))
    is_dictionary = data[_required(_field(data, message, 1))] == _IS_DICTIONARY
    if is_dictionary:
        at = _follow(data, _required(_field(data, at, 1)))
    rows_at, is_packed = _field(data, at, 0), _field(data, at, 3) is not None
    rows = struct.unpack_from("<q", data, rows_at)[0] if rows_at else 0
    body, unpacked = offset + metadata_bytes, 0
    for start, length in _vector(data, _field(data, at, 2), _BUFFER):
        if length < 0 or start < 0 or start + length > body_bytes:
            raise BadFile("a buffer lies outside of its record batch")
        claimed = struct.unpack("<q", _read(file, size, body + start, 8))[0] if is_packed and length >= 8 else -1
        unpacked += length if claimed < 0 else claimed
    return Part(rows, min(body_bytes, size), unpacked, is_dictionary)


def _read(file: BinaryIO, size: int, start: int, length: int) -> bytes:
    if start < 0 or length < 0 or start + length > size:
        raise BadFile("a part of it lies outside of the file")
    file.seek(start)
    return file.read(length)


def _follow(data: bytes, at: int) -> int:
    return at + int(struct.unpack_from("<I", data, at)[0])


def _field(data: bytes, table: int, number: int) -> int | None:
    """Offset of a table's field; None if it is absent."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    if not 0 <= vtable < len(data):
        raise BadFile("a table of its metadata lies outside of it")
    length = struct.unpack_from("<H", data, vtable)[0]
    place = struct.unpack_from("<H", data, vtable + 4 + 2 * number)[0] if 4 + 2 * number < length else 0
    return table + place if place else None


def _required(place: int | None) -> int:
    if place is None:
        raise BadFile("a field of its metadata is not there")
    return place


def _vector(data: bytes, place: int | None, item: struct.Struct) -> Iterator[tuple[int, ...]]:
    if place is None:
        return
    at = _follow(data, place)
    count = struct.unpack_from("<I", data, at)[0]
    if at + 4 + count * item.size > len(data):
        raise BadFile("a list of its metadata is longer than it")
    yield from (item.unpack_from(data, at + 4 + n * item.size) for n in range(count))
