"""Writing a data set as files of a bounded size: each whole or absent, and a description of all of them, last."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from pipeline_assets.errors import ExportRefused
from pipeline_assets.progress import track
from pipeline_assets.versioning.contents import Pinned
from pipeline_assets.versioning.formats.column_types import type_name
from pipeline_assets.versioning.formats.incoming import DESCRIPTION
from pipeline_assets.versioning.formats.records import Asked, Records, cost
from resources.errors import NoSpace, is_full

Tell = Callable[[str], object]


@dataclass(frozen=True)
class Exported:
    """What was written. lost: in sentences, what the format could not hold."""

    rows: int
    files: int
    size_bytes: int
    lost: Sequence[str] = field(default_factory=tuple)


class Shard(Protocol):
    """A file of rows that is being written."""

    def write(self, rows: pl.DataFrame) -> None:
        """Add rows."""

    def close(self) -> None:
        """Write what is held, and the file's end."""


class Target:
    """The folder of an export. It is made if it is absent.

    Raises ExportRefused unless it is empty.
    """

    def __init__(self, folder: Path) -> None:
        if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
            raise ExportRefused(f"{folder} is not an empty folder: name one that is, or that is not there yet.")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.files = self.size_bytes = 0
        self._shards: list[dict[str, Any]] = []

    @contextmanager
    def file(self, name: str) -> Iterator[Path]:
        """A path to write to, which gets this name when all is written and synced. Raises NoSpace for a full disk."""
        with self._replacing(name) as beside:
            yield beside
            with beside.open("rb") as file:
                os.fsync(file.fileno())
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            self._shards.append({"file": name, "size_bytes": beside.stat().st_size, "sha256": sha256})

    def put(self, name: str, data: bytes) -> None:
        """Write one of many small files, whole or not at all. Raises NoSpace for a full disk."""
        with self._replacing(name) as beside:
            beside.write_bytes(data)

    @contextmanager
    def _replacing(self, name: str) -> Iterator[Path]:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{hashlib.sha256(name.encode()).hexdigest()[:16]}.part")
        try:
            yield beside
            self.files += 1
            self.size_bytes += beside.stat().st_size
            beside.replace(path)
        except OSError as error:
            if not is_full(error):
                raise
            raise NoSpace(f"{self.folder} is full ({error.strerror}): export to a larger disk.") from error
        finally:
            beside.unlink(missing_ok=True)

    def describe(self, kind: str, pinned: Pinned, schema: pl.Schema, rows: int) -> None:
        """Write down what the other files are, with the types of columns, which some formats have no names for."""
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
    asked: Asked,
    tell: Tell,
    *,
    kind: str,
    name: str,
    open_shard: Callable[[Path, pl.Schema], Shard],
    lost: Callable[[pl.Schema], Sequence[str]] = lambda _: (),
) -> Exported:
    """Write the rows that are asked for as shards of this format. name: of a shard, as a format string of its number.

    A shard ends when it has `rows_per_shard` rows or, where none are asked for, about `shard_bytes` bytes. A data set
    without rows has one shard without rows. Raises as `Records`, and NoSpace.
    """
    records = Records(pinned, asked)
    schema = records.schema
    rows = 0
    for number, batches in enumerate(_in_shards(counted(records, tell), asked)):
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
    return Exported(rows, target.files, target.size_bytes, lost(schema))


def counted(records: Records, tell: Tell) -> Iterator[pl.DataFrame]:
    """The batches, telling how many rows are through."""
    ticks = track(range(records.rows), records.rows, "exporting", "rows", tell)
    for batch in records:
        yield batch
        for _ in islice(ticks, batch.height):
            pass


def _in_shards(batches: Iterator[pl.DataFrame], asked: Asked) -> Iterator[Iterator[pl.DataFrame]]:
    """Iterators over the batches of each shard; each must be read to its end before the next is asked for."""
    filled = (batch for batch in batches if batch.height)
    pending = next(filled, None)

    def shard() -> Iterator[pl.DataFrame]:
        nonlocal pending
        rows = held = 0
        while pending is not None:
            if asked.rows_per_shard is not None:
                part = pending.head(asked.rows_per_shard - rows)
            else:
                held += cost(pending)
                part = pending.clear() if rows and held > asked.shard_bytes else pending
            if part.is_empty():
                return
            yield part
            rows += part.height
            rest = pending.slice(part.height)
            pending = rest if rest.height else next(filled, None)

    yield shard()
    while pending is not None:
        yield shard()
