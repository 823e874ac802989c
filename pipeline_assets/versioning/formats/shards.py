"""Writes a data set as files of bounded size: each complete or absent, and a description of all of them at the end."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from pipeline_assets.errors import ExportRefused
from pipeline_assets.runtime.progress import track
from pipeline_assets.versioning.formats.column_types import type_name
from pipeline_assets.versioning.formats.incoming import DESCRIPTION
from pipeline_assets.versioning.formats.records import ExportOptions, Records, cost
from pipeline_assets.versioning.pin.contents import Pinned
from resources import files
from resources.errors import NoSpace, is_full

Tell = Callable[[str], object]


@dataclass(frozen=True)
class Exported:
    """The result of an export. lost: sentences on what the format could not hold."""

    rows: int
    files: int
    size_bytes: int
    lost: Sequence[str] = field(default_factory=tuple)


class Shard(Protocol):
    """A file of rows, open for writing."""

    def write(self, rows: pl.DataFrame) -> None:
        """Add rows."""

    def close(self) -> None:
        """Write buffered rows and the file's end."""


class Target:
    """The folder of an export, created if missing.

    Raises ExportRefused unless it is empty.
    """

    def __init__(self, folder: Path) -> None:
        if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
            raise ExportRefused(f"{folder} is not an empty folder: name an empty or a new one.")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.files = self.size_bytes = 0
        self._shards: list[dict[str, Any]] = []

    @contextmanager
    def file(self, name: str) -> Iterator[Path]:
        """A path to write to, which is renamed to this name once written and synced. Raises NoSpace for a full disk."""
        with self._replacing(name) as partial_path:
            yield partial_path
            files.sync(partial_path)
            self._shards.append(
                {"file": name, "size_bytes": partial_path.stat().st_size, "sha256": files.sha256_of(partial_path)}
            )

    def put(self, name: str, data: bytes) -> None:
        """Write one of many small files atomically. Raises NoSpace for a full disk."""
        with self._replacing(name) as partial_path:
            partial_path.write_bytes(data)

    @contextmanager
    def _replacing(self, name: str) -> Iterator[Path]:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with files.replacing(path) as partial_path:
                yield partial_path
                self.files += 1
                self.size_bytes += partial_path.stat().st_size
        except OSError as error:
            if not is_full(error):
                raise
            raise NoSpace(f"{self.folder} is full ({error.strerror}): export to a larger disk.") from error

    def describe(self, kind: str, pinned: Pinned, schema: pl.Schema, rows: int) -> None:
        """Write the description of the files, with the column types, which some formats can't express."""
        facts = {
            "darkroom": 1,
            "format": kind,
            "name": pinned.reference.name,
            "identity": pinned.reference.identity,
            "rows": rows,
            "columns": {name: type_name(dtype) or str(dtype) for name, dtype in schema.items()},
            "files": self._shards,
        }
        with self.file(DESCRIPTION) as path:
            path.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")


def export_shards(
    pinned: Pinned,
    target: Target,
    options: ExportOptions,
    tell: Tell,
    *,
    kind: str,
    name: str,
    open_shard: Callable[[Path, pl.Schema], Shard],
    losses: Callable[[pl.Schema], Sequence[str]] = lambda _: (),
) -> Exported:
    """Write the rows that are asked for as shards of this format. name: of a shard, as a format string of its number.

    A shard ends when it has `rows_per_shard` rows or, where none are asked for, about `shard_bytes` bytes. A data set
    without rows has one shard without rows. Raises as `Records`, and NoSpace.
    """
    records = Records(pinned, options)
    schema = records.schema
    rows = 0
    for number, batches in enumerate(_in_shards(with_progress(records, tell), options)):
        with target.file(f"{pinned.reference.name}-{name.format(number)}") as path:
            shard = open_shard(path, schema)
            try:
                for batch in batches:
                    shard.write(batch)
                    rows += batch.height
            finally:
                shard.close()
    if rows != records.rows:
        raise ExportRefused(f"{rows:,} rows were read where {records.rows:,} are pinned: run `darkroom verify`.")
    target.describe(kind, pinned, schema, rows)
    return Exported(rows, target.files, target.size_bytes, losses(schema))


def with_progress(records: Records, tell: Tell) -> Iterator[pl.DataFrame]:
    """The batches, with progress in rows."""
    ticks = track(range(records.rows), records.rows, "exporting", "rows", tell)
    for batch in records:
        yield batch
        for _ in islice(ticks, batch.height):
            pass


def _in_shards(batches: Iterator[pl.DataFrame], options: ExportOptions) -> Iterator[Iterator[pl.DataFrame]]:
    """Iterators over the batches of each shard; read each to its end before taking the next."""
    nonempty = (batch for batch in batches if batch.height)
    pending = next(nonempty, None)

    def shard() -> Iterator[pl.DataFrame]:
        nonlocal pending
        rows = shard_bytes = 0
        while pending is not None:
            if options.rows_per_shard is not None:
                part = pending.head(options.rows_per_shard - rows)
            else:
                shard_bytes += cost(pending)
                part = pending.clear() if rows and shard_bytes > options.shard_bytes else pending
            if part.is_empty():
                return
            yield part
            rows += part.height
            remaining = pending.slice(part.height)
            pending = remaining if remaining.height else next(nonempty, None)

    yield shard()
    while pending is not None:
        yield shard()
