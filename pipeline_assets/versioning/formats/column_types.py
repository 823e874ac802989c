"""Column types as text, and cells as integers, for formats with fewer types than tables."""

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
    """A type as text for `type_of`; None for a type that only Arrow has."""
    if isinstance(dtype, pl.List):
        inner = _NAMES.get(dtype.inner)  # type: ignore[arg-type]
        return f"List({inner})" if inner and (_is_number(dtype.inner) or dtype.inner == pl.String) else None
    return _NAMES.get(dtype)


def type_of(name: str) -> pl.DataType:
    """The inverse of `type_name`. Raises ValueError for other text."""
    list_match = _LIST.fullmatch(name)
    inner = _PLAIN.get(list_match[1] if list_match else name)
    if inner is None or (list_match and not (_is_number(inner) or inner == pl.String)):
        raise ValueError(f"{name[:100]!r} is no column type")
    return pl.List(inner) if list_match else inner


def check_types(schema: pl.Schema, kind: str) -> None:
    """Raise ExportRefused for a column whose type the format can't hold."""
    for name, dtype in schema.items():
        if type_name(dtype) is None:
            raise ExportRefused(
                f"{kind} has no place for the column {name} of type {dtype}: leave it out (--columns), or export as parquet."
            )


def check_lists(frame: pl.DataFrame, kind: str) -> None:
    """Raise ExportRefused for a null within a list, which formats of plain arrays can't hold."""
    for name, dtype in frame.schema.items():
        if isinstance(dtype, pl.List) and frame[name].explode(empty_as_null=False, keep_nulls=False).null_count():
            raise ExportRefused(f"{kind} holds no nulls within lists, and {name} has some: export as parquet or feather.")


def to_plain(column: pl.Series) -> pl.Series:
    """Dates as days and times as microseconds since 1970, booleans as 0 and 1; other columns unchanged."""
    if column.dtype.is_temporal():
        return column.to_physical().cast(pl.Int64)
    return column.cast(pl.Int64) if column.dtype == pl.Boolean else column


def from_plain(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    """The inverse of `to_plain`. Raises PolarsError if a value does not fit the type."""
    if isinstance(dtype, pl.Date):
        return column.cast(pl.Int32).cast(dtype)
    return column.cast(dtype)


def _is_number(dtype: object) -> bool:
    return dtype in _NUMBERS
