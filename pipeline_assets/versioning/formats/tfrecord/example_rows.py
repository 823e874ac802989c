"""Examples as frames: with the types that an export wrote down, or with those that the first examples show."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from pipeline_assets.versioning.formats import incoming
from pipeline_assets.versioning.formats.bounds import Refused
from pipeline_assets.versioning.formats.column_types import from_plain
from pipeline_assets.versioning.formats.incoming import Rejected
from pipeline_assets.versioning.formats.tfrecord import example
from pipeline_assets.versioning.formats.tfrecord.example import BYTES, FLOATS, BadExample, Feature

Row = dict[str, Feature]
FREE_CELLS, CELLS_A_BYTE = 2**20, 16
"""A batch's cells, with those of features that records lack: so many, and so many for each byte of its records."""
_MISFITS = (PolarsError, UnicodeDecodeError, OverflowError)
_INNER: dict[int, pl.DataType] = {FLOATS: pl.Float32(), example.INTEGERS: pl.Int64()}


class Examples:
    """Decodes records to frames of one schema. schema: None to learn it from the first batch."""

    def __init__(self, schema: pl.Schema | None) -> None:
        self._schema = schema

    def frames(self, source: str, records: Iterable[tuple[int, bytes] | Rejected]) -> Iterator[pl.DataFrame | Rejected]:
        """Batches of rows, and what had to be kept aside: damaged records, and those of other features than the rest."""
        held: list[tuple[int, Row]] = []
        size = 0
        for record in records:
            if isinstance(record, Rejected):
                yield record
                continue
            at, data = record
            try:
                row = example.decode(data)
                if any("\0" in name for name in row):
                    raise BadExample("the name of a feature has the character NUL, which no column has")
                held.append((at, row))
            except BadExample as error:
                yield Rejected(f"{source}@{at}", "bad_example", str(error))
                continue
            size += len(data)
            if len(held) >= incoming.BATCH_ROWS or size > incoming.BATCH_BYTES:
                yield from self._frame(source, held, size)
                held, size = [], 0
        if held:
            yield from self._frame(source, held, size)

    def _frame(self, source: str, rows: Sequence[tuple[int, Row]], size: int) -> Iterator[pl.DataFrame | Rejected]:
        schema = self._schema or _learnt([row for _, row in rows])
        if len(rows) * len(schema) > FREE_CELLS + CELLS_A_BYTE * size:
            raise Refused("too_large", f"{len(rows):,} records of {size:,} bytes would be {len(schema):,} columns")
        self._schema = schema
        good: list[tuple[int, Row]] = []
        for at, row in rows:
            fault = _fault(row, schema)
            if fault:
                yield Rejected(f"{source}@{at}", "schema", fault)
            else:
                good.append((at, row))

        def frame(start: int, end: int) -> pl.DataFrame:
            part = [row for _, row in good[start:end]]
            return pl.DataFrame(
                {name: _column(name, dtype, [row.get(name) for row in part]) for name, dtype in schema.items()}
            )

        for found in incoming.frames_around(len(good), frame, _MISFITS):
            if isinstance(found, incoming.Misfit):
                yield Rejected(f"{source}@{good[found.row][0]}", "schema", f"a value does not fit its type: {found.error}")
            else:
                yield found


def _learnt(rows: Sequence[Row]) -> pl.Schema:
    """A column a feature, by name; a list where any row has more than one value; text where all bytes are text."""
    found: dict[str, pl.DataType] = {}
    names = sorted({name for row in rows for name in row})
    if len(names) > incoming.MAX_COLUMNS:
        raise Refused("too_large", f"{len(names):,} features")
    for name in names:
        features = [row[name] for row in rows if name in row]
        kind = Counter(kind for kind, _ in features).most_common(1)[0][0]
        same = [values for other, values in features if other == kind]
        inner = _INNER.get(kind) or (
            pl.String() if all(_is_text(value) for values in same for value in values) else pl.Binary()
        )
        found[name] = pl.List(inner) if any(len(values) > 1 for values in same) else inner
    return pl.Schema(found)


def _is_text(value: bytes) -> bool:
    try:
        return all(character.isprintable() or character in "\t\r\n" for character in value.decode())
    except UnicodeDecodeError:
        return False


def _fault(row: Row, schema: pl.Schema) -> str | None:
    for name, (kind, values) in row.items():
        dtype = schema.get(name)
        if dtype is None:
            return f"{name!r} is no feature of the first records"
        inner = dtype.inner if isinstance(dtype, pl.List) else dtype
        if kind != _kind(inner) or (inner is dtype and len(values) > 1):  # type: ignore[arg-type]
            return f"{name!r} has {len(values)} values of another kind or number than {dtype}"
    return None


def _kind(dtype: pl.DataType) -> int:
    return BYTES if dtype in (pl.String, pl.Binary) else FLOATS if dtype.is_float() else example.INTEGERS


def _column(name: str, dtype: pl.DataType, cells: Sequence[Feature | None]) -> pl.Series:
    is_list = isinstance(dtype, pl.List)
    inner = dtype.inner if isinstance(dtype, pl.List) else dtype
    if inner in (pl.String, pl.Binary):
        read = bytes.decode if inner == pl.String else bytes
        texts = [None if cell is None else [read(value) for value in cell[1]] for cell in cells]
        return pl.Series(name, texts if is_list else [text[0] if text else None for text in texts], dtype)
    arrays = [None if cell is None else np.asarray(cell[1]) for cell in cells]
    stored = _INNER[_kind(inner)]  # type: ignore[arg-type]
    if inner == pl.UInt64:  # protobuf's int64 has the same 64 bits
        arrays, stored = [None if array is None else array.view(np.uint64) for array in arrays], pl.UInt64()
    if is_list:
        lists = [None if array is None else array.tolist() for array in arrays]
        return pl.Series(name, lists, pl.List(stored)).cast(dtype)
    numbers = [array[0].item() if array is not None and len(array) else None for array in arrays]
    return from_plain(pl.Series(name, numbers, stored), dtype)
