"""Reads HDF5, in the process of `apart.py`: datasets at a file's root as columns, in slices. No link is followed."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from pipeline_assets.versioning.formats import incoming
from pipeline_assets.versioning.formats.bounds import Refused, require
from pipeline_assets.versioning.formats.column_types import from_plain, type_of
from pipeline_assets.versioning.formats.incoming import Rejected

MASKS, TYPE, ORDER = "masks", "darkroom_type", "darkroom_columns"
_FILTERS = {1, 2, 3, 4, 5, 6, 32_000}
"""Filters of HDF5 and h5py: deflate, shuffle, fletcher32, szip, nbit, scale-offset, lzf. Others load libraries."""
_ESCAPED = re.compile("%(25|2E|2F)")
MAX_CHUNK_BYTES = REPEATED_BYTES = 256 * 1024**2


def frames(path: Path) -> Iterator[pl.DataFrame | Rejected]:
    """The rows of one file, or a rejection. A row with unreadable values is rejected alone."""
    rows = start = 0
    try:
        with h5py.File(path, "r", locking=False) as file:
            columns = _in_order(_columns(file), file.attrs.get(ORDER))
            masks = _columns(file[MASKS]) if file.get(MASKS, getclass=True) is h5py.Group else {}
            rows = _length(columns, masks)
            step = incoming.rows_a_batch(max(_row_bytes(columns), path.stat().st_size // max(rows, 1)))
            for start in range(0, rows, step):
                yield from _part(path.name, columns, masks, (start, min(start + step, rows)))
    except Refused as fault:
        yield Rejected(path.name, fault.reason, str(fault))
    except (OSError, RuntimeError, ValueError, TypeError, KeyError, PolarsError) as error:
        yield Rejected(path.name, "unreadable", f"row {start:,} and all after it: {error}", max(rows - start, 1))


def _part(
    shard: str, columns: dict[str, Any], masks: dict[str, Any], rows: tuple[int, int]
) -> Iterator[pl.DataFrame | Rejected]:
    first, end = rows

    def frame(start: int, stop: int) -> pl.DataFrame:
        part = slice(first + start, first + stop)
        return pl.DataFrame({name: _column(name, data, masks.get(name), part) for name, data in columns.items()})

    for item in incoming.frames_around(end - first, frame, (ValueError, PolarsError)):
        if isinstance(item, incoming.Misfit):
            yield Rejected(f"{shard}: row {first + item.row:,}", "schema", str(item.error))
        else:
            yield item


def _columns(group: Any) -> dict[str, Any]:
    """Datasets by column. Groups are ignored; links raise Refused."""
    datasets = {}
    for link in group:
        if not isinstance(group.get(link, getlink=True), h5py.HardLink):
            raise Refused("link", f"{link!r} is a link to another place or file, and no link is followed")
        if group.get(link, getclass=True) is h5py.Dataset:
            datasets[_plain(link)] = _checked(link, group[link])
    if len(datasets) > incoming.MAX_COLUMNS:
        raise Refused("too_large", f"{len(datasets):,} columns")
    return datasets


def _in_order(columns: dict[str, Any], order: Any) -> dict[str, Any]:
    """Columns in the order of the export, else by name, since links are unordered."""
    is_told = isinstance(order, np.ndarray) and order.dtype.kind == "O"
    places = {_plain(name): n for n, name in enumerate(order)} if is_told else {}
    return dict(sorted(columns.items(), key=lambda item: places.get(item[0], len(places))))


def _checked(name: str, data: Any) -> Any:
    if data.external or data.is_virtual:
        raise Refused("external", f"the bytes of {name!r} lie in other files")
    pipeline = data.id.get_create_plist()
    filters = {pipeline.get_filter(number)[0] for number in range(pipeline.get_nfilters())}
    if not filters <= _FILTERS:
        raise Refused("unsupported", f"{name!r} is packed by a filter that HDF5 would load as code: {filters - _FILTERS}")
    kind = _kind(data.dtype)
    if kind is None or not 1 <= data.ndim <= 2 or (data.ndim == 2 and kind != "numbers"):
        raise Refused("unsupported", f"{name!r} has the type {data.dtype} in {data.ndim} dimensions")
    claimed, stored = data.size * data.dtype.itemsize, data.id.get_storage_size()
    chunk = int(np.prod(data.chunks or (0,))) * data.dtype.itemsize
    is_mask = data.parent.name == f"/{MASKS}"
    if chunk > MAX_CHUNK_BYTES:
        raise Refused("too_large", f"{name!r} has chunks of {chunk:,} bytes")
    if not is_mask:
        require(repr(name), stored, claimed)
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
        raise Refused("schema", f"its datasets are no columns of one length: {sorted(lengths)[:5]}")
    return int(lengths.pop())


def _row_bytes(columns: dict[str, Any]) -> int:
    return sum(int(np.prod(data.shape[1:])) * data.dtype.itemsize for data in columns.values())


def _column(name: str, data: Any, mask: Any, part: slice) -> pl.Series:
    dtype = _declared_type(data)
    kind = _kind(data.dtype)
    values: Any = data[part] if kind == "numbers" else _cells(data, part, kind)
    if kind == "text":
        column = pl.Series(name, values, pl.String)
    elif kind == "lists":
        column = _lists(name, values, data.dtype, dtype)
    elif data.ndim == 2:
        column = pl.Series(name, np.ascontiguousarray(values)).cast(pl.List(pl.Series(values[:0, 0]).dtype))
    else:
        column = pl.Series(name, np.ascontiguousarray(values))
    if mask is not None:
        column = pl.select(pl.when(pl.Series(~mask[part])).then(column)).to_series().alias(name)
    return column if dtype is None else from_plain(column, dtype)


def _cells(data: Any, part: slice, kind: str | None) -> list[Any]:
    """Variable-length values, a few at a time: many rows may name the same bytes of the file."""
    source = data.asstr() if kind == "text" else data
    size = data.file.id.get_filesize()
    step = max(16, REPEATED_BYTES // 8 // max(size, 1))
    cells: list[Any] = []
    size_read = 0
    for start in range(part.start, part.stop, step):
        some = list(source[start : min(start + step, part.stop)])
        size_read += sum(map(len, some))
        if size_read > max(REPEATED_BYTES, size):
            raise Refused("too_large", f"the rows of {data.name!r} name the same bytes again and again")
        cells += some
    return cells


def _lists(name: str, values: Any, stored_dtype: Any, dtype: pl.DataType | None) -> pl.Series:
    inner = h5py.check_vlen_dtype(stored_dtype)
    if h5py.check_string_dtype(inner) is not None:
        return pl.Series(name, [[_text(item) for item in items] for items in values], pl.List(pl.String))
    if np.dtype(inner) == np.uint8 and (dtype is None or dtype == pl.Binary):
        return pl.Series(name, [items.tobytes() for items in values], pl.Binary)
    return pl.Series(name, [items.tolist() for items in values], pl.List(pl.Series(np.empty(0, inner)).dtype))


def _text(item: Any) -> str:
    return item.decode() if isinstance(item, bytes) else str(item)


def _declared_type(data: Any) -> pl.DataType | None:
    text = data.attrs.get(TYPE)
    return type_of(text) if isinstance(text, str) else None


def escaped(name: str) -> str:
    """A column's name as a link's name, which can't be empty or contain `/`."""
    if not name:
        return "%"
    return name.replace("%", "%25").replace("/", "%2F").replace(".", "%2E")


def _plain(link: str) -> str:
    """The inverse of `escaped`, also for links of other tools."""
    return "" if link == "%" else _ESCAPED.sub(lambda match: chr(int(match[1], 16)), link)
