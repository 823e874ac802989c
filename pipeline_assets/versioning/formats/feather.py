"""Feather: Arrow IPC files with LZ4, which Arrow's readers of any language map into memory."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa

from pipeline_assets.versioning.contents import Pinned
from pipeline_assets.versioning.formats import incoming
from pipeline_assets.versioning.formats.incoming import Batch, Reading, Rejected
from pipeline_assets.versioning.formats.parquet import frame
from pipeline_assets.versioning.formats.records import Asked
from pipeline_assets.versioning.formats.shards import Exported, Target, Tell, export_shards
from resources.spool import to_arrow


class FeatherShard:
    """An Arrow IPC file, a record batch a batch."""

    def __init__(self, path: Path, schema: pl.Schema) -> None:
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._writer = pa.ipc.new_file(str(path), to_arrow(pl.DataFrame(schema=schema)).schema, options=options)

    def write(self, rows: pl.DataFrame) -> None:
        """Add a record batch."""
        self._writer.write_table(to_arrow(rows.rechunk()))

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()


def export(pinned: Pinned, target: Target, asked: Asked, tell: Tell) -> Exported:
    """Write NAME-00000.feather and so on."""
    return export_shards(pinned, target, asked, tell, kind="feather", name="{:05}.feather", open_shard=FeatherShard)


def batches(source: Path, asked: Reading) -> Iterator[Batch | Rejected]:
    """The rows of an Arrow IPC file, or of all that a folder has. A file that is damaged is rejected from there on."""
    for path in incoming.shards(source, (".feather", ".arrow", ".ipc")):
        try:
            with pa.OSFile(str(path)) as raw, pa.ipc.open_file(raw) as file:
                for number in range(file.num_record_batches):
                    for part in frame(file.get_batch(number)).iter_slices(incoming.BATCH_ROWS):
                        yield from incoming.batches_of(path.name, part, asked)
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
            yield Rejected(path.name, "unreadable", str(error))
