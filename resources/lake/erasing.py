"""Erases rows from every version of a Delta table. Each version stays readable, with its other rows as they were.

Delta itself can't: a delete makes a new version, and a vacuum makes the old ones unreadable. Here each data file with such a
row gives way to a new file without it, and the log is patched to name the new one. The steps, of which each may be repeated:

1. The table is closed: no writer, ours or another, can commit what it computed before, or begin.
2. The new files are written, and the list of them.
3. Checkpoints are deleted, which would hide the patched commits; then the log is patched (`log_patches`).
4. The table is opened again by a commit, which tells readers in other processes that their view of it is old.
5. The old files and their statistics are deleted, with all versions that the bucket keeps of them. The list goes last.

A killed erasure is finished by the next call, whatever rows that one is to erase. The caller holds a lock: one erasure at a
time, and no clean-up beside it.
"""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote
from uuid import NAMESPACE_URL, uuid5

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from polars.exceptions import PolarsError

from resources.errors import LogIncomplete, NotFound, StoreUnavailable
from resources.lake import log_patches
from resources.lake.lake import APPEND_ONLY, Lake
from resources.lake.log_patches import NewFile
from resources.objects.removal import holdings, remove
from resources.objects.store import ObjectStore

BATCH_ROWS = 16_384
PART_BYTES = 64 * 1024**2


@dataclass(frozen=True)
class Erased:
    """What was done to a table. rows: over all its files, each once, although many versions may have the file."""

    files: int = 0
    rows: int = 0


def erase_rows(lake: Lake, name: str, condemned: pl.Expr) -> Erased:
    """Erase the rows of a table for which an expression over its columns is true, from all its versions.

    Rows for which it is null stay; a file without one of the columns has nulls there. Returns what this call erased,
    also for an erasure that it only finished.

    Raises LogIncomplete for a log that lacks versions, StoreUnavailable for a store that does not answer or lets others
    overwrite the log: the next call finishes then.
    """
    store = lake.store
    if not lake.exists(name):
        return Erased()
    _paths(store, name)  # what can't be rewritten is not closed
    _set(lake, name, append_only=True)
    files = _unfinished(store, name)
    done = _finish(lake, name, files) if files else Erased()
    if files:
        _set(lake, name, append_only=True)
    try:
        files = _rewrite(lake, name, condemned)
        store.put(list_of(name), log_patches.dumps(files))
    except Exception:
        _set(lake, name, append_only=False)
        raise
    now = _finish(lake, name, files)
    return Erased(done.files + now.files, done.rows + now.rows)


def list_of(name: str) -> str:
    """The key of a table's list of new files: it exists while an erasure is not finished, and has no row's value."""
    return f"tables/{name}/_darkroom_erasing.json"


def _unfinished(store: ObjectStore, name: str) -> dict[str, NewFile]:
    try:
        return log_patches.loads(store.get(list_of(name)))
    except NotFound:
        return {}


def _set(lake: Lake, name: str, *, append_only: bool) -> None:
    """Close a table or open it. Closed, Delta's writers refuse to remove rows, and what they computed before."""
    with lake.reached():
        table = DeltaTable(lake.uri(name), storage_options=lake.delta_options)
        table.alter.set_table_properties({APPEND_ONLY: str(append_only).lower()})


def _rewrite(lake: Lake, name: str, condemned: pl.Expr) -> dict[str, NewFile]:
    """Write the new files. Returns them by the path of the old ones, as it is in the log."""
    store, prefix = lake.store, f"tables/{name}/"
    existing = {info.key.removeprefix(prefix) for info in store.list(prefix)}
    paths = {unquote(path): path for path in _paths(store, name) if unquote(path) in existing}
    schema = pl.DataFrame(pl.from_arrow(pa.schema(lake.table(name).schema().to_arrow()).empty_table())).schema
    counts = _counts(lake, name, sorted(paths), condemned, schema)
    return {paths[path]: _rewritten(store, prefix, paths[path], condemned, schema) for path in sorted(counts)}


def _paths(store: ObjectStore, name: str) -> set[str]:
    """Paths of all files that any version has. Raises LogIncomplete."""
    paths: set[str] = set()
    for key, _, commit in _commits(store, name):
        try:
            paths.update(log_patches.paths(commit))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise LogIncomplete(f"{key} can't be rewritten: {error!s:.100}. Nothing was erased from {name}.") from None
    return paths


def _counts(lake: Lake, name: str, paths: list[str], condemned: pl.Expr, schema: pl.Schema) -> dict[str, int]:
    """The condemned rows of each file that has some. Only the expression's columns are read."""
    if not paths:
        return {}
    uri = lake.uri(name)
    columns = pl.Schema({column: schema[column] for column in condemned.meta.root_names()})
    frame = pl.scan_parquet(
        [f"{uri}/{path}" for path in paths],
        schema=columns,
        hive_partitioning=False,
        missing_columns="insert",
        extra_columns="ignore",
        include_file_paths="file",
        storage_options=lake.polars_options,
        glob=False,
    )
    try:
        with lake.reached():
            counts = frame.filter(condemned).group_by("file").len().collect(engine="streaming")
    except PolarsError as error:
        raise StoreUnavailable(f"The files of {name} can't be read, so nothing was erased from it: {error}") from error
    return {file.removeprefix(f"{uri}/"): count for file, count in counts.iter_rows()}


def _rewritten(store: ObjectStore, prefix: str, logged: str, condemned: pl.Expr, schema: pl.Schema) -> NewFile:
    """Write a file without its condemned rows. Its name follows from the old one, so that a repetition leaves no other.

    logged: the old file's path as the log has it, URL-encoded.
    """
    path = unquote(logged)
    file = f"part-00000-{uuid5(NAMESPACE_URL, f'{prefix}{path}')}-c000.snappy.parquet"
    new = f"{logged.rpartition('/')[0]}/{file}".lstrip("/")
    with tempfile.TemporaryDirectory(prefix="darkroom-") as scratch:
        old_file, new_file = Path(scratch) / "old", Path(scratch) / "new"
        _download(store, f"{prefix}{path}", old_file)
        with (
            pq.ParquetFile(old_file) as source,
            pq.ParquetWriter(new_file, source.schema_arrow, compression=_compression(source)) as sink,
        ):
            rows = 0
            for batch in source.iter_batches(BATCH_ROWS):
                kept = _kept(batch, condemned, schema)
                rows += kept.num_rows
                sink.write_batch(kept)
            erased = source.metadata.num_rows - rows
        size = new_file.stat().st_size
        store.put(f"{prefix}{unquote(new)}", new_file)
    return NewFile(new, size, rows, erased)


def _download(store: ObjectStore, key: str, file: Path) -> None:
    size = store.head(key).size
    with file.open("wb") as sink:
        for start in range(0, size, PART_BYTES):
            sink.write(store.get_range(key, start, min(start + PART_BYTES, size)))


def _compression(source: pq.ParquetFile) -> str:
    metadata = source.metadata
    return str(metadata.row_group(0).column(0).compression) if metadata.num_row_groups else "SNAPPY"


def _kept(batch: pa.RecordBatch, condemned: pl.Expr, schema: pl.Schema) -> pa.RecordBatch:
    names = condemned.meta.root_names()
    present = [column for column in names if column in batch.schema.names]
    frame = pl.DataFrame(pl.from_arrow(batch.select(present))).with_columns(
        pl.lit(None, schema[column]).alias(column) for column in names if column not in present
    )
    is_kept = frame.select((~condemned).fill_null(value=True).alias("kept"))["kept"]
    return batch.filter(is_kept.to_arrow())


def _finish(lake: Lake, name: str, files: Mapping[str, NewFile]) -> Erased:
    """Steps 3 to 5."""
    store, log = lake.store, f"tables/{name}/_delta_log/"
    if files:
        checkpoints = [info.key for info in store.list(log) if "checkpoint" in info.key.removeprefix(log)]
        # First the hint, `_last_checkpoint`: readers take a hint at a missing checkpoint for damage.
        for key in sorted(checkpoints, reverse=True):
            store.delete(key)
        for patch in log_patches.PHASES:
            for key, etag, commit in list(_commits(store, name)):
                patched = patch(commit, files)
                if patched != commit and not store.put_if_unchanged(key, patched, etag):
                    raise StoreUnavailable(f"Somebody else wrote {key} during an erasure: run it again, alone.")
    _set(lake, name, append_only=False)
    if files:
        with lake.reached():
            DeltaTable(lake.uri(name), storage_options=lake.delta_options).create_checkpoint()
    old = {f"tables/{name}/{unquote(path)}" for path in files}
    everything = list(holdings(store, f"tables/{name}/"))
    remove(store, [item for item in everything if item.key in old or not item.is_latest or item.is_marker])
    remove(store, [item for item in everything if item.key == list_of(name) and item.is_latest])
    return Erased(len(files), sum(file.erased for file in files.values()))


def _commits(store: ObjectStore, name: str) -> Iterator[tuple[str, str | None, bytes]]:
    """Key, ETag and bytes of each commit of a table, in no order."""
    log = f"tables/{name}/_delta_log/"
    commits = [info for info in store.list(log) if info.key.endswith(".json")]
    if [info.key for info in commits] != [f"{log}{version:020}.json" for version in range(len(commits))]:
        raise LogIncomplete(f"The log of the table {name} does not begin with version 0, or has a gap: nothing was erased.")
    for info, data in store.get_many(commits, key=lambda info: info.key):
        if not isinstance(data, bytes):
            raise data
        yield info.key, info.etag, data
