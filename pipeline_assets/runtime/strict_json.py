"""Untrusted JSON: its depth is checked before it is decoded, and every decoded value can be encoded again.

Python decodes values nested nearly as deep as its stack, and then fails to encode, print or compare them. Rules for any
JSON are here; those for one kind of text are in `label_json` and `event_lines`.
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np

MAX_DEPTH = 64
"""Nested lists and objects. Every caller's stack has room for so many."""
MAX_DIGITS = 40
_STRUCTURE = b'"[]{}'
_ELSE = bytes(set(range(256)) - set(_STRUCTURE))
_STEPS = bytes.maketrans(b"[]{}", b"\x01\xff\x01\xff")
_BLOCK = 2**20


class BadJson(ValueError):
    """A text that is no JSON, or breaks the rules of this module; the message says which."""


class TooDeep(BadJson):
    """JSON that is nested too deeply."""


def loads(text: str | bytes, max_depth: int = MAX_DEPTH) -> Any:
    """Decode a JSON text without repeated names, without NaN and Infinity, and with integers of at most MAX_DIGITS digits.

    Raises BadJson. A float may be infinite (1e999), and a string may contain NUL and single surrogates.
    """
    require_depth(text, max_depth)
    try:
        return _DECODER.decode(text if isinstance(text, str) else text.decode("utf-8-sig"))
    except BadJson:
        raise
    except ValueError as error:
        raise BadJson(f"{error!s:.200}") from None


def decode_at(text: str, at: int) -> tuple[Any, int]:
    """The value of a longer text that begins at an index, by the rules of `loads`, and the index after it.

    Raises BadJson. Its text is all that is decoded: a caller need not know where the value ends.
    """
    try:
        value, end = _DECODER.raw_decode(text, at)
        require_depth(text[at:end])
    except BadJson:
        raise
    except RecursionError:
        raise TooDeep(f"it is nested more than {MAX_DEPTH} deep") from None
    except ValueError as error:
        raise BadJson(f"{error!s:.200}") from None
    return value, end


def loads_leniently(data: bytes, parse_int: Callable[[str], Any], max_depth: int = MAX_DEPTH) -> Any:
    """Decode as `json.loads`, with repeated names and any numbers: callers check the parts. Raises BadJson."""
    require_depth(data, max_depth)
    try:
        return json.loads(data.decode("utf-8-sig"), parse_int=parse_int)
    except ValueError as error:
        raise BadJson(f"{error!s:.200}") from None


def require_depth(text: str | bytes, max_depth: int = MAX_DEPTH) -> None:
    """Raise TooDeep if lists and objects are nested deeper than this. Much cheaper than decoding."""
    opening = ("[", "{") if isinstance(text, str) else (b"[", b"{")
    if sum(map(text.count, opening)) <= max_depth:  # type: ignore[arg-type]
        return
    if _depth(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text) > max_depth:
        raise TooDeep(f"it is nested more than {max_depth} deep")


def _depth(data: bytes) -> int:
    """The depth up to the first character that is no JSON; no decoder reads further."""
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside = b"".join(data.translate(None, _ELSE).split(b'"')[::2])
    steps = np.frombuffer(outside.translate(_STEPS), np.int8)
    deepest = before = 0
    for start in range(0, len(steps), _BLOCK):
        depths = np.cumsum(steps[start : start + _BLOCK], dtype=np.int64) + before
        deepest, before = max(deepest, int(depths.max())), int(depths[-1])
    return deepest


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise BadJson("a name repeats")
    return value


def _no_constant(name: str) -> None:
    raise BadJson(f"{name} is no number")


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise BadJson(f"a number has {len(digits):,} digits")
    return int(digits)


_DECODER = json.JSONDecoder(object_pairs_hook=_without_repeats, parse_int=_integer, parse_constant=_no_constant)
