"""Reads what a reference names: its manifest, its rows, its files' bytes, each verified against its digest."""

import hashlib
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline_assets.errors import ManifestBroken
from pipeline_assets.runtime.cores import ahead
from pipeline_assets.runtime.places import in_all_days, versions_of
from pipeline_assets.versioning.pin import manifest as manifests
from pipeline_assets.versioning.pin.condition import condition
from pipeline_assets.versioning.pin.reference import Reference, TableVersion
from resources.errors import CorruptObject, InvalidRange, NotFound, ObjectError, TableMissing
from resources.objects.store import ObjectStore, content_key

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from resources.lake.lake import Lake  # imports Dagster, which takes a second: a folder's files are read without it

SPAN_BYTES = 8 * 1024**2
"""Limit of one read; files that lie near each other in one object are read together."""
GAP_BYTES = 256 * 1024
"""Largest gap between two files of one read: reading over it is faster than another request."""
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
    """An open data set. tables: the lake, None for a folder, which has no tables. stores: `uploads` and `objects`."""

    reference: Reference
    tables: "Lake | None"
    stores: Mapping[str, ObjectStore]

    @property
    def lake(self) -> "Lake":
        """The lake of its tables. Raises TableMissing for a folder."""
        if self.tables is None:
            raise TableMissing(f"{self.reference.name} is a folder: it pins no table.")
        return self.tables

    @cached_property
    def files(self) -> pl.DataFrame:
        """The manifest's rows (`manifest.SCHEMA`). Raises ManifestBroken if they are not the pinned ones."""
        expected, source = self.reference.manifest, self._source
        data = b"".join(self._encoded())
        files = manifests.decode(data, source, expected.files)
        if manifests.digest(files) != expected.digest or files["size_bytes"].sum() != expected.bytes:
            raise ManifestBroken(f"{source} is not the one that was pinned: digest or size differ from the reference.")
        return files

    @property
    def _source(self) -> str:
        return f"the manifest {self.reference.manifest.sha256[:12]} of {self.reference.name}"

    def _encoded(self) -> Iterator[memoryview]:
        """The encoded manifest in pieces; it is verified once the last piece is read.

        Raises ManifestBroken if its bytes are missing or differ from the pinned ones.
        """
        expected, store, state = self.reference.manifest, self.stores["objects"], hashlib.sha256()
        key = content_key(expected.sha256)
        damaged = ManifestBroken(f"{self._source} is damaged: restore the object {key}.")
        try:
            for start in range(0, expected.size_bytes, SPAN_BYTES):
                piece = store.get_range(key, start, min(start + SPAN_BYTES, expected.size_bytes))
                state.update(piece)
                yield piece
        except NotFound:
            raise ManifestBroken(f"{self._source} is not in {store.url}: restore it from a backup.") from None
        except InvalidRange:
            raise damaged from None
        if state.hexdigest() != expected.sha256:
            raise damaged

    def contents(self) -> Generator[pl.DataFrame]:
        """The files' paths, sha256 and sizes in batches, by path, in bounded memory. Raises ManifestBroken."""
        with tempfile.TemporaryDirectory(prefix="darkroom-manifest-") as folder:
            path = Path(folder) / "manifest.parquet"
            with path.open("wb") as file:
                file.writelines(self._encoded())
            yield from manifests.contents(path, self._source, self.reference.manifest.files)

    def rows(self, asset: str | None = None) -> pl.LazyFrame:
        """All rows of a pinned table's days, lazily; without a name, the pinned asset's selected rows.

        Raises TableMissing, and BadSelection for a selection that is no condition on these rows.
        """
        name, table = self._named(asset)
        inside = pl.col("day").is_between(table.first_day, table.last_day)
        rows = self.lake.scan(name, version=table.version).filter(inside)
        if asset is not None or self.reference.selection is None:
            return rows
        return rows.filter(condition(rows, self.reference.selection.where, rows.collect_schema().names()))

    def delta(self, asset: str | None = None) -> "DeltaTable":
        """The same table as a DeltaTable at its pinned version. Raises TableMissing."""
        name, table = self._named(asset)
        return self.lake.table(name, table.version)

    def _named(self, asset: str | None) -> tuple[str, TableVersion]:
        name = asset or self.reference.asset
        if name is None or name not in self.reference.tables:
            pinned = ", ".join(self.reference.tables) or "none, since it is a folder"
            raise TableMissing(f"{self.reference.name} pins no table {name}. It pins: {pinned}.")
        return name, self.reference.tables[name]

    def read(self, files: pl.DataFrame) -> Iterator[tuple[dict[str, Any], bytes | ObjectError]]:
        """Each row of the manifest with its bytes, verified, in the order in which they lie in the stores.

        Neighbours in one object are read together, a few spans ahead, on threads. A file that is missing from its place
        comes last: from another place of its content, or as an error if no place has it. Raises StoreUnavailable. Files
        are whole in memory: read large ones with `fetching.read_large`.
        """
        unread: list[tuple[dict[str, Any], ObjectError]] = []
        with ThreadPoolExecutor(READERS, "contents") as pool:
            for span_rows in ahead(pool, self._read_span, spans(files), READERS):
                for row, data in span_rows:
                    if isinstance(data, ObjectError):
                        unread.append((row, data))
                    else:
                        yield row, data
        places = self.other_places([row for row, _ in unread])
        for row, error in unread:
            copies = (self._read_one(row, place) for place in places.get(row["sha256"], ()))
            yield row, next((data for data in copies if isinstance(data, bytes)), error)

    def other_places(self, rows: Sequence[Mapping[str, Any]]) -> dict[bytes, list[dict[str, Any]]]:
        """Other places where the contents of these rows may lie, as manifest rows by sha256; existence is not checked.

        Places are the other files of the data set, the current uploads of all days, Darkroom's own store, and, for objects
        pinned in a bucket without versions, the version `null`, which they have once versioning is switched on.
        """
        if not rows:
            return {}
        rows_by_sha256 = {row["sha256"]: row for row in rows}
        same_contents = self.files.filter(pl.col("sha256").is_in(pl.Series(list(rows_by_sha256), dtype=pl.Binary).implode()))
        places_of: dict[bytes, list[dict[str, Any]]] = {sha256: [] for sha256 in rows_by_sha256}
        for row in same_contents.iter_rows(named=True):
            versions = versions_of(row["version_id"]) if row["store"] == "uploads" else [row["version_id"]]
            places_of[row["sha256"]] += [{**row, "version_id": version_id} for version_id in versions]
        hexes = [sha256.hex() for sha256 in rows_by_sha256]
        uploads = in_all_days(self.tables, None)(hexes)
        for sha256, one in rows_by_sha256.items():
            elsewhere = [("uploads", place.key, place.version_id) for place in uploads.get(sha256.hex(), ())]
            for store, key, version_id in [*elsewhere, ("objects", content_key(sha256.hex()), None)]:
                places_of[sha256].append({**one, "store": store, "key": key, "version_id": version_id, "offset": None})
        return {sha256: _without(rows, rows_by_sha256[sha256]) for sha256, rows in places_of.items()}

    def others_of(self, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The other places of one file."""
        return self.other_places([row])[row["sha256"]]

    def _read_one(self, row: Mapping[str, Any], place: Mapping[str, Any]) -> bytes | ObjectError:
        start = place["offset"] or 0
        try:
            data = self.stores[place["store"]].get_range(
                place["key"], start, start + row["size_bytes"], version_id=place["version_id"]
            )
        except ObjectError as error:
            return error
        return _verified(row, bytes(data))

    def _read_span(self, span: Span) -> list[tuple[dict[str, Any], bytes | ObjectError]]:
        store = self.stores[span.store]
        try:
            if span.start is None:
                return [(span.rows[0], _verified(span.rows[0], store.get(span.key, version_id=span.version_id)))]
            data = store.get_range(span.key, span.start, span.end)
        except ObjectError as error:
            return [(row, error) for row in span.rows]
        start = span.start
        return [
            (row, _verified(row, bytes(data[row["offset"] - start : row["offset"] - start + row["size_bytes"]])))
            for row in span.rows
        ]


def _without(rows: list[dict[str, Any]], excluded: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each place once, without the excluded one."""
    places, remaining = [_place(excluded)], []
    for row in rows:
        if _place(row) not in places:
            places.append(_place(row))
            remaining.append(row)
    return remaining


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["store"], row["key"], row["version_id"], row["offset"]


def _verified(row: Mapping[str, Any], data: bytes) -> bytes | ObjectError:
    sha256 = hashlib.sha256(data).digest()
    return data if sha256 == row["sha256"] else CorruptObject.of(row["key"], row["sha256"].hex(), sha256.hex())


def spans(files: pl.DataFrame) -> Iterator[Span]:
    """Reads that cover these files with few requests: whole objects, and ranges of packs."""
    order = files.sort("store", "key", "version_id", "offset", nulls_last=True)
    group: list[dict[str, Any]] = []
    for row in order.iter_rows(named=True):
        if group and not _joins(group, row):
            yield _span(group)
            group = []
        group.append(row)
    if group:
        yield _span(group)


def _joins(group: list[dict[str, Any]], row: Mapping[str, Any]) -> bool:
    first, last = group[0], group[-1]
    if row["offset"] is None or last["offset"] is None:
        return False
    is_same_object = all(row[name] == last[name] for name in ("store", "key", "version_id"))
    is_near = row["offset"] <= last["offset"] + last["size_bytes"] + GAP_BYTES
    return is_same_object and is_near and row["offset"] + row["size_bytes"] - first["offset"] <= SPAN_BYTES


def _span(rows: list[dict[str, Any]]) -> Span:
    first = rows[0]
    end = max((row["offset"] or 0) + row["size_bytes"] for row in rows)
    return Span(first["store"], first["key"], first["version_id"], first["offset"], end, rows)
