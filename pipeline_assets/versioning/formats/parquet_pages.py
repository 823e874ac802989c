"""Unpacked sizes of a Parquet file's pages, from their headers: the footer may claim less, and readers trust the pages.

Reads only these fields of Thrift's compact protocol. Source: apache/parquet-format, parquet.thrift;
apache/thrift, doc/specs/thrift-compact-protocol.md.
"""

import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3
_DELTA_BYTE_ARRAY = 7
_BY_DICTIONARY = (2, 8)
_DETAILS = {_DATA: 5, _DICTIONARY: 7, _DATA_V2: 8}
_ENCODING = {_DATA: 2, _DATA_V2: 4}
_HEADER_BYTES = (16 * 1024, 16 * 1024**2)
"""Bytes to read for a header: first a few, then as many as Arrow's reader allows."""
_LOOKED_INTO_BYTES = 64 * 1024**2
"""A larger dictionary is not unpacked to learn the length of its values."""
_MAX_DEPTH = 8
_CODECS = {"LZ4": "lz4_raw"}
"""Codecs with another name in Arrow."""
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 12, "BYTE_ARRAY": 8}


class BadPages(ValueError):
    """The bytes are no valid pages."""


@dataclass
class Chunk:
    """A column of a row group. values: number of values in all rows and lists; longest: bytes of the longest value that
    rows can repeat at little cost; repeating: number of values that may be repeated ones.
    """

    unpacked: int = 0
    values: int = 0
    longest: int = 0
    repeating: int = 0


def chunk(file: BinaryIO, size: int, column: pq.ColumnChunkMetaData) -> Chunk:
    """Sizes of a column of a row group. size: of the file, in bytes. Raises BadPages."""
    start = column.data_page_offset
    if column.has_dictionary_page and 0 < column.dictionary_page_offset < start:
        start = column.dictionary_page_offset
    end = start + column.total_compressed_size
    if not 0 <= start <= end <= size:
        raise BadPages("a column lies outside of the file")
    total = Chunk()
    try:
        while start < end and (total.values < column.num_values):
            start = _page(file, start, end, column, total)
    except (struct.error, IndexError, KeyError, TypeError, OSError, pa.ArrowException) as error:
        raise BadPages(f"a page can't be read: {error!r:.100}") from None
    total.unpacked = max(total.unpacked, total.values * _WIDTHS.get(column.physical_type, 1))
    return total


def _page(file: BinaryIO, start: int, end: int, column: pq.ColumnChunkMetaData, total: Chunk) -> int:
    """Add a page to the total. Returns the offset of the next one."""
    header, length = _header(file, start, end)
    kind, unpacked, packed = header[1], header[2], header[3]
    if packed < 0 or unpacked < 0 or start + length + packed > end:
        raise BadPages("a page lies outside of its column")
    total.unpacked += unpacked
    details = header.get(_DETAILS.get(kind, 0), {})
    if kind in _ENCODING:
        total.values += max(0, details[1])
        if details[_ENCODING[kind]] == _DELTA_BYTE_ARRAY:
            total.longest = max(total.longest, unpacked)
        if details[_ENCODING[kind]] in (_DELTA_BYTE_ARRAY, *_BY_DICTIONARY):
            total.repeating += max(0, details[1])
    elif kind == _DICTIONARY and column.physical_type == "BYTE_ARRAY":
        longest = unpacked
        if unpacked <= _LOOKED_INTO_BYTES:
            file.seek(start + length)
            data = file.read(packed)
            if column.compression != "UNCOMPRESSED":
                data = pa.Codec(_CODECS.get(column.compression, column.compression.lower())).decompress(
                    data, unpacked, asbytes=True
                )
            longest = _longest(data)
        total.longest = max(total.longest, longest)
    return start + length + packed


def _longest(data: bytes) -> int:
    """Length of the longest byte array in PLAIN encoding: each after its length."""
    at = longest = 0
    while at + 4 <= len(data):
        length = int.from_bytes(data[at : at + 4], "little")
        longest = max(longest, length)
        at += 4 + length
    return longest


def _header(file: BinaryIO, start: int, end: int) -> tuple[dict[int, Any], int]:
    """A page's header by field number, and its length."""
    for limit in _HEADER_BYTES:
        file.seek(start)
        data = file.read(min(limit, end - start))
        try:
            return _struct(data, 0, 0)
        except (IndexError, struct.error):
            if len(data) < limit:
                break
    raise BadPages("a page's header does not end")


def _struct(data: bytes, at: int, depth: int) -> tuple[dict[int, Any], int]:
    fields: dict[int, Any] = {}
    number = 0
    while head := data[at]:
        at += 1
        delta, kind = head >> 4, head & 15
        if delta:
            number += delta
        else:
            number, at = _integer(data, at)
        fields[number], at = (kind == 1, at) if kind in (1, 2) else _value(data, at, kind, depth + 1)
    return fields, at + 1


def _value(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if depth > _MAX_DEPTH:
        raise BadPages("a page's header is nested too deeply")
    if kind in (1, 2, 3):
        return data[at], at + 1
    if kind in (4, 5, 6):
        return _integer(data, at)
    if kind == 7:
        return struct.unpack_from("<d", data, at)[0], at + 8
    if kind == 8:
        length, at = _varint(data, at)
        if at + length > len(data):
            raise IndexError
        return None, at + length
    if kind == 12:
        return _struct(data, at, depth)
    raise BadPages(f"a page's header has a field of kind {kind}")


def _integer(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise BadPages("a number has more than ten bytes")
