"""Column types as text, and cells as plain integers, for formats that have fewer types than a table."""

import re

import polars as pl

from pipeline_assets.errors import ExportRefused

_NUMBERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.Float32, pl.Float64)
_PLAIN: dict[str, pl.DataType] = {str(kind()): kind() for kind in (*_NUMBERS, pl.Boolean, pl.String, pl.Binary, pl.Date)} | {
    "Datetime(us)": pl.Datetime("us"),
    "Datetime(us, UTC)": pl.Datetime("us", "UTC"),
}
_NAMES = {dtype: name for name, dtype in _PLAIN.items()}
_LIST = re.compile(r"List\((.*)\)")


def type_name(dtype: pl.DataType) -> str | None:
    """A type as text that `type_of` reads; None for one that has no counterpart outside Arrow."""
    if isinstance(dtype, pl.List):
        inner = _NAMES.get(dtype.inner)  # type: ignore[arg-type]
        return f"List({inner})" if inner and (_is_number(dtype.inner) or dtype.inner == pl.String) else None
    return _NAMES.get(dtype)


def type_of(name: str) -> pl.DataType:
    """The type that `type_name` wrote. Raises ValueError for other text."""
    found = _LIST.fullmatch(name)
    inner = _PLAIN.get(found[1] if found else name)
    if inner is None or (found and not (_is_number(inner) or inner == pl.String)):
        raise ValueError(f"{name[:100]!r} is no type of a column")
    return pl.List(inner) if found else inner


def check_types(schema: pl.Schema, kind: str) -> None:
    """Raise ExportRefused for a column whose type the format can't hold."""
    for name, dtype in schema.items():
        if type_name(dtype) is None:
            raise ExportRefused(
                f"{kind} has no place for the column {name} of type {dtype}: leave it out (--columns), or export as parquet."
            )


def check_lists(frame: pl.DataFrame, kind: str) -> None:
    """Raise ExportRefused for a null within a list, which has no place in formats of plain arrays."""
    for name, dtype in frame.schema.items():
        if isinstance(dtype, pl.List) and frame[name].explode(empty_as_null=False, keep_nulls=False).null_count():
            raise ExportRefused(f"{kind} holds no nulls within lists, and {name} has some: export as parquet or feather.")


def to_plain(column: pl.Series) -> pl.Series:
    """Dates as days and times as microseconds since 1970, truth as 0 and 1; other columns as they are."""
    if column.dtype.is_temporal():
        return column.to_physical().cast(pl.Int64)
    return column.cast(pl.Int64) if column.dtype == pl.Boolean else column


def from_plain(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    """What `to_plain` made, with its type again. Raises PolarsError if a value does not fit."""
    if isinstance(dtype, pl.Date):
        return column.cast(pl.Int32).cast(dtype)
    return column.cast(dtype)


def _is_number(dtype: object) -> bool:
    return dtype in _NUMBERS
