"""Digests of frames and of code. Equal rows have equal digests, whatever their order, host or Parquet encoding."""

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl

DIGEST_VERSION = "rows-1"
"""The version of the canonical layout below: a change of it changes every digest."""


def rows_digest(frame: pl.DataFrame, key: Sequence[str], exclude: Sequence[str] = ()) -> str:
    """SHA-256 over the rows in order of `key`, columns in order of name; 64 hex digits.

    It covers names, types, null masks and values as little-endian bytes; chunking, dictionary encoding and row order have
    no effect. Rows with the same `key` must be equal in all columns, otherwise their order counts.
    """
    columns = sorted(set(frame.columns) - set(exclude))
    if frame.is_empty():
        return _digest_of_no_rows(tuple((name, frame.schema[name]) for name in columns))
    return _digest(frame.select(columns).sort([name for name in key if name in columns], nulls_last=True))


@cache
def _digest_of_no_rows(schema: tuple[tuple[str, pl.DataType], ...]) -> str:
    """A table has it for each day on which nothing happened."""
    return _digest(pl.DataFrame(schema=dict(schema)))


def _digest(ordered: pl.DataFrame) -> str:
    state = hashlib.sha256(f"{DIGEST_VERSION}:{ordered.height}".encode())
    for name, dtype in ordered.schema.items():
        state.update(f"|{name}:{dtype}|".encode())
        _feed(state, ordered[name])
    return state.hexdigest()


def condense(frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """The frame with each list in these columns (of numbers, none null) replaced by a hash of 32 hex digits.

    The result is small enough to keep, sort and compare in memory. Equal lists have equal hashes.
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
    """Numbers as a little-endian array: nulls become 0, all NaNs are one, and -0 becomes 0. What takes no 0 is refused."""
    is_number = column.dtype.is_integer() or column.dtype.is_float()
    values = (_filled(column, 0) if is_number else column.fill_null(0)).to_numpy()
    if column.dtype.is_float():
        values = np.where(np.isnan(values), np.array(np.nan, values.dtype), values) + 0.0
    return np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<")))


def _filled(column: pl.Series, value: Any) -> pl.Series:
    """Without nulls. Polars plans a query for each call of `fill_null`: a column without nulls saves that."""
    return column.fill_null(value) if column.null_count() else column


def _feed(state: Any, column: pl.Series) -> None:
    state.update(b"nulls" + np.packbits(column.is_null().to_numpy()).tobytes() if column.null_count() else b"whole")
    if isinstance(column.dtype, pl.List):
        lengths = _filled(column.list.len(), 0)
        state.update(lengths.to_numpy().astype("<u4").tobytes())
        _feed(state, column.filter(lengths > 0).explode() if len(column) else pl.Series([], dtype=column.dtype.inner))
    elif column.dtype == pl.String:
        filled = _filled(column, "")
        state.update(filled.str.len_bytes().to_numpy().astype("<u4").tobytes())
        state.update("".join(filled.to_list()).encode())
    elif column.dtype.is_temporal():
        state.update(_filled(column.to_physical().cast(pl.Int64), 0).to_numpy().astype("<i8").tobytes())
    elif column.dtype == pl.Boolean:
        state.update(np.packbits(_filled(column, value=False).to_numpy()).tobytes())
    elif column.dtype.is_integer() or column.dtype.is_float():
        state.update(_canonical(column).tobytes())
    else:
        raise TypeError(f"no canonical bytes are defined for the type {column.dtype} (column {column.name})")


def code_digest(parts: Sequence[ModuleType | Path | Any | str]) -> str:
    """12 hex digits over the code of modules, functions and files, and over plain strings (a model's digest, a setting).

    Python code is digested as its syntax tree without imports, comments and docstrings: moving and documenting code changes
    nothing. A file is a module that is too slow to import for its digest, or code of another language, digested as text.
    """
    state = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            source = part
        elif isinstance(part, Path):
            source = _tree_of(part.read_text()) if part.suffix == ".py" else part.read_text()
        else:
            source = _tree_of(inspect.getsource(part))
        state.update(source.encode() + b"\0")
    return state.hexdigest()[:12]


@cache
def _tree_of(source: str) -> str:
    """The syntax tree of Python code as text; equal in all versions of Python that parse the code alike."""
    return _node_text(ast.parse(textwrap.dedent(source)))


def _node_text(node: ast.AST) -> str:
    """A node with its non-empty fields; imports and docstrings are left out. Every start of a process has 160,000 nodes."""
    values = node.__dict__
    fields = ((name, values.get(name)) for name in node._fields)
    text = ",".join([f"{name}={_field_text(field)}" for name, field in fields if field is not None and field != []])
    return f"{type(node).__name__}({text})"


def _field_text(field: Any) -> str:
    if isinstance(field, ast.AST):
        return _node_text(field)
    if isinstance(field, list):
        return "[" + ",".join([_field_text(item) for item in field if not _computes_nothing(item)]) + "]"
    return repr(field)


def _computes_nothing(node: Any) -> bool:
    """Whether a statement is an import or a docstring."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return True
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
