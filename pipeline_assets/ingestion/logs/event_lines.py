"""One line of an event log: an event, or why it is rejected. This is the contract of a line; `events` is its fast twin."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple

from pipeline_assets.ingestion.logs.log_files import MAX_LINE_BYTES
from pipeline_assets.ingestion.schemas import EVENT_KINDS, FEEDBACK_KINDS
from pipeline_assets.ingestion.timestamps import BadTimestamp, parse_timestamp
from pipeline_assets.runtime import strict_json

MAX_EVENT_ID_CHARACTERS = 200
MAX_LABEL_CHARACTERS = 200
LABEL_FIELDS = ("label", "not_label")
"""Of a correction: what the photo shows, and what it does not. They are carried in `extra_json`, as are all others."""
_MAX_INTEGER = 2**63 - 1


class Event(NamedTuple):
    """The columns of `EventLog` that a line decides, in their order. extra_json: sorted keys, no spaces, UTF-8."""

    event_id: str
    user_id: int
    photo_id: int | None
    kind: str
    at: datetime
    arrived_at: datetime
    extra_json: str | None


@dataclass(frozen=True)
class BadLine:
    """A rejected line: the rule's name, and a sentence for a person."""

    reason: str
    detail: str


class _Refused(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.bad = BadLine(reason, detail)


def parse_line(text: str, day: date) -> Event | BadLine:
    """The event of one line, or why it is none. day: that of the log file. Never raises.

    Numbers are taken strictly: 1.0, "1" and true are no integers. Field names that repeat are refused at any depth.
    """
    try:
        return _event(_object(text), day)
    except _Refused as refused:
        return refused.bad


def _object(text: str) -> dict[str, Any]:
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_LINE_BYTES:
        raise _Refused("too_long", f"the line has {size} bytes; at most {MAX_LINE_BYTES} are read")
    try:
        value = strict_json.loads(text)
    except strict_json.BadJson as error:
        raise _Refused("bad_json", f"the line is no JSON that is read: {error}") from None
    if not isinstance(value, dict):
        raise _Refused("not_an_object", f"the line is a JSON {type(value).__name__}, not an object")
    return value


def _event(line: dict[str, Any], day: date) -> Event:
    for name in ("event_id", "user_id", "kind", "at", "arrived_at"):
        if line.get(name) is None:
            raise _Refused("missing_field", f"{name} is missing or null")
    event_id = _typed(line, "event_id", str, lambda value: 0 < len(value) <= MAX_EVENT_ID_CHARACTERS)
    user_id = _typed(line, "user_id", int, lambda value: 0 <= value <= _MAX_INTEGER)
    photo_id = None
    if line.get("photo_id") is not None:
        photo_id = _typed(line, "photo_id", int, lambda value: 0 <= value <= _MAX_INTEGER)
    kind = _typed(line, "kind", str, lambda value: True)
    if kind not in EVENT_KINDS:
        raise _Refused("unknown_kind", f"kind is {kind[:40]!r}; known are {', '.join(EVENT_KINDS)}")
    _require_what_feedback_says(line, kind)
    at, arrived_at = _time(line, "at"), _time(line, "arrived_at")
    if arrived_at < at:
        raise _Refused("arrives_before_it_happened", f"arrived at {arrived_at}, but happened at {at}")
    if arrived_at.date() != day:
        raise _Refused("arrives_on_another_day", f"arrived at {arrived_at}, but the file is of {day}")
    return Event(event_id, user_id, photo_id, kind, at, arrived_at, _extra(line, event_id))


def _require_what_feedback_says(line: dict[str, Any], kind: str) -> None:
    """Feedback is of a photo, and a correction has at least one of LABEL_FIELDS."""
    if kind in FEEDBACK_KINDS and line.get("photo_id") is None:
        raise _Refused("missing_field", f"photo_id is missing or null, in a {kind}")
    if kind != "correct":
        return
    labels = [name for name in LABEL_FIELDS if line.get(name) is not None]
    if not labels:
        raise _Refused("missing_field", f"{' and '.join(LABEL_FIELDS)} are missing or null, in a correction")
    for name in labels:
        _typed(line, name, str, lambda value: 0 < len(value.strip()) <= MAX_LABEL_CHARACTERS and "\0" not in value)


def _typed(line: dict[str, Any], name: str, kind: type, is_valid: Callable[[Any], bool]) -> Any:
    value = line[name]
    if type(value) is not kind or not is_valid(value):
        expected = f"text of 1 to {MAX_EVENT_ID_CHARACTERS} characters" if kind is str else "a whole number from 0 to 2^63-1"
        raise _Refused("bad_type", f"{name} is {value!r:.60}; it must be {expected}")
    return value


def _time(line: dict[str, Any], name: str) -> datetime:
    text = _typed(line, name, str, lambda value: True)
    try:
        return parse_timestamp(text)
    except BadTimestamp as error:
        raise _Refused("bad_timestamp", f"{name} is {text[:60]!r}, which {error}") from None


def _extra(line: dict[str, Any], event_id: str) -> str | None:
    extra = {name: value for name, value in line.items() if name not in Event._fields[:6]}
    try:
        event_id.encode()
        text = _ENCODER.encode(extra) if extra else None
        (text or "").encode()
    except UnicodeEncodeError:
        raise _Refused("bad_json", "a text holds half of a surrogate pair") from None
    except ValueError:
        raise _Refused("bad_json", "a number is beyond the range of a double") from None
    return text


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
