"""Parquet: columns with their types, nulls and lists as they are; `bytes` as a binary column where it is asked for."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_assets.versioning.contents import Pinned
from pipeline_assets.versioning.formats import incoming
from pipeline_assets.versioning.formats.incoming import Batch, Reading, Rejected
from pipeline_assets.versioning.formats.records import Asked
from pipeline_assets.versioning.formats.shards import Exported, Target, Tell, export_shards
from resources.spool import to_arrow

MAX_ROW_GROUP_BYTES = 4 * 1024**3
"""Unpacked, as the file tells. A row group is read a batch at a time, but its pages are unpacked whole."""
MAX_RATIO = 1_000
"""A row group that grows more than so many times when it is unpacked, beyond 64 MB, is a bomb."""


class ParquetShard:
    """A Parquet file, a row group a batch."""

    def __init__(self, path: Path, schema: pl.Schema) -> None:
        self._writer = pq.ParquetWriter(path, to_arrow(pl.DataFrame(schema=schema)).schema, compression="zstd")

    def write(self, rows: pl.DataFrame) -> None:
        """Add a row group."""
        self._writer.write_table(to_arrow(rows))

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()


def export(pinned: Pinned, target: Target, asked: Asked, tell: Tell) -> Exported:
    """Write NAME-00000.parquet and so on."""
    return export_shards(pinned, target, asked, tell, kind="parquet", name="{:05}.parquet", open_shard=ParquetShard)


def batches(source: Path, asked: Reading) -> Iterator[Batch | Rejected]:
    """The rows of a Parquet file, or of all that a folder has. A file that is damaged is rejected from there on."""
    for path in incoming.shards(source, (".parquet", ".pq")):
        try:
            with pq.ParquetFile(path) as file:
                fault = _fault(file.metadata)
                if fault:
                    yield Rejected(path.name, "too_large", fault)
                    continue
                groups = [file.metadata.row_group(n) for n in range(file.num_row_groups)]
                row_bytes = max((group.total_byte_size // max(group.num_rows, 1) for group in groups), default=0)
                for batch in file.iter_batches(batch_size=incoming.rows_a_batch(row_bytes)):
                    yield from incoming.batches_of(path.name, frame(batch), asked)
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
            yield Rejected(path.name, "unreadable", str(error))


def frame(batch: pa.RecordBatch) -> pl.DataFrame:
    """A record batch in polars. Raises ArrowException for values that break the rules of their type."""
    batch.validate(full=True)
    found = pl.from_arrow(batch)
    assert isinstance(found, pl.DataFrame)  # noqa: S101  a record batch never becomes a series
    return found


def _fault(facts: pq.FileMetaData) -> str | None:
    groups: Sequence[pq.RowGroupMetaData] = [facts.row_group(n) for n in range(facts.num_row_groups)]
    for group in groups:
        packed = sum(group.column(n).total_compressed_size for n in range(group.num_columns))
        unpacked = group.total_byte_size
        if unpacked > MAX_ROW_GROUP_BYTES or unpacked > 64 * 1024**2 + MAX_RATIO * packed:
            return f"a row group would unpack from {packed:,} to {unpacked:,} bytes"
    return None
