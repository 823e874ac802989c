"""Reads JSON and NDJSON of services value by value: a broken one is set aside, and its neighbours go on. Pure.

NDJSON is streamed. A JSON list is in memory as text, and one of its values at a time as objects.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline_assets.errors import ImportRefused
from pipeline_assets.labeling.services.form import MAX_RAW_CHARACTERS, Reject
from pipeline_assets.runtime import strict_json

MAX_FILE_BYTES = 1 << 30
MAX_VALUE_BYTES = 64 << 20
_TOKEN = re.compile(r'"(?:[^"\\]|\\(?:.|\Z))*+(?:"|\Z)|[\[\]{},]', re.DOTALL)
_SPACE = re.compile(r"[\s,]*")


@dataclass(frozen=True)
class Value:
    """A decoded value. place: its number in the file, from 1. raw: the beginning of its text."""

    place: str
    value: Any
    raw: str


def values(path: Path, what: str) -> Iterator[Value | Reject]:
    """The values of a JSON list, of one object, or of the lines of NDJSON. what: one of them, as `task`.

    Raises ImportRefused if the file is too large, or not in UTF-8.
    """
    with path.open("rb") as file:
        first = file.read(4_096)
    if first[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise ImportRefused(f"{path} is in UTF-16: save it as UTF-8.")
    begins = first.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if begins == b"[" or (begins == b"{" and _is_one_object(first)):
        yield from _of_text(_text(path), what)
    else:
        yield from _of_lines(path, what)


def whole(path: Path) -> Any:
    """The one value of a JSON file. Raises ImportRefused."""
    try:
        return strict_json.loads_leniently(_bytes(path), _integer)
    except strict_json.BadJson as error:
        raise ImportRefused(f"{path} is no JSON: {str(error)[:200]}") from None


def moment(value: Any) -> datetime | None:
    """A time such as `2026-01-31T12:00:00.5Z`, or seconds (or milliseconds) since 1970; None if it is none."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 4e12:
        return datetime.fromtimestamp(value / 1000 if value > 1e11 else value, UTC)
    if not isinstance(value, str) or not 10 <= len(value) <= 40:
        return None
    try:
        at = datetime.fromisoformat(value.strip().replace(" UTC", "+00:00"))
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def microseconds(at: datetime | None) -> int | None:
    """A time as a revision: microseconds since 1970."""
    return None if at is None else int(at.timestamp() * 1_000_000)


def raw_of(value: Any) -> str:
    """The beginning of a value's JSON, for a reject."""
    return json.dumps(value, ensure_ascii=True, default=str)[:MAX_RAW_CHARACTERS]


def _is_one_object(first: bytes) -> bool:
    """Whether the file's first line leaves its object open: then it goes on below, and the file is no NDJSON."""
    line = first.split(b"\n", 1)[0]
    if len(line) == len(first):
        return False  # a long line: NDJSON, or one object in one line, which is read alike
    tokens = [token[0] for token in _TOKEN.finditer(line.decode("utf-8", "replace"))]
    return sum(tokens.count(sign) for sign in "[{") > sum(tokens.count(sign) for sign in "]}")


def _bytes(path: Path) -> bytes:
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ImportRefused(f"{path} has more than {MAX_FILE_BYTES:,} bytes: split it, or export it as NDJSON.")
    return path.read_bytes()


def _text(path: Path) -> str:
    return _bytes(path).decode("utf-8-sig", "surrogateescape")


def _of_text(text: str, what: str) -> Iterator[Value | Reject]:
    at = len(text) - len(text.lstrip())
    is_list = text[at : at + 1] == "["
    at += is_list
    number = 0
    while (at := _SPACE.match(text, at).end()) < len(text) and text[at] != "]":  # type: ignore[union-attr]
        number += 1
        place = f"{what} {number:,}"
        try:
            value, end = strict_json.decode_at(text, at)
            yield Value(place, value, text[at : min(end, at + MAX_RAW_CHARACTERS)])
        except strict_json.BadJson as error:
            end = _end_of(text, at)
            yield _reject(place, error, text[at : min(end, at + MAX_RAW_CHARACTERS)])
        at = max(end, at + 1)
        if not is_list:
            break
    rest = text[at + is_list :].strip()
    if rest:
        detail = "more JSON follows the first: put each list into a file of its own"
        yield Reject(f"after {what} {number:,}", "more_json", detail, rest[:MAX_RAW_CHARACTERS])
    if is_list and at >= len(text):
        yield Reject(f"after {what} {number:,}", "cut_off", "the file ends inside of its list: download it again")


def _end_of(text: str, start: int) -> int:
    """Where a broken value of a list ends: before the comma or bracket at its own level."""
    depth = 0
    for token in _TOKEN.finditer(text, start):
        sign = token[0]
        if sign in "[{":
            depth += 1
        elif sign in "]}":
            if depth == 0:
                return token.start()
            depth -= 1
        elif sign == "," and depth == 0:
            return token.start()
    return len(text)


def _of_lines(path: Path, what: str) -> Iterator[Value | Reject]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_VALUE_BYTES):
            number += 1
            place = f"{what} in line {number:,}"
            if len(line) == MAX_VALUE_BYTES:
                while line and not line.endswith(b"\n"):
                    line = file.readline(MAX_VALUE_BYTES)
                yield Reject(place, "too_large", f"a line of more than {MAX_VALUE_BYTES:,} bytes")
                continue
            if not line.strip():
                continue
            text = line.decode("utf-8-sig", "surrogateescape").strip()
            try:
                yield Value(place, strict_json.loads(text), text[:MAX_RAW_CHARACTERS])
            except strict_json.BadJson as error:
                yield _reject(place, error, text)


def _reject(place: str, error: Exception, text: str) -> Reject:
    return Reject(place, "bad_json", f"it is no JSON: {error!s:.200}", text[:MAX_RAW_CHARACTERS])


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= 20 else float("inf")
