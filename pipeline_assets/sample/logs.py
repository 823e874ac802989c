"""Simulated events as the service's log files: gzip JSON-lines by arrival day, with a few malformed lines on purpose.

Each line is an object: event_id, user_id, photo_id (null for a login), kind, at, arrived_at (ISO 8601, microseconds, `Z`),
and app_version, label and not_label where the event has one. A day's first file also has one malformed line, to exercise the
reader's reject handling: a copy of a real event with its own id, and the next defect of `DEFECTS`. The real event stays, so
that the truth is complete.
"""

import gzip
from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

import polars as pl

ROWS_PER_FILE = 4_000
DEFECTS = ("broken_json", "missing_field", "unknown_kind", "bad_timestamp", "not_an_object", "not_utf8")
"""Defects of malformed lines, in turn by day."""

_FIELDS = ("event_id", "user_id", "photo_id", "kind", "at", "arrived_at")
_FURTHER = ("app_version", "label", "not_label")


class LogFile(NamedTuple):
    """One log file: its key `events/{day}/{part:04d}.jsonl.gz`, its bytes, and its number of malformed lines."""

    key: str
    data: bytes
    malformed: int


def encode_log(events: pl.DataFrame) -> bytes:
    """The events as gzip JSON-lines, in the frame's order; the same frame gives the same bytes.

    events: the columns of `Simulation.events`; those after arrived_at may be missing.
    """
    return _compressed(_lines(events))


def decode_log(data: bytes) -> list[bytes]:
    """The lines of a log file, without their newlines, malformed ones included."""
    return gzip.decompress(data).split(b"\n")[:-1]


def write_day_logs(events: pl.DataFrame, rows_per_file: int = ROWS_PER_FILE) -> Iterator[LogFile]:
    """Every log file of the events, by the UTC day that they arrived, in order of key.

    Within a day, events are sorted by arrival; a new part starts after `rows_per_file` (at least 1) events. Each day
    with events has one malformed line.
    """
    by_arrival = events.sort("arrived_at", "event_id").with_columns(_day=pl.col("arrived_at").dt.date())
    for rows in by_arrival.partition_by("_day", maintain_order=True):
        day = rows.item(0, "_day")
        for part, of_part in enumerate(rows.drop("_day").iter_slices(rows_per_file)):
            lines = _lines(of_part)
            if part == 0:
                middle = len(lines) // 2
                lines.insert(middle, _spoilt(of_part[middle], day))
            yield LogFile(f"events/{day}/{part:04d}.jsonl.gz", _compressed(lines), int(part == 0))


def _lines(events: pl.DataFrame) -> list[bytes]:
    """One JSON object per row, without newline. A null further field is left out, as old apps lack it."""
    iso = "%Y-%m-%dT%H:%M:%S%.6fZ"
    further = [name for name in _FURTHER if name in events.columns]
    base = events.select(*_FIELDS[:4], pl.col("at").dt.strftime(iso), pl.col("arrived_at").dt.strftime(iso), *further)
    members = [pl.struct(_FIELDS).struct.json_encode().str.strip_suffix("}")]
    for name in further:
        member = pl.struct(name).struct.json_encode().str.strip_prefix("{").str.strip_suffix("}")
        members.append(pl.when(pl.col(name).is_null()).then(pl.lit("")).otherwise("," + member))
    return [text.encode() for text in base.select(pl.concat_str(*members, pl.lit("}")).alias("line"))["line"]]


def _spoilt(event: pl.DataFrame, day: date) -> bytes:
    """A copy of the event as a malformed line; the day determines the defect."""
    ordinal = day.toordinal()
    [line] = _lines(event.with_columns(event_id=pl.lit(f"spoilt-{ordinal}")))
    kind, arrived = event.item(0, "kind"), f"{day}T".encode()
    match DEFECTS[ordinal % len(DEFECTS)]:
        case "broken_json":
            return line[: len(line) // 2]
        case "missing_field":
            return line.replace(f'"kind":"{kind}",'.encode(), b"")
        case "unknown_kind":
            return line.replace(f'"kind":"{kind}"'.encode(), b'"kind":"teleport"')
        case "bad_timestamp":
            return line.replace(arrived, b"2025-13-45T")
        case "not_an_object":
            return b"[" + line + b"]"
        case _:
            return line.replace(b"spoilt-", b"spoilt-\xff\xfe")


def _compressed(lines: list[bytes]) -> bytes:
    return gzip.compress(b"".join(line + b"\n" for line in lines), mtime=0)
