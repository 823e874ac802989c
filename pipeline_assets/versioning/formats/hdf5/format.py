"""HDF5: one dataset per column at the file's root, compressed in chunks; `masks/COLUMN` is true where a value is null.

HDF5 has no nulls, dates or times of its own: where a mask is true the value is a filler; dates are days and times are
microseconds since 1970 (UTC where the attribute `darkroom_type` says so). A list column is a matrix if all of a shard's
lists have the same length, else variable-length lists. `apart.py` reads it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline_assets.errors import ExportRefused
from pipeline_assets.versioning.formats import bounds, incoming
from pipeline_assets.versioning.formats.column_types import check_lists, check_types, to_plain, type_name
from pipeline_assets.versioning.formats.hdf5 import apart
from pipeline_assets.versioning.formats.hdf5.reading import MASKS, ORDER, TYPE, escaped
from pipeline_assets.versioning.formats.incoming import Batch, Reading, Rejected
from pipeline_assets.versioning.formats.records import ExportOptions
from pipeline_assets.versioning.formats.shards import Exported, Target, Tell, export_shards
from pipeline_assets.versioning.pin.contents import Pinned

KIND = "HDF5"
CHUNK_ROWS = 1_024


class _Sink:
    """A file for libhdf5 that accepts all writes and keeps the first error, since libhdf5 crashes on one."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b", buffering=0)
        self.error: OSError | None = None
        self.seek, self.tell, self.flush = self._file.seek, self._file.tell, self._file.flush
        self.read, self.readinto, self.truncate = self._file.read, self._file.readinto, self._truncate

    def write(self, data: memoryview) -> int:
        """Write all data, or keep the error."""
        try:
            remaining = memoryview(data)
            while remaining and not self.error:
                remaining = remaining[self._file.write(remaining) :]
        except OSError as error:
            self.error = error
        return len(data)

    def _truncate(self, size: int) -> int:
        try:
            return self._file.truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size

    def check(self) -> None:
        """Raise the first error of a write."""
        if self.error:
            raise self.error

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Hdf5Shard:
    """An HDF5 file whose datasets grow with each batch."""

    def __init__(self, path: Path, schema: pl.Schema) -> None:
        check_types(schema, KIND)
        if MASKS in schema:
            raise ExportRefused(
                f"{KIND} has no place for a column {MASKS}: it holds the null masks. Leave it out (--columns)."
            )
        self._sink = _Sink(path)
        self._file = h5py.File(self._sink, "w", libver=("v110", "v110"))
        self._schema = schema
        self._rows = 0
        self._file.attrs[ORDER] = [escaped(name) for name in schema.names()]
        self._file.attrs["darkroom_null_masks"] = f"/{MASKS}/COLUMN is true where COLUMN has no value"
        for name, dtype in schema.items():
            if not isinstance(dtype, pl.List) or dtype.inner == pl.String:
                self._create(name, _storage(dtype), ())

    def write(self, rows: pl.DataFrame) -> None:
        """Add rows."""
        check_lists(rows, KIND)
        _check_texts(rows)
        end = self._rows + rows.height
        for column in rows:
            nulls = column.is_null()
            if nulls.any():
                self._mask(column.name, nulls.to_numpy(), end)
            if isinstance(column.dtype, pl.List) and column.dtype.inner != pl.String:
                self._lists(column)
            else:
                self._append(column.name, _values(column))
            self._sink.check()
        self._rows = end

    def close(self) -> None:
        """Extend masks to full length, and write the file's end. Raises OSError for a failed write."""
        try:
            for name, dtype in self._schema.items():
                if isinstance(dtype, pl.List) and escaped(name) not in self._file and not self._sink.error:
                    self._create(name, _storage(dtype), ())
            for mask in self._file.get(MASKS, {}).values():
                mask.resize(self._rows, axis=0)
            self._file.close()
        finally:
            self._sink.close()
        self._sink.check()

    def _create(self, name: str, storage: Any, shape: tuple[int, ...]) -> None:
        packed = {"compression": "gzip", "compression_opts": 4, "shuffle": True} if storage.kind != "O" else {}
        data = self._file.create_dataset(
            escaped(name), (0, *shape), storage, maxshape=(None, *shape), chunks=(CHUNK_ROWS, *shape), **packed
        )
        data.attrs[TYPE] = type_name(self._schema[name])

    def _append(self, name: str, values: npt.NDArray[Any]) -> None:
        data = self._file[escaped(name)]
        data.resize(self._rows + len(values), axis=0)
        if h5py.check_vlen_dtype(data.dtype) is not None:
            for at, items in enumerate(values):  # h5py takes several lists of equal length for a matrix
                data[self._rows + at] = items
        elif len(values):
            data[self._rows :] = values

    def _mask(self, name: str, nulls: npt.NDArray[np.bool_], end: int) -> None:
        path = f"{MASKS}/{escaped(name)}"
        if path not in self._file:
            self._file.create_dataset(path, (0,), bool, maxshape=(None,), chunks=(CHUNK_ROWS,), compression="gzip")
        self._file[path].resize(end, axis=0)
        self._file[path][self._rows :] = nulls

    def _lists(self, column: pl.Series) -> None:
        inner = _storage(column.dtype.inner)  # type: ignore[attr-defined]
        lengths = column.list.len().drop_nulls().unique()
        name = escaped(column.name)
        if name not in self._file:
            shape = (int(lengths[0]),) if len(lengths) == 1 and lengths[0] else ()
            self._create(column.name, inner if shape else h5py.vlen_dtype(inner), shape)
        data = self._file[name]
        if data.ndim == 2 and any(length != data.shape[1] for length in lengths):
            data = self._loosen(column.name, inner)
        if data.ndim == 2:
            width = data.shape[1]
            values = np.zeros((len(column), width), inner)
            values[column.is_not_null().to_numpy()] = column.drop_nulls().explode().to_numpy().reshape(-1, width)
            self._append(column.name, values)
        else:
            self._append(column.name, _ragged(column, inner))

    def _loosen(self, name: str, inner: Any) -> Any:
        """Turn a matrix into variable-length lists."""
        matrix = self._file[escaped(name)]
        self._file.move(escaped(name), "%before")
        self._create(name, h5py.vlen_dtype(inner), ())
        data = self._file[escaped(name)]
        data.resize(self._rows, axis=0)
        for start in range(0, self._rows, CHUNK_ROWS):
            for at, row in enumerate(matrix[start : start + CHUNK_ROWS], start):
                data[at] = row
        del self._file["%before"]
        return data


def export(pinned: Pinned, target: Target, options: ExportOptions, tell: Tell) -> Exported:
    """Write NAME-00000.h5 and so on."""
    return export_shards(pinned, target, options, tell, kind="hdf5", name="{:05}.h5", open_shard=Hdf5Shard)


@incoming.with_empty_batch
def batches(source: Path, options: Reading) -> Iterator[Batch | Rejected]:
    """The rows of an HDF5 file, or of all in a folder. An invalid file is rejected."""
    for path in incoming.shards(source, (".h5", ".hdf5")):
        yield from bounds.within_bounds(path, apart.batches(path, options))


def _check_texts(rows: pl.DataFrame) -> None:
    """Raise ExportRefused for text with NUL, at which HDF5's strings end."""
    for column in rows:
        texts = column.explode() if isinstance(column.dtype, pl.List) else column
        if texts.dtype == pl.String and texts.str.contains("\0", literal=True).any():
            raise ExportRefused(
                f"{KIND} ends a text at the character NUL, and the column {column.name} has some: leave it out (--columns), "
                "take its rows out (--where), or export as parquet."
            )


def _storage(dtype: Any) -> Any:
    if isinstance(dtype, pl.List):
        return h5py.vlen_dtype(h5py.string_dtype() if dtype.inner == pl.String else _storage(dtype.inner))
    if dtype == pl.String:
        return h5py.string_dtype()
    if dtype == pl.Binary:
        return h5py.vlen_dtype(np.uint8)
    if dtype == pl.Boolean:
        return np.dtype(bool)
    return pl.Series([], dtype=pl.Int64 if dtype.is_temporal() else dtype).to_numpy().dtype


def _values(column: pl.Series) -> npt.NDArray[Any]:
    if column.dtype == pl.String:
        return _objects(column.fill_null("").to_list())
    if column.dtype == pl.Binary:
        return _objects([np.frombuffer(data or b"", np.uint8) for data in column])
    if isinstance(column.dtype, pl.List):
        text = h5py.string_dtype()
        return _objects([np.array([] if items is None else items.to_list(), text) for items in column])
    if column.dtype == pl.Boolean:
        return column.fill_null(value=False).to_numpy()
    return to_plain(column).fill_null(0).to_numpy()


def _ragged(column: pl.Series, inner: Any) -> npt.NDArray[Any]:
    return _objects([np.empty(0, inner) if items is None else items.to_numpy() for items in column])


def _objects(values: list[Any]) -> npt.NDArray[Any]:
    """A vector of objects, even if all have the same length."""
    array = np.empty(len(values), object)
    for at, value in enumerate(values):
        array[at] = value
    return array
