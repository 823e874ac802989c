"""`tf.train.Example` as bytes: a small encoder and decoder of this one protobuf message.

    message Example  { Features features = 1; }
    message Features { map<string, Feature> feature = 1; }
    message Feature  { oneof kind { BytesList bytes_list = 1; FloatList float_list = 2; Int64List int64_list = 3; } }
    message BytesList { repeated bytes value = 1; }   FloatList { repeated float value = 1 [packed]; }   Int64List likewise

Source: tensorflow/core/example/{example,feature}.proto; protobuf.dev/programming-guides/encoding.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

BYTES, FLOATS, INTEGERS = 1, 2, 3
Values = Sequence[bytes] | npt.NDArray[Any]
Feature = tuple[int, Values]
"""A kind of the three above, and values: bytes, or an array of float32 or int64."""


class BadExample(ValueError):
    """Bytes that are no Example."""


def encode(features: Mapping[str, Feature]) -> bytes:
    """The message, features in the order given. A feature without values keeps its kind."""
    entries = b"".join(
        _field(1, _field(1, name.encode()) + _field(2, _field(kind, _list(kind, values))))
        for name, (kind, values) in features.items()
    )
    return _field(1, entries)


def decode(data: bytes) -> dict[str, Feature]:
    """What `encode` wrote, or any other encoder. Features without a kind are left. Raises BadExample."""
    found: dict[str, Feature] = {}
    try:
        for body in _messages(data, 1):
            for entry in _messages(body, 1):
                name, feature = b"", b""
                for number, value in _fields(entry):
                    name, feature = (value, feature) if number == 1 else (name, value) if number == 2 else (name, feature)
                for kind, value in _fields(feature):
                    if kind in (BYTES, FLOATS, INTEGERS):
                        found[bytes(name).decode()] = (kind, _values(kind, value))
    except (IndexError, UnicodeDecodeError, TypeError, ValueError) as error:
        raise BadExample(f"no tf.train.Example: {error}") from None
    return found


def _list(kind: int, values: Values) -> bytes:
    if kind == BYTES:
        return b"".join(_field(1, value) for value in values)
    if not len(values):
        return b""
    if kind == FLOATS:
        return _field(1, np.asarray(values, "<f4").tobytes())
    return _field(1, b"".join(_varint(int(value) & (2**64 - 1)) for value in values))


def _field(number: int, body: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes([value])
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _messages(data: Any, wanted: int) -> Iterator[Any]:
    return (value for number, value in _fields(data) if number == wanted)


def _fields(data: Any) -> Iterator[tuple[int, Any]]:
    """Field numbers with bytes (length-delimited, and fixed ones) or integers."""
    view, at = memoryview(data), 0
    while at < len(view):
        tag, at = _read_varint(view, at)
        if tag & 7 == 0:
            value, at = _read_varint(view, at)
            yield tag >> 3, value
            continue
        size = {1: 8, 5: 4}.get(tag & 7)
        if tag & 7 == 2:
            size, at = _read_varint(view, at)
        if size is None or at + size > len(view):
            raise BadExample("a field ends beyond its message, or has an unknown wire type")
        yield tag >> 3, view[at : at + size]
        at += size


def _read_varint(view: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = view[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise BadExample("a varint has more than ten bytes")


def _values(kind: int, data: Any) -> Values:
    if kind == BYTES:
        return [bytes(value) for number, value in _fields(data) if number == 1]
    if kind == FLOATS:  # packed, or one a field as old writers do: both are fields of four bytes each
        parts = [np.frombuffer(value, "<f4") for number, value in _fields(data) if number == 1]
        return np.concatenate(parts) if parts else np.empty(0, np.float32)
    found: list[int] = []
    for number, value in _fields(data):
        if number == 1:
            found += [value] if isinstance(value, int) else _packed(value)
    return np.array(found, np.uint64).astype(np.int64)


def _packed(view: memoryview) -> list[int]:
    found, at = [], 0
    while at < len(view):
        value, at = _read_varint(view, at)
        found.append(value)
    return found
