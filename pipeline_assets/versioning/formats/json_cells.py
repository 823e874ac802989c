"""Cells of rows as JSON holds them, and back: dates and times as ISO 8601, floats that JSON has no numbers for as text."""

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import polars as pl

_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def to_json(row: Mapping[str, Any]) -> str:
    """One row as compact JSON."""
    return json.dumps({name: plain(value) for name, value in row.items()}, ensure_ascii=False, separators=(",", ":"))


def plain(value: Any) -> Any:
    """A cell of any type that `column_types` names, but bytes, as JSON has it."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    return [plain(item) for item in value] if isinstance(value, list) else value


def from_json(name: str, values: Sequence[Any], dtype: pl.DataType) -> pl.Series:
    """A column of what `plain` made. Raises ValueError, TypeError or PolarsError for what does not fit the type."""
    return pl.Series(name, [None if value is None else _cell(value, dtype) for value in values], dtype, strict=True)


def _cell(value: Any, dtype: Any) -> Any:
    if isinstance(dtype, pl.List):
        return [_cell(item, dtype.inner) for item in value]
    if dtype.is_float():
        return _FLOATS[value] if isinstance(value, str) else float(value)
    if isinstance(dtype, pl.Datetime):
        at = datetime.fromisoformat(value)
        return at.astimezone(UTC) if dtype.time_zone else at
    return date.fromisoformat(value) if dtype == pl.Date else value
