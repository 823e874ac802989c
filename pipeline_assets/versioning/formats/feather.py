"""Feather: Arrow IPC files with LZ4, which Arrow readers of any language can map into memory."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
from polars.exceptions import PanicException, PolarsError

from pipeline_assets.versioning.formats import bounds, incoming
from pipeline_assets.versioning.formats.feather_sizes import BadFile, parts
from pipeline_assets.versioning.formats.incoming import Batch, Reading, Rejected
from pipeline_assets.versioning.formats.parquet import require_types, sound
from pipeline_assets.versioning.formats.records import ExportOptions
from pipeline_assets.versioning.formats.shards import Exported, Target, Tell, export_shards
from pipeline_assets.versioning.pin.contents import Pinned
from resources.lake.spool import to_arrow


class FeatherShard:
    """An Arrow IPC file, one record batch per batch."""

    def __init__(self, path: Path, schema: pl.Schema) -> None:
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._writer = pa.ipc.new_file(str(path), to_arrow(pl.DataFrame(schema=schema)).schema, options=options)

    def write(self, rows: pl.DataFrame) -> None:
        """Add a record batch."""
        self._writer.write_table(to_arrow(rows.rechunk()))

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()


def export(pinned: Pinned, target: Target, options: ExportOptions, tell: Tell) -> Exported:
    """Write NAME-00000.feather and so on."""
    return export_shards(pinned, target, options, tell, kind="feather", name="{:05}.feather", open_shard=FeatherShard)


@incoming.with_empty_batch
def batches(source: Path, reading: Reading) -> Iterator[Batch | Rejected]:
    """The rows of an Arrow IPC file, or of all in a folder. A damaged batch rejects itself and all rows after it."""
    for path in incoming.shards(source, (".feather", ".arrow", ".ipc")):
        yield from bounds.within_bounds(path, _shard(path, reading))


def _shard(path: Path, reading: Reading) -> Iterator[Batch | Rejected]:
    rows = 0
    try:
        _require_bounded(path)
        with pa.OSFile(str(path)) as raw, pa.ipc.open_file(raw) as file:
            require_types(file.schema)
            for number in range(file.num_record_batches):
                batch = file.get_batch(number)
                for start in range(0, batch.num_rows, incoming.BATCH_ROWS):
                    yield from sound(path.name, batch.slice(start, incoming.BATCH_ROWS), rows + start, reading)
                rows += batch.num_rows
    except (OSError, BadFile, pa.ArrowException, PolarsError, PanicException, UnicodeDecodeError) as error:
        yield Rejected(path.name, "unreadable", f"row {rows:,} and all after it: {error}")


def _require_bounded(path: Path) -> None:
    """Raise Refused for a bomb, and BadFile. A row counts at least one byte, even if all its values are null."""
    dictionaries, size = 0, path.stat().st_size
    with path.open("rb") as file:
        for part in parts(file, size):
            dictionaries += part.unpacked if part.is_dictionary else 0
            bounds.require("its dictionaries", size, dictionaries, dictionaries)
            bounds.require("a record batch", part.packed, part.unpacked + part.rows, part.unpacked + part.rows)
