"""Cells of rows as JSON holds them, and back: dates and times as ISO 8601, floats that JSON has no numbers for as text."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

_DATE = re.compile(r"([+-]?[0-9]{4,7})-([0-9]{2})-([0-9]{2})")
_EPOCH = date(1970, 1, 1).toordinal()
_CYCLE = 146_097
"""Days of 400 years."""
_DAY_US = 86_400_000_000
_MIDNIGHT = datetime(1970, 1, 1, tzinfo=UTC)
_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def to_json(row: Mapping[str, Any]) -> str:
    """One row of `cells` as compact JSON."""
    return json.dumps({name: plain(value) for name, value in row.items()}, ensure_ascii=False, separators=(",", ":"))


def cells(rows: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """Rows for `plain`, with dates and times as text: Python has none before the year 1 and after 9999, and tables have."""
    times = [_texts(column) for column in rows if column.dtype.is_temporal()]
    yield from rows.with_columns(times).iter_rows(named=True)


def plain(value: Any) -> Any:
    """A cell of any type that `column_types` names, but bytes, as JSON has it."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return [plain(item) for item in value] if isinstance(value, list) else value


def _texts(column: pl.Series) -> pl.Series:
    if isinstance(column.dtype, pl.Date):
        texts = [None if day is None else _day_text(day) for day in column.to_physical()]
    else:
        end = "Z" if column.dtype.time_zone else ""  # type: ignore[attr-defined]
        texts = [None if at is None else _moment_text(at) + end for at in column.to_physical()]
    return pl.Series(column.name, texts, pl.String)


def _moment_text(moment: int) -> str:
    """A time in microseconds since 1970 as ISO 8601, without a zone."""
    day, microseconds = divmod(moment, _DAY_US)
    return f"{_day_text(day)}T{(_MIDNIGHT + timedelta(microseconds=microseconds)).time()}"


def _day_text(day: int) -> str:
    """A day since 1970 as ISO 8601, whose calendar repeats every 400 years; with a sign for years outside 0 to 9999."""
    cycles, day_in_cycle = divmod(day + _EPOCH - 1, _CYCLE)
    at = date.fromordinal(day_in_cycle + 1)
    year = at.year + 400 * cycles
    sign = "" if 0 <= year <= 9999 else "-" if year < 0 else "+"
    return f"{sign}{abs(year):04}-{at.month:02}-{at.day:02}"


def _day(text: str) -> int:
    """The day since 1970 from the text of `_day_text`, or any other ISO 8601 date."""
    match = _DATE.fullmatch(text)
    if not match:
        return date.fromisoformat(text).toordinal() - _EPOCH
    cycles, year = divmod(int(match[1]) - 1, 400)
    return date(year + 1, int(match[2]), int(match[3])).toordinal() + cycles * _CYCLE - _EPOCH


def _moment(text: str) -> int:
    """Microseconds since 1970 of a date and time; without an offset it counts as UTC."""
    day, _, time_text = text.partition("T")
    if not time_text or not _DATE.fullmatch(day):
        at = datetime.fromisoformat(text)
        return (at.replace(tzinfo=at.tzinfo or UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    at = datetime.fromisoformat(f"1970-01-02T{time_text}")
    return (at.replace(tzinfo=at.tzinfo or UTC) - _MIDNIGHT) // timedelta(microseconds=1) + _day(day) * _DAY_US - _DAY_US


def from_json(name: str, values: Sequence[Any], dtype: pl.DataType) -> pl.Series:
    """A column from the values of `plain`. Raises ValueError, TypeError or PolarsError for a value of another type."""
    cells = [None if value is None else _cell(value, dtype) for value in values]
    if not dtype.is_temporal():
        return pl.Series(name, cells, dtype, strict=True)
    physical = pl.Int32() if isinstance(dtype, pl.Date) else pl.Int64()
    return pl.Series(name, cells, physical, strict=True).cast(dtype)


def _cell(value: Any, dtype: Any) -> Any:
    if isinstance(dtype, pl.List):
        return [_cell(item, dtype.inner) for item in value]
    if dtype.is_float():
        return _FLOATS[value] if isinstance(value, str) else float(value)
    if isinstance(dtype, pl.Datetime):
        return _moment(value)
    return _day(value) if isinstance(dtype, pl.Date) else value
