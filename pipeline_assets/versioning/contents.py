"""What a reference names, got back: its manifest, its rows, its files' bytes, each verified against its digest."""

import hashlib
import tempfile
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline_assets.cores import ahead
from pipeline_assets.errors import ManifestBroken
from pipeline_assets.versioning import manifest as manifests
from pipeline_assets.versioning.reference import Reference, TableVersion
from resources.errors import CorruptObject, InvalidRange, NotFound, ObjectError, TableMissing
from resources.object_store import ObjectStore, content_key

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from resources.lake import Lake  # with Dagster, which takes a second to load: a folder's files are had without it

SPAN_BYTES = 8 * 1024**2
"""Files that lie near each other in one object are read together, up to so many bytes."""
GAP_BYTES = 256 * 1024
"""Reading on over so many unwanted bytes is quicker than another request."""
READERS = 8


@dataclass(frozen=True)
class Span:
    """Bytes start to end of one object, and the rows of the manifest whose files lie in them."""

    store: str
    key: str
    version_id: str | None
    start: int | None
    end: int
    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class Pinned:
    """A data set opened. tables: the lake, None for a folder, which has none. stores: `uploads` and `objects` by name."""

    reference: Reference
    tables: "Lake | None"
    stores: Mapping[str, ObjectStore]

    @property
    def lake(self) -> "Lake":
        """Where its tables are. Raises TableMissing for a folder."""
        if self.tables is None:
            raise TableMissing(f"{self.reference.name} is a folder: it pins no table.")
        return self.tables

    @cached_property
    def files(self) -> pl.DataFrame:
        """The manifest's rows (`manifest.SCHEMA`). Raises ManifestBroken unless they are those that were pinned."""
        named, source = self.reference.manifest, self._source
        data = b"".join(self._encoded())
        found = manifests.decode(data, source, named.files)
        if manifests.digest(found) != named.digest or found["size_bytes"].sum() != named.bytes:
            raise ManifestBroken(f"{source} is not the one that was pinned: digest or size differ from the reference.")
        return found

    @property
    def _source(self) -> str:
        return f"the manifest {self.reference.manifest.sha256[:12]} of {self.reference.name}"

    def _encoded(self) -> Iterator[memoryview]:
        """The manifest as it lies in the store, in pieces; it is whole and right once the last has been taken.

        Raises ManifestBroken if its bytes are gone or others.
        """
        named, store, state = self.reference.manifest, self.stores["objects"], hashlib.sha256()
        key = content_key(named.sha256)
        damaged = ManifestBroken(f"{self._source} is damaged: restore the object {key}.")
        try:
            for start in range(0, named.size_bytes, SPAN_BYTES):
                piece = store.get_range(key, start, min(start + SPAN_BYTES, named.size_bytes))
                state.update(piece)
                yield piece
        except NotFound:
            raise ManifestBroken(f"{self._source} is not in {store.url}: restore it from a backup.") from None
        except InvalidRange:
            raise damaged from None
        if state.hexdigest() != named.sha256:
            raise damaged

    def contents(self) -> Generator[pl.DataFrame]:
        """The files' paths, sha256 and sizes, some at a time, by path: millions are not held. Raises ManifestBroken."""
        with tempfile.TemporaryDirectory(prefix="darkroom-manifest-") as folder:
            path = Path(folder) / "manifest.parquet"
            with path.open("wb") as file:
                file.writelines(self._encoded())
            yield from manifests.contents(path, self._source, self.reference.manifest.files)

    def rows(self, asset: str | None = None) -> pl.LazyFrame:
        """A pinned table's rows, lazily; the pinned asset's own unless another is named. Raises TableMissing."""
        name, table = self._named(asset)
        inside = pl.col("day").is_between(table.first_day, table.last_day)
        return self.lake.scan(name, version=table.version).filter(inside)

    def delta(self, asset: str | None = None) -> "DeltaTable":
        """The same table as Delta has it, at its pinned version. Raises TableMissing."""
        name, table = self._named(asset)
        return self.lake.table(name, table.version)

    def _named(self, asset: str | None) -> tuple[str, TableVersion]:
        name = asset or self.reference.asset
        if name is None or name not in self.reference.tables:
            there = ", ".join(self.reference.tables) or "none, since it is a folder"
            raise TableMissing(f"{self.reference.name} pins no table {name}. It pins: {there}.")
        return name, self.reference.tables[name]

    def read(self, files: pl.DataFrame) -> Iterator[tuple[dict[str, Any], bytes | ObjectError]]:
        """Each row of the manifest with its bytes, verified, in the order in which they lie in the stores.

        Neighbours in one object are read at once, a few spans ahead on threads. An error about one file comes as its
        value; StoreUnavailable is raised. A file is held in memory whole: read large ones by `read_range`.
        """
        with ThreadPoolExecutor(READERS, "contents") as pool:
            for found in ahead(pool, self._read_span, spans(files), READERS):
                yield from found

    def _read_span(self, span: Span) -> list[tuple[dict[str, Any], bytes | ObjectError]]:
        store = self.stores[span.store]
        try:
            if span.start is None:
                whole = store.get(span.key, version_id=span.version_id)
                return [(span.rows[0], _verified(span.rows[0], whole))]
            data = store.get_range(span.key, span.start, span.end)
        except ObjectError as error:
            return [(row, error) for row in span.rows]
        start = span.start
        return [
            (row, _verified(row, bytes(data[row["offset"] - start : row["offset"] - start + row["size_bytes"]])))
            for row in span.rows
        ]


def _verified(row: Mapping[str, Any], data: bytes) -> bytes | ObjectError:
    found = hashlib.sha256(data).digest()
    return data if found == row["sha256"] else CorruptObject.of(row["key"], row["sha256"].hex(), found.hex())


def spans(files: pl.DataFrame) -> Iterator[Span]:
    """How to read these files with few requests: whole objects, and stretches of packs."""
    order = files.sort("store", "key", "version_id", "offset", nulls_last=True)
    held: list[dict[str, Any]] = []
    for row in order.iter_rows(named=True):
        if held and not _joins(held, row):
            yield _span(held)
            held = []
        held.append(row)
    if held:
        yield _span(held)


def _joins(held: list[dict[str, Any]], row: Mapping[str, Any]) -> bool:
    first, last = held[0], held[-1]
    if row["offset"] is None or last["offset"] is None:
        return False
    same = all(row[name] == last[name] for name in ("store", "key", "version_id"))
    near = row["offset"] <= last["offset"] + last["size_bytes"] + GAP_BYTES
    return same and near and row["offset"] + row["size_bytes"] - first["offset"] <= SPAN_BYTES


def _span(rows: list[dict[str, Any]]) -> Span:
    first = rows[0]
    end = max((row["offset"] or 0) + row["size_bytes"] for row in rows)
    return Span(first["store"], first["key"], first["version_id"], first["offset"], end, rows)
