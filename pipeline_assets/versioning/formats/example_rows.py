"""Examples as frames: with the types that an export wrote down, or with those that the first examples show."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from pipeline_assets.versioning.formats import example, incoming
from pipeline_assets.versioning.formats.column_types import from_plain
from pipeline_assets.versioning.formats.example import BYTES, FLOATS, BadExample, Feature
from pipeline_assets.versioning.formats.incoming import Rejected

Row = dict[str, Feature]
_INNER = {FLOATS: pl.Float32(), example.INTEGERS: pl.Int64()}


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
                held.append((at, example.decode(data)))
            except BadExample as error:
                yield Rejected(f"{source}@{at}", "bad_example", str(error))
                continue
            size += len(data)
            if len(held) >= incoming.BATCH_ROWS or size > incoming.BATCH_BYTES:
                yield from self._frame(source, held)
                held, size = [], 0
        if held:
            yield from self._frame(source, held)

    def _frame(self, source: str, rows: Sequence[tuple[int, Row]]) -> Iterator[pl.DataFrame | Rejected]:
        schema = self._schema = self._schema or _learnt([row for _, row in rows])
        good: list[Row] = []
        for at, row in rows:
            fault = _fault(row, schema)
            if fault:
                yield Rejected(f"{source}@{at}", "schema", fault)
            else:
                good.append(row)
        try:
            yield pl.DataFrame([_column(name, dtype, [row.get(name) for row in good]) for name, dtype in schema.items()])
        except (PolarsError, UnicodeDecodeError, OverflowError) as error:
            yield Rejected(f"{source}@{rows[0][0]}", "schema", f"{len(rows)} records do not fit their types: {error}")


def _learnt(rows: Sequence[Row]) -> pl.Schema:
    """A column a feature, by name; a list where any row has more than one value; text where all bytes are text."""
    found: dict[str, pl.DataType] = {}
    for name in sorted({name for row in rows for name in row}):
        features = [row[name] for row in rows if name in row]
        kind = features[0][0]
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
    if is_list:
        lists = [None if cell is None else np.asarray(cell[1]).tolist() for cell in cells]
        return pl.Series(name, lists, pl.List(_INNER[_kind(inner)])).cast(dtype)  # type: ignore[arg-type]
    numbers = [cell[1][0].item() if cell is not None and len(cell[1]) else None for cell in cells]  # type: ignore[union-attr]
    return from_plain(pl.Series(name, numbers, _INNER[_kind(dtype)]), dtype)
