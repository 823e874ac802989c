"""Simulated events as the service's log files: gzip JSON-lines by arrival day, with a few lines spoilt on purpose.

Each line is an object: event_id, user_id, photo_id (null for a login), kind, at, arrived_at (ISO 8601, microseconds,
`Z`), and app_version where the event has one. A day's first file also holds one malformed line, so that the reader's
reject handling has work in the sample: a copy of a real event, with an id of its own, spoilt in the way that is next
in `DEFECTS`. The real event stays, so nothing that the truth counts is lost.
"""

import gzip
from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

import polars as pl

ROWS_PER_FILE = 4_000
DEFECTS = ("broken_json", "missing_field", "unknown_kind", "bad_timestamp", "not_an_object", "not_utf8")
"""Ways in which a line is spoilt, taken in turn by day."""

_FIELDS = ("event_id", "user_id", "photo_id", "kind", "at", "arrived_at")


class LogFile(NamedTuple):
    """One log file: its key `events/{day}/{part:04d}.jsonl.gz`, its bytes, and how many of its lines are malformed."""

    key: str
    data: bytes
    malformed: int


def encode_log(events: pl.DataFrame) -> bytes:
    """The events as gzip JSON-lines, in the frame's order; the same frame gives the same bytes.

    events: the columns of `Simulation.events`; app_version may be missing.
    """
    return _compressed(_lines(events))


def decode_log(data: bytes) -> list[bytes]:
    """The lines of a log file, without their newlines, malformed ones included."""
    return gzip.decompress(data).split(b"\n")[:-1]


def write_day_logs(events: pl.DataFrame, rows_per_file: int = ROWS_PER_FILE) -> Iterator[LogFile]:
    """Every log file of the events, by the UTC day that they arrived, in order of key.

    Within a day events go by arrival; a new part starts after `rows_per_file` (at least 1) events. The number of
    malformed lines in all is the sum of `malformed`: one a day that has events.
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
    """One JSON object a row, without newline. A null app_version is left out: old apps do not know the field."""
    iso = "%Y-%m-%dT%H:%M:%S%.6fZ"
    base = events.select(*_FIELDS[:4], pl.col("at").dt.strftime(iso), pl.col("arrived_at").dt.strftime(iso))
    line = pl.struct(_FIELDS).struct.json_encode()
    if "app_version" in events.columns:
        base = base.with_columns(events["app_version"])
        with_version = pl.struct(*_FIELDS, "app_version").struct.json_encode()
        line = pl.when(pl.col("app_version").is_null()).then(line).otherwise(with_version)
    return [text.encode() for text in base.select(line.alias("line"))["line"]]


def _spoilt(event: pl.DataFrame, day: date) -> bytes:
    """A copy of the one event as a malformed line; the day decides how."""
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
