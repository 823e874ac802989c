"""Reading HDF5: datasets at a file's root as columns, in slices. Links are never followed, nor bytes outside the file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from pipeline_assets.versioning.formats import incoming
from pipeline_assets.versioning.formats.column_types import from_plain, type_of
from pipeline_assets.versioning.formats.incoming import Batch, Reading, Rejected

MASKS, TYPE, ORDER = "masks", "darkroom_type", "darkroom_columns"
MAX_COLUMNS = 10_000
MAX_CHUNK_BYTES = 256 * 1024**2
MAX_RATIO = 1_100
"""Deflate can't do more. What claims to is a bomb, or has chunks that were never written."""


class Unreadable(Exception):
    """A file that is not read, with its reason."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def batches(path: Path, asked: Reading) -> Iterator[Batch | Rejected]:
    """The rows of one file, or why it is rejected."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            columns = _in_order(_columns(file), file.attrs.get(ORDER))
            masks = _columns(file[MASKS]) if file.get(MASKS, getclass=True) is h5py.Group else {}
            rows = _length(columns, masks)
            step = incoming.rows_a_batch(max(_row_bytes(columns), path.stat().st_size // max(rows, 1)))
            for start in range(0, rows, step):
                part = slice(start, min(start + step, rows))
                frame = pl.DataFrame([_column(name, data, masks.get(name), part) for name, data in columns.items()])
                yield from incoming.batches_of(path.name, frame, asked)
    except Unreadable as fault:
        yield Rejected(path.name, fault.reason, str(fault))
    except (OSError, RuntimeError, ValueError, TypeError, KeyError, PolarsError) as error:
        yield Rejected(path.name, "unreadable", str(error))


def _columns(group: Any) -> dict[str, Any]:
    """Datasets by column. Groups are left, but for masks; a link to anything else is refused."""
    found = {}
    for link in group:
        if not isinstance(group.get(link, getlink=True), h5py.HardLink):
            raise Unreadable("link", f"{link!r} is a link to another place or file, and no link is followed")
        if group.get(link, getclass=True) is h5py.Dataset:
            found[_plain(link)] = _checked(link, group[link])
    if len(found) > MAX_COLUMNS:
        raise Unreadable("too_large", f"{len(found):,} columns")
    return found


def _in_order(columns: dict[str, Any], told: Any) -> dict[str, Any]:
    """Columns as an export had them, else by name: links have no order of their own."""
    places = {name: n for n, name in enumerate(told)} if isinstance(told, np.ndarray) and told.dtype.kind == "O" else {}
    return dict(sorted(columns.items(), key=lambda item: places.get(item[0], len(places))))


def _checked(name: str, data: Any) -> Any:
    if data.external or data.is_virtual:
        raise Unreadable("external", f"the bytes of {name!r} lie in other files")
    kind = _kind(data.dtype)
    if kind is None or not 1 <= data.ndim <= 2 or (data.ndim == 2 and kind != "numbers"):
        raise Unreadable("unsupported", f"{name!r} has the type {data.dtype} in {data.ndim} dimensions")
    claimed, stored = data.size * data.dtype.itemsize, data.id.get_storage_size()
    chunk = int(np.prod(data.chunks or (0,))) * data.dtype.itemsize
    is_mask = data.parent.name == f"/{MASKS}"
    if chunk > MAX_CHUNK_BYTES or (not is_mask and claimed > 1024**2 + MAX_RATIO * stored):
        raise Unreadable("too_large", f"{name!r} claims {claimed:,} bytes, of which {stored:,} are stored")
    return data


def _kind(dtype: Any) -> str | None:
    inner = h5py.check_vlen_dtype(dtype)
    if h5py.check_string_dtype(dtype) is not None:
        return "text"
    if inner is not None:
        nested = h5py.check_string_dtype(inner) is not None or np.dtype(inner).kind in "iuf"
        return "lists" if nested else None
    return "numbers" if dtype.kind in "iufb" else None


def _length(columns: dict[str, Any], masks: dict[str, Any]) -> int:
    lengths = {data.shape[0] for data in (*columns.values(), *masks.values())}
    if not columns or len(lengths) != 1:
        raise Unreadable("schema", f"its datasets are no columns of one length: {sorted(lengths)[:5]}")
    return int(lengths.pop())


def _row_bytes(columns: dict[str, Any]) -> int:
    return sum(int(np.prod(data.shape[1:])) * data.dtype.itemsize for data in columns.values())


def _column(name: str, data: Any, mask: Any, part: slice) -> pl.Series:
    dtype = _described(data)
    kind = _kind(data.dtype)
    values = data.asstr()[part] if kind == "text" else data[part]
    if kind == "text":
        column = pl.Series(name, list(values), pl.String)
    elif kind == "lists":
        column = _lists(name, values, data.dtype, dtype)
    elif data.ndim == 2:
        column = pl.Series(name, np.ascontiguousarray(values)).cast(pl.List(pl.Series(values[:0, 0]).dtype))
    else:
        column = pl.Series(name, np.ascontiguousarray(values))
    if mask is not None:
        column = pl.select(pl.when(pl.Series(~mask[part])).then(column)).to_series().alias(name)
    return column if dtype is None else from_plain(column, dtype)


def _lists(name: str, values: Any, stored: Any, dtype: pl.DataType | None) -> pl.Series:
    inner = h5py.check_vlen_dtype(stored)
    if h5py.check_string_dtype(inner) is not None:
        return pl.Series(name, [[_text(item) for item in items] for items in values], pl.List(pl.String))
    if np.dtype(inner) == np.uint8 and (dtype is None or dtype == pl.Binary):
        return pl.Series(name, [items.tobytes() for items in values], pl.Binary)
    return pl.Series(name, [items.tolist() for items in values], pl.List(pl.Series(np.empty(0, inner)).dtype))


def _text(item: Any) -> str:
    return item.decode() if isinstance(item, bytes) else str(item)


def _described(data: Any) -> pl.DataType | None:
    told = data.attrs.get(TYPE)
    return type_of(told) if isinstance(told, str) else None


def _plain(link: str) -> str:
    return link.replace("%2E", ".").replace("%2F", "/").replace("%25", "%")
