"""Encodes the columns of a frame for the page: typed arrays in base64, and a description of each as JSON. Pure."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

MAX_CATEGORIES = 1000
"""Of one column that are named on the page; all others are one, called others."""
MAX_TEXT = 200
"""Characters of a category that are shown. A longer one is cut, and no condition names it."""
_INT32 = np.iinfo(np.int32)
_EXACT = 2**53
"""From here on a double has no room for each whole number."""


@dataclass(frozen=True)
class Encoded:
    """Columns as the page reads them.

    about: a description of each column, for JSON. arrays: base64 of each column's little-endian array, in the same order.
    """

    about: list[dict[str, Any]]
    arrays: list[str]


def encoded(rows: pl.DataFrame, in_table: Sequence[str] = ()) -> Encoded:
    """The columns of `rows`; types that the page can't show (lists, structs, bytes) are left out.

    in_table: names that a condition may use: those of the table that it will select from. A column is a number, a category
    (texts, true and false) or a day; a moment becomes its day. Missing: null, NaN or infinite.
    """
    about, arrays = [], []
    for column in rows.iter_columns():
        found = _column(column)
        if found is not None:
            description, array = found
            # A condition on the day of a moment would be another one than on the moment.
            has_condition = column.name in in_table and not isinstance(column.dtype, pl.Datetime)
            about.append({"name": column.name, "sql": has_condition, **description})
            arrays.append(array_text(array))
    return Encoded(about, arrays)


def array_text(array: npt.NDArray[Any]) -> str:
    """An array's bytes, little-endian, in base64."""
    return base64.b64encode(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()).decode("ascii")


def _column(column: pl.Series) -> tuple[dict[str, Any], npt.NDArray[Any]] | None:
    dtype = column.dtype
    if dtype == pl.Date or isinstance(dtype, pl.Datetime):
        return {"kind": "day"} | _type("f4"), _numbers(column.cast(pl.Date).cast(pl.Int32), np.float32)
    if dtype == pl.Boolean:
        return _category(column.cast(pl.String), is_truth=True)
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return _category(column.cast(pl.String), is_truth=False)
    if dtype.is_integer():
        return _whole(column)
    if dtype == pl.Float32:
        return _float(column, np.float32)
    if dtype.is_numeric():
        return _float(column.cast(pl.Float64), np.float64)
    return None


def _type(name: str) -> dict[str, str]:
    return {"type": name}


def _whole(column: pl.Series) -> tuple[dict[str, Any], npt.NDArray[Any]]:
    """Whole numbers: 32 bits if they fit, doubles otherwise. Those that a double would round are categories."""
    low, high = column.min(), column.max()
    if low is not None and high is not None and max(-int(str(low)), int(str(high))) >= _EXACT:
        about, codes = _category(column.cast(pl.String), is_truth=False)
        return about | {"is_whole": True}, codes
    about = {"kind": "number", "is_whole": True, "is_odd": False}
    if column.null_count() == 0 and low is not None and _INT32.min <= int(str(low)) and int(str(high)) <= _INT32.max:
        return about | _type("i4"), column.to_numpy().astype(np.int32)
    return about | _type("f8"), _numbers(column, np.float64)


def _float(column: pl.Series, dtype: type[np.floating[Any]]) -> tuple[dict[str, Any], npt.NDArray[Any]]:
    numbers = _numbers(column, dtype)
    is_finite = np.isfinite(numbers)
    is_odd = int(is_finite.sum()) < column.len() - column.null_count()
    numbers = np.where(is_finite, numbers, np.nan).astype(dtype)
    return {"kind": "number", "is_whole": False, "is_odd": is_odd} | _type("f4" if dtype is np.float32 else "f8"), numbers


def _numbers(column: pl.Series, dtype: type[np.floating[Any]]) -> npt.NDArray[Any]:
    """The values, NaN where there is none."""
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy().astype(dtype)


def _category(column: pl.Series, *, is_truth: bool) -> tuple[dict[str, Any], npt.NDArray[Any]]:
    """Codes: 0 is missing, then the names by number of rows, then all others."""
    counts = column.drop_nulls().alias("name").value_counts().sort(["count", "name"], descending=[True, False])
    kept = counts["name"].head(MAX_CATEGORIES)
    has_others = counts.height > kept.len()
    places = pl.DataFrame({"name": kept, "code": pl.int_range(1, kept.len() + 1, eager=True, dtype=pl.UInt32)})
    codes = pl.DataFrame({"name": column}).join(places, on="name", how="left", maintain_order="left")["code"]
    codes = codes.fill_null(kept.len() + 1) if has_others else codes.fill_null(0)
    codes = pl.select(pl.when(column.is_null()).then(0).otherwise(codes).cast(pl.UInt32)).to_series()
    names = [name if len(name) <= MAX_TEXT else f"{name[:MAX_TEXT]}…" for name in kept]
    about = {
        "kind": "category",
        "categories": names,
        "cut": [place for place, name in enumerate(kept, 1) if len(name) > MAX_TEXT],
        "others": counts.height - kept.len(),
        "is_truth": is_truth,
    }
    width = kept.len() + 1 + has_others
    kind: tuple[str, type[np.unsignedinteger[Any]]] = ("u1", np.uint8) if width <= 256 else ("u2", np.uint16)
    return about | _type(kind[0]), codes.to_numpy().astype(kind[1])
