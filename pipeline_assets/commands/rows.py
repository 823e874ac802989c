"""Prints rows of a table, or writes them to a file."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import click
import polars as pl

from pipeline_assets.runtime.terminal import data_output
from pipeline_assets.runtime.visible import FORMULA, UNSEEN, cell, one_line
from resources.assembly import resolve
from resources.lake.lake import Lake
from resources.settings import Settings

DEFAULT_ROWS = 20
MAX_COLUMNS_SIDE_BY_SIDE = 12
MAX_VALUES = 5


def write_rows(
    settings: Settings,
    asset: str,
    day: date | None,
    kind: str,
    output: Path | None,
    rows: int | None,
    *,
    exact: bool = False,
) -> None:
    """Print or write an asset's rows in the order of days. Raises TableMissing if no run has written the table.

    exact: CSV keeps values unchanged, for a program; without it, no text is a formula in a spreadsheet.
    """
    lake: Lake = resolve(settings)["lake"]
    frame = lake.scan(asset, None if day is None else [day]).sort("day", maintain_order=True)
    limit = rows if rows is not None else DEFAULT_ROWS if kind == "table" and output is None else None
    if limit is not None:
        frame = frame.head(limit)
    table = frame.collect(engine="streaming")
    if kind == "parquet" and output is not None:
        table.write_parquet(output)
    elif output is not None:
        output.write_text(_text(table, kind, exact))
    elif kind == "csv" and exact:
        data_output().write(_text(table, kind, exact))
    else:
        click.echo(_text(table, kind, exact), nl=False)


def _text(rows: pl.DataFrame, kind: str, exact: bool) -> str:
    if kind == "json":
        return rows.write_ndjson()
    if kind == "csv":
        nested = [name for name, dtype in rows.schema.items() if dtype.is_nested()]
        flat = rows.with_columns(_as_json(name) for name in nested)
        return (flat if exact else _escaped(flat, f"{FORMULA}|[{UNSEEN}]", cell)).write_csv()
    rows = _escaped(rows, f"[{UNSEEN}\n\t]", one_line)
    if rows.width > MAX_COLUMNS_SIDE_BY_SIDE:
        return "".join(map(_record, rows.iter_rows(named=True))) + f"{rows.height} rows shown\n"
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=200, fmt_str_lengths=40, tbl_hide_dataframe_shape=True):
        return f"{rows}\n{rows.height} rows shown\n"


def _escaped(rows: pl.DataFrame, risky: str, escape: Callable[[str], str]) -> pl.DataFrame:
    """The rows with each text that matches the pattern escaped. Lists and structs that hold text become JSON first."""
    holds_text = [name for name, dtype in rows.schema.items() if dtype.is_nested() and "String" in str(dtype)]
    flat = rows.with_columns(_as_json(name) for name in holds_text)
    changed = {}
    for name in flat.select(pl.col(pl.String)).columns:
        text = flat[name]
        if (where := text.str.contains(risky).fill_null(False)).any():
            changed[name] = text.clone().scatter(where.arg_true(), [escape(value) for value in text.filter(where)])
    return rows.with_columns(**changed)


def _as_json(name: str) -> pl.Expr:
    """A nested column as JSON: encode a struct of this column alone, then strip the struct's braces."""
    encoded = pl.struct(pl.col(name).alias("v")).struct.json_encode()
    return encoded.str.strip_prefix('{"v":').str.strip_suffix("}").alias(name)


def _record(row: dict[str, Any]) -> str:
    """A row with one value per line, for tables too wide for a terminal."""
    width = max(map(len, row))
    return "".join(f"{name:<{width}}  {_short(value)}\n" for name, value in row.items()) + "\n"


def _short(value: Any) -> str:
    if isinstance(value, list) and len(value) > MAX_VALUES:
        return f"[{', '.join(map(str, value[:MAX_VALUES]))}, ... {len(value)} values]"
    return "-" if value is None else str(value)
