"""Bounds on memory and disk for files of other tools: the same for all formats, whatever a file claims.

Readers check a file's claims before they unpack it, and count what they really unpack.
"""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa

from pipeline_assets.versioning.formats.incoming import Batch, Rejected

FREE_BYTES = 64 * 1024**2
MAX_RATIO = 1_100
"""The largest ratio of deflate. A larger one, beyond FREE_BYTES, is a bomb."""
FREE_AT_ONCE_BYTES, MAX_AT_ONCE_BYTES = 1024**3, 4 * 1024**3
"""Limits of a part that a library unpacks whole (record batch, row group): above the first only in large files."""
_UNSUPPORTED = (
    pa.types.is_union,
    pa.types.is_run_end_encoded,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
    pa.types.is_decimal256,
    pa.types.is_interval,
)
"""Types that polars does not have; some make it panic."""


class Refused(Exception):
    """A file, or the rest of it, is rejected. reason: a short machine name."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def require(what: str, packed: int, unpacked: int, in_one_piece: int = 0) -> None:
    """Raise Refused for a bomb. packed: bytes in the file; unpacked: bytes in memory; in_one_piece: their largest part."""
    most_at_once = min(MAX_AT_ONCE_BYTES, max(FREE_AT_ONCE_BYTES, 100 * packed))
    if unpacked > FREE_BYTES + MAX_RATIO * packed or in_one_piece > most_at_once:
        raise Refused("too_large", f"{what} would unpack from {packed:,} to {unpacked:,} bytes")


def within_bounds(path: Path, items: Iterator[Batch | Rejected]) -> Iterator[Batch | Rejected]:
    """A reader's items of one file, until they exceed what the file can hold; then a rejection of the rest."""
    packed, unpacked = path.stat().st_size, 0
    try:
        for item in items:
            if isinstance(item, Batch):
                unpacked += size_of(item.rows) + sum(len(file.data) for file in item.files or ())
                require("it", packed, unpacked)
            yield item
    except Refused as refused:
        yield Rejected(path.name, refused.reason, f"{refused}; the rest of it is not read")


def size_of(frame: pl.DataFrame) -> int:
    """Approximate bytes of the rows, counting each value: views and categories may share values."""
    return sum(map(_size_of, frame))


def _size_of(column: pl.Series) -> int:
    dtype = column.dtype
    if isinstance(dtype, pl.Categorical | pl.Enum):
        counts = column.alias("text").drop_nulls().value_counts(name="rows")
        return 8 * len(column) + int((counts["text"].cast(pl.String).str.len_bytes() * counts["rows"]).sum())
    if dtype == pl.String:
        return 8 * len(column) + int(column.str.len_bytes().sum() or 0)
    if dtype == pl.Binary:
        return 8 * len(column) + int(column.bin.size().sum() or 0)
    if isinstance(dtype, pl.List):
        return 8 * len(column) + _size_of(column.explode(empty_as_null=False, keep_nulls=False))
    if isinstance(dtype, pl.Struct):
        return len(column) + sum(_size_of(column.struct.field(field.name)) for field in dtype.fields)
    return max(int(column.estimated_size()), len(column))


def unsupported(schema: pa.Schema) -> str | None:
    """Why these column types can't be read, naming the first unsupported one; None if all can.

    Raises UnicodeDecodeError for a name that is no text.
    """
    for field in schema:
        if (kind := _unsupported(field.type)) is not None:  # a struct of no fields counts as false
            return f"the column {field.name[:100]!r} has the type {str(kind)[:200]}, which no table here holds"
    return None


def _unsupported(kind: pa.DataType) -> pa.DataType | None:
    """The part of a type that is not supported."""
    if isinstance(kind, pa.BaseExtensionType):
        return _unsupported(kind.storage_type)
    if any(is_one(kind) for is_one in _UNSUPPORTED) or (pa.types.is_struct(kind) and not kind.num_fields):
        return kind
    if pa.types.is_dictionary(kind):
        return _unsupported(kind.value_type)
    if pa.types.is_fixed_size_list(kind) and pa.types.is_null(kind.value_type):  # any number of them in no bytes
        return kind
    fields = [kind.field(number) for number in range(kind.num_fields)]
    for field in fields:
        str(field.name)  # raises for a name that is no text, at which polars panics
    return next((part for field in fields if (part := _unsupported(field.type)) is not None), None)
