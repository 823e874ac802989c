"""Digests of frames and of code: same rows, same digest, whatever their order, host or Parquet encoding."""

import hashlib
import inspect
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl

DIGEST_VERSION = "rows-1"
"""Names the canonical layout below: a change of it changes every digest."""


def rows_digest(frame: pl.DataFrame, key: Sequence[str], exclude: Sequence[str] = ()) -> str:
    """SHA-256 over the rows in order of `key`, columns by name; 64 hex digits.

    Hashed are names, types, null masks and values as little-endian bytes, so that chunking, dictionary encoding and row
    order leave no trace. Rows that agree in `key` must agree in all columns, or their order would count.
    """
    columns = sorted(set(frame.columns) - set(exclude))
    ordered = frame.select(columns).sort([name for name in key if name in columns], nulls_last=True)
    state = hashlib.sha256(f"{DIGEST_VERSION}:{ordered.height}".encode())
    for name in columns:
        state.update(f"|{name}:{ordered.schema[name]}|".encode())
        _feed(state, ordered[name])
    return state.hexdigest()


def condense(frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """The frame with each value of these columns (lists of numbers, none null) replaced by 32 hex digits for it.

    What is left is small enough to hold, sort and compare where the lists are not. Equal lists, equal digits.
    """
    return frame.with_columns(pl.Series(name, _fingerprints(frame[name]), dtype=pl.String) for name in columns)


def _fingerprints(lists: pl.Series) -> list[str | None]:
    lengths = lists.list.len().fill_null(0).to_numpy().astype(np.int64)
    ends = np.cumsum(lengths)
    values = _canonical(lists.filter(lengths > 0).explode()) if lengths.any() else np.empty(0, np.int8)
    plain, width = values.tobytes(), values.itemsize
    return [
        None if null else hashlib.blake2b(plain[start * width : end * width], digest_size=16).hexdigest()
        for start, end, null in zip((ends - lengths).tolist(), ends.tolist(), lists.is_null(), strict=True)
    ]


def _canonical(column: pl.Series) -> Any:
    """Numbers as a little-endian array in which nulls are zeros, and there is one NaN and one zero."""
    values = column.fill_null(0).to_numpy()
    if column.dtype.is_float():
        values = np.where(np.isnan(values), np.array(np.nan, values.dtype), values) + 0.0
    return np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<")))


def _feed(state: Any, column: pl.Series) -> None:
    nulls = column.is_null()
    state.update(b"nulls" + np.packbits(nulls.to_numpy()).tobytes() if nulls.any() else b"whole")
    if isinstance(column.dtype, pl.List):
        lengths = column.list.len().fill_null(0)
        state.update(lengths.to_numpy().astype("<u4").tobytes())
        _feed(state, column.filter(lengths > 0).explode() if len(column) else pl.Series([], dtype=column.dtype.inner))
    elif column.dtype == pl.String:
        state.update(column.str.len_bytes().fill_null(0).to_numpy().astype("<u4").tobytes())
        state.update("".join(column.fill_null("").to_list()).encode())
    elif column.dtype.is_temporal():
        state.update(column.to_physical().cast(pl.Int64).fill_null(0).to_numpy().astype("<i8").tobytes())
    elif column.dtype == pl.Boolean:
        state.update(np.packbits(column.fill_null(value=False).to_numpy()).tobytes())
    elif column.dtype.is_integer() or column.dtype.is_float():
        state.update(_canonical(column).tobytes())
    else:
        raise TypeError(f"no canonical bytes are defined for the type {column.dtype} (column {column.name})")


def code_digest(parts: Sequence[ModuleType | Path | Any | str]) -> str:
    """12 hex digits over the source of modules, functions and files, and over plain strings (a model's digest, a setting).

    A file stands for a module that is too slow to import just for its digest.
    """
    state = hashlib.sha256()
    for part in parts:
        source = part if isinstance(part, str) else part.read_text() if isinstance(part, Path) else inspect.getsource(part)
        state.update(source.encode() + b"\0")
    return state.hexdigest()[:12]
