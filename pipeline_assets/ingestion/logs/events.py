"""Event logs: gzip JSON-lines to frames, with every line that breaks the contract kept aside under its reason.

Lines of the expected shape are parsed by Arrow, in blocks; all others, one at a time, by `event_lines`, which alone
decides what is rejected. The block parser takes only lines that `event_lines` would take, with the same result: it
knows, by counting quotation marks, that a line has the fields it expects and no others.
"""

import codecs
import io
import json
import re
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pa_compute
import pyarrow.json as pa_json

from pipeline_assets.framework.schemas import Rejected
from pipeline_assets.ingestion.logs.event_lines import MAX_EVENT_ID_CHARACTERS, BadLine, Event, parse_line
from pipeline_assets.ingestion.logs.log_files import MAX_LINE_BYTES, Damage, line_blocks
from pipeline_assets.ingestion.schemas import EVENT_KINDS, FEEDBACK_KINDS, EventLog
from pipeline_assets.ingestion.timestamps import BULK_TIMESTAMP

MAX_LOG_BYTES = 2**30
MAX_REJECTED_LINES = 100_000
MAX_RAW_CHARACTERS = 2_000

_FEW_LINES = 64
_MAX_LEARNED = 16
_ARROW = pa.schema(
    [("event_id", pa.string()), ("user_id", pa.int64()), ("photo_id", pa.int64())]
    + [(name, pa.string()) for name in ("kind", "at", "arrived_at")]
)
_LEARNABLE = {str: pa.string(), int: pa.int64(), bool: pa.bool_()}
_REQUIRED_QUOTES = 18
"""Quotation marks of the five required fields: ten around names, eight around strings."""
_LOG_KEY = re.compile(r"events/([0-9]{4}-[0-9]{2}-[0-9]{2})/.+")
_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_EVENTS: dict[str, Any] = dict(EventLog.create_empty().schema)
_REJECTED: dict[str, Any] = dict(Rejected.create_empty().schema)
_FOUND: dict[str, Any] = {"_line": pl.Int64, **{name: _EVENTS[name] for name in Event._fields}}


@dataclass(frozen=True)
class ParsedLog:
    """One log file. events: `EventLog` in the file's order, event_ids as they come; rejected: `Rejected`."""

    events: pl.DataFrame
    rejected: pl.DataFrame


@dataclass
class _Reading:
    """What a file has given so far. learned: extra fields met in its lines, by name, with the Arrow type of the first."""

    source: str
    day: date
    found: list[pl.DataFrame] = field(default_factory=list)
    rejected: list[tuple[date, str, str, str, str | None]] = field(default_factory=list)
    learned: dict[str, pa.DataType] = field(default_factory=dict)

    def reject(self, line: int | None, reason: str, detail: str, raw: str | None) -> None:
        source = self.source if line is None else f"{self.source}:{line}"
        self.rejected.append((self.day, source, reason, detail, raw and raw[:MAX_RAW_CHARACTERS]))


def day_of_log(key: str) -> date | None:
    """The day of a log file by its key `events/{day}/{name}`; null for any other key."""
    match = _LOG_KEY.fullmatch(key)
    try:
        return date.fromisoformat(match[1]) if match else None
    except ValueError:
        return None


def parse_log(data: bytes, source_key: str, day: date, max_bytes: int = MAX_LOG_BYTES) -> ParsedLog:
    """Every line of a log file, gzip or plain, as an event or as a rejection. Never raises for any bytes.

    Empty lines are skipped. Where the file is cut, corrupt, expands beyond max_bytes, or has over 100,000 bad lines, the
    whole lines before that are kept, and one rejection named by the key alone says what happened to the rest.
    """
    reading, line = _Reading(source_key, day), 1
    for block in line_blocks(data, max_bytes):
        if isinstance(block, Damage):
            reading.reject(None, block.reason, block.detail, block.tail.decode("utf-8", "replace") or None)
        elif len(reading.rejected) < MAX_REJECTED_LINES:
            _read_block(reading, _lines(reading, block, line))
            line += block.count(b"\n")
        else:
            reading.reject(None, "too_many_bad_lines", f"the file is not read from about line {line} on", None)
            break
    events = pl.concat([pl.DataFrame(schema=_FOUND), *reading.found]).sort("_line")
    return ParsedLog(
        events.select(pl.lit(day).alias("day"), *Event._fields).select(list(_EVENTS)),
        pl.DataFrame(reading.rejected, schema=_REJECTED, orient="row"),
    )


def drop_duplicate_events(events: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The events with each event_id once a day, the earliest to arrive; and the others as `duplicate_event` rejections.

    events: `EventLog` of any days, in any order; ties go to the smaller (at, user_id, photo_id, kind, extra_json), so
    the outcome does not depend on the order. The kept events stay in their order.
    """
    identity = pl.struct("day", "event_id")
    repeated = events.with_row_index("_row").filter(identity.is_duplicated())
    duplicates = repeated.sort("day", "event_id", "arrived_at", "at", "user_id", "photo_id", "kind", "extra_json").filter(
        ~identity.is_first_distinct()
    )
    distinct = events.with_row_index("_row").join(duplicates, on="_row", how="anti", maintain_order="left").drop("_row")
    return distinct, duplicates.select(
        "day",
        pl.col("event_id").alias("source"),
        pl.lit("duplicate_event").alias("reason"),
        pl.lit("the day has another event of this event_id that arrived earlier or at the same time").alias("detail"),
        pl.struct(list(_EVENTS)).struct.json_encode().str.head(MAX_RAW_CHARACTERS).alias("raw"),
    )


def _lines(reading: _Reading, block: bytes, first: int) -> pl.DataFrame:
    """The block's lines that are not empty: _line (number in the file) and text. Those that are not UTF-8 are rejected."""
    try:
        block.decode()
    except UnicodeDecodeError:
        raw_lines = block.split(b"\n")
        for at, line in enumerate(raw_lines):
            try:
                line.decode()
            except UnicodeDecodeError:
                raw_lines[at] = b""
                reading.reject(first + at, "bad_json", "the line is not UTF-8", line.decode("utf-8", "replace"))
        block = b"\n".join(raw_lines)
    lines = pl.read_lines(io.BytesIO(block.removeprefix(codecs.BOM_UTF8) if first == 1 else block), name="text")
    numbered = lines.select(pl.int_range(first, first + pl.len()).alias("_line"), pl.col("text").str.strip_chars(" \t\r"))
    return numbered.filter(pl.col("text") != "")


def _read_block(reading: _Reading, lines: pl.DataFrame) -> None:
    """Blockwise what can be, then, if a few of the other lines show fields that can be learned, once more; then singly."""
    left = _take_in_bulk(reading, lines)
    learned_count = len(reading.learned)
    _take_singly(reading, left.head(_FEW_LINES))
    left = left.slice(_FEW_LINES)
    if len(reading.learned) > learned_count:
        left = _take_in_bulk(reading, left)
    _take_singly(reading, left)


def _take_singly(reading: _Reading, lines: pl.DataFrame) -> None:
    events = []
    for number, text in lines.iter_rows():
        event = parse_line(text, reading.day)
        if isinstance(event, BadLine):
            reading.reject(number, event.reason, event.detail, text)
            if len(reading.rejected) >= MAX_REJECTED_LINES:
                break
        else:
            events.append((number, *event))
            if event.extra_json and len(events) <= _FEW_LINES:
                _learn(reading.learned, event.extra_json)
    reading.found.append(pl.DataFrame(events, schema=_FOUND, orient="row"))


def _learn(learned: dict[str, pa.DataType], extra_json: str) -> None:
    for name, value in json.loads(extra_json).items():
        if type(value) in _LEARNABLE and _PLAIN_NAME.fullmatch(name) and len(learned) < _MAX_LEARNED:
            learned.setdefault(name, _LEARNABLE[type(value)])


def _take_in_bulk(reading: _Reading, lines: pl.DataFrame) -> pl.DataFrame:
    """Adds the events of lines that surely keep the contract; returns the other lines.

    In a line without a backslash each `"name":` is a field's name, at some depth. So a line that is an object, that has
    all required fields, and whose quotation marks are those of the names it is known to hold, holds no others.
    """
    text, learned = pl.col("text"), reading.learned
    has_member = {name: text.str.contains(f'"{name}":', literal=True) for name in ("photo_id", *learned)}
    quotes = pl.lit(_REQUIRED_QUOTES, pl.UInt32)
    for name, is_there in has_member.items():
        quotes += is_there.cast(pl.UInt32) * (4 if learned.get(name) == pa.string() else 2)
    candidates = lines.filter(
        text.str.starts_with("{"),
        text.str.ends_with("}"),
        text.str.len_bytes() <= MAX_LINE_BYTES,
        ~text.str.contains("\\", literal=True),
        text.str.count_matches('"', literal=True) == quotes,
    ).with_columns(is_there.alias(f"has {name}") for name, is_there in has_member.items())
    schema = _ARROW
    for name, kind in learned.items():
        schema = schema.append(pa.field(name, kind))
    parsed = _parsed(candidates, schema)
    if parsed.is_empty():
        return lines
    values = (
        parsed.with_columns(_times(parsed["at"]), _times(parsed["arrived_at"]))
        .filter(_keeps_contract(reading.day, list(learned)))
        .select("_line", *Event._fields[:6], _extra_json(learned))
    )
    reading.found.append(values.cast(pl.Schema(_FOUND)))
    return lines.join(values, on="_line", how="anti", maintain_order="left")


def _parsed(lines: pl.DataFrame, schema: pa.Schema) -> pl.DataFrame:
    """The lines with their fields beside them. A block that Arrow refuses is halved; one of few lines is given up."""
    text = lines["text"].str.join("\n").item().encode()
    try:
        table = pa_json.read_json(
            pa.BufferReader(text),
            parse_options=pa_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error"),
        )
        if table.num_rows == lines.height:
            return lines.drop("text").hstack(pl.DataFrame(pl.from_arrow(table)))
    except pa.ArrowInvalid:
        pass
    if lines.height <= _FEW_LINES:
        return lines.clear().drop("text").hstack(pl.DataFrame(pl.from_arrow(schema.empty_table())))
    half = lines.height // 2
    return pl.concat([_parsed(lines[:half], schema), _parsed(lines[half:], schema)])


def _times(texts: pl.Series) -> pl.Series:
    """UTC times; null for a text that is no timestamp of the contract. Arrow's cast is ten times faster, but all or none."""
    shaped = texts.to_frame().select(pl.when(pl.col(texts.name).str.contains(BULK_TIMESTAMP)).then(texts.name)).to_series()
    try:
        cast = pa_compute.cast(shaped.to_arrow(), pa.timestamp("us", "UTC"))
        return pl.Series(texts.name, cast)
    except pa.ArrowInvalid:
        return shaped.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="us", strict=False)


def _keeps_contract(day: date, learned: list[str]) -> pl.Expr:
    return pl.all_horizontal(
        pl.col("event_id").str.len_chars().is_between(1, MAX_EVENT_ID_CHARACTERS),
        pl.col("user_id") >= 0,
        pl.col("photo_id").is_null() | (pl.col("photo_id") >= 0),
        pl.col("kind").is_in(EVENT_KINDS),
        ~pl.col("kind").is_in(FEEDBACK_KINDS) | (pl.col("kind") != "correct") & pl.col("photo_id").is_not_null(),
        pl.col("at") <= pl.col("arrived_at"),
        pl.col("arrived_at").dt.date() == day,
        *(pl.col(name).is_not_null() == pl.col(f"has {name}") for name in learned),
    )


def _extra_json(learned: dict[str, pa.DataType]) -> pl.Expr:
    """The learned fields as `event_lines` writes them. Texts here hold nothing that JSON escapes."""
    members = []
    for name in sorted(learned):
        value = pl.col(name).cast(pl.String)
        if learned[name] == pa.string():
            value = '"' + value + '"'
        members.append(pl.lit(f'"{name}":') + value)
    if not members:
        return pl.lit(None, pl.String).alias("extra_json")
    members_json = pl.concat_str(members, separator=",", ignore_nulls=True)
    return pl.when(members_json != "").then("{" + members_json + "}").alias("extra_json")
