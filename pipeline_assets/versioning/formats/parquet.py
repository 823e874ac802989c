"""Parquet: columns with their types, nulls and lists as they are; `bytes` as a binary column if requested."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from polars.exceptions import PanicException, PolarsError

from pipeline_assets.versioning.formats import bounds, incoming, parquet_pages
from pipeline_assets.versioning.formats.incoming import Batch, Reading, Rejected
from pipeline_assets.versioning.formats.records import ExportOptions
from pipeline_assets.versioning.formats.shards import Exported, Target, Tell, export_shards
from pipeline_assets.versioning.pin.contents import Pinned
from resources.lake.spool import to_arrow

REPEATED_BYTES = 256 * 1024**2
"""Limit of rows read together, if each had the longest value of its columns' dictionaries."""


class ParquetShard:
    """A Parquet file, one row group per batch."""

    def __init__(self, path: Path, schema: pl.Schema) -> None:
        self._writer = pq.ParquetWriter(path, to_arrow(pl.DataFrame(schema=schema)).schema, compression="zstd")

    def write(self, rows: pl.DataFrame) -> None:
        """Add a row group."""
        self._writer.write_table(to_arrow(rows))

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()


def export(pinned: Pinned, target: Target, options: ExportOptions, tell: Tell) -> Exported:
    """Write NAME-00000.parquet and so on."""
    return export_shards(pinned, target, options, tell, kind="parquet", name="{:05}.parquet", open_shard=ParquetShard)


@incoming.with_empty_batch
def batches(source: Path, reading: Reading) -> Iterator[Batch | Rejected]:
    """The rows of a Parquet file, or of all in a folder. A damaged page rejects itself and all rows after it."""
    for path in incoming.shards(source, (".parquet", ".pq")):
        yield from bounds.within_bounds(path, _shard(path, reading))


def _shard(path: Path, reading: Reading) -> Iterator[Batch | Rejected]:
    rows = rows_read = 0
    try:
        with pq.ParquetFile(path) as file:
            rows = file.metadata.num_rows
            require_types(file.schema_arrow)
            for batch in file.iter_batches(batch_size=_rows_at_once(path, file)):
                yield from sound(path.name, batch, rows_read, reading)
                rows_read += batch.num_rows
    except bounds.Refused as refused:
        yield Rejected(path.name, refused.reason, str(refused), max(rows - rows_read, 1))
    except (OSError, parquet_pages.BadPages, pa.ArrowException, PolarsError, PanicException, UnicodeDecodeError) as error:
        yield Rejected(path.name, "unreadable", f"row {rows_read:,} and all after it: {error}", max(rows - rows_read, 1))


def require_types(schema: pa.Schema) -> None:
    """Raise Refused for a column of an unsupported type."""
    if fault := bounds.unsupported(schema):
        raise bounds.Refused("unsupported", fault)


def sound(shard: str, batch: pa.RecordBatch, first: int, reading: Reading) -> Iterator[Batch | Rejected]:
    """A record batch in polars; rows with values that are invalid for their type are rejected. first: its first row."""

    def frame(start: int, end: int) -> pl.DataFrame:
        part = batch.slice(start, end - start)
        part.validate(full=True)
        rows = pl.DataFrame(pl.from_arrow(part))
        rows.columns = part.schema.names  # polars gives an empty name another
        return rows

    for rows in incoming.frames_around(batch.num_rows, frame, (pa.ArrowException, UnicodeDecodeError)):
        if isinstance(rows, incoming.Misfit):
            yield Rejected(f"{shard}: row {first + rows.row:,}", "schema", str(rows.error))
        else:
            yield from incoming.batches_of(shard, rows, reading)


def _rows_at_once(path: Path, file: pq.ParquetFile) -> int:
    """Number of rows to read together in bounded memory, whatever the file claims. Raises Refused and BadPages."""
    facts, size, rows = file.metadata, path.stat().st_size, incoming.BATCH_ROWS
    with path.open("rb") as pages:
        for number in range(facts.num_row_groups):
            group = facts.row_group(number)
            columns = [group.column(n) for n in range(group.num_columns)]
            if any(column.file_path for column in columns):
                raise bounds.Refused("external", "columns of it lie in other files")
            chunks = [parquet_pages.chunk(pages, size, column) for column in columns]
            unpacked = max(group.total_byte_size, sum(chunk.unpacked for chunk in chunks))
            packed = min(size, sum(column.total_compressed_size for column in columns))
            for n, chunk in enumerate(chunks):
                if file.schema.column(n).max_repetition_level:
                    unpacked += chunk.repeating * chunk.longest
            bounds.require("a row group", packed, unpacked, unpacked)
            rows = min(rows, incoming.rows_a_batch(group.total_byte_size // max(group.num_rows, 1)))
            rows = min(rows, max(1, REPEATED_BYTES // max(1, sum(chunk.longest for chunk in chunks))))
    return rows
