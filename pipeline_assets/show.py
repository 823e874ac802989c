"""Rows of a table for a person or a file."""

import sys
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from resources.assembly import resolve
from resources.lake import Lake
from resources.settings import Settings

DEFAULT_ROWS = 20
MAX_COLUMNS_SIDE_BY_SIDE = 12
MAX_VALUES = 5


def write_rows(settings: Settings, asset: str, day: date | None, kind: str, output: Path | None, rows: int | None) -> None:
    """Print or write an asset's rows, newest days first to last by key. Raises TableMissing if nothing wrote it yet."""
    lake: Lake = resolve(settings)["lake"]
    frame = lake.scan(asset, None if day is None else [day]).sort("day", maintain_order=True)
    limit = rows if rows is not None else DEFAULT_ROWS if kind == "table" and output is None else None
    if limit is not None:
        frame = frame.head(limit)
    found = frame.collect(engine="streaming")
    if kind == "parquet" and output is not None:
        found.write_parquet(output)
    elif output is not None:
        output.write_text(_text(found, kind))
    else:
        sys.stdout.write(_text(found, kind))


def _text(rows: pl.DataFrame, kind: str) -> str:
    if kind == "json":
        return rows.write_ndjson()
    if kind == "csv":
        nested = [name for name, dtype in rows.schema.items() if dtype.is_nested()]
        return rows.with_columns(_as_json(name) for name in nested).write_csv()
    if rows.width > MAX_COLUMNS_SIDE_BY_SIDE:
        return "".join(map(_record, rows.iter_rows(named=True))) + f"{rows.height} rows shown\n"
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=200, fmt_str_lengths=40, tbl_hide_dataframe_shape=True):
        return f"{rows}\n{rows.height} rows shown\n"


def _as_json(name: str) -> pl.Expr:
    """A nested column as JSON: a struct of it alone is encoded, and its braces taken off."""
    encoded = pl.struct(pl.col(name).alias("v")).struct.json_encode()
    return encoded.str.strip_prefix('{"v":').str.strip_suffix("}").alias(name)


def _record(row: dict[str, Any]) -> str:
    """A row with one value a line, for tables that are too wide for a terminal."""
    width = max(map(len, row))
    return "".join(f"{name:<{width}}  {_short(value)}\n" for name, value in row.items()) + "\n"


def _short(value: Any) -> str:
    if isinstance(value, list) and len(value) > MAX_VALUES:
        return f"[{', '.join(map(str, value[:MAX_VALUES]))}, ... {len(value)} values]"
    return "-" if value is None else str(value)
