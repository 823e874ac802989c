"""Batches of another format, as files in the store: contents once each, and the rows as one Parquet file beside them."""

import contextlib
import hashlib
import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from pipeline_assets.errors import ImportRefused
from pipeline_assets.ingestion.media_types import UNKNOWN, extension_of, sniff
from pipeline_assets.versioning.formats.incoming import LABELS, Batch, Rejected
from pipeline_assets.versioning.manifest import SCHEMA, path_fault
from pipeline_assets.versioning.packs import PACKED_BELOW, Packer, Place
from resources.object_store import ObjectStore, content_key
from resources.spool import to_arrow

ROWS, REJECTED = "rows.parquet", "rejected.parquet"
"""Files that an import adds: all rows, and what was kept aside with its reason."""
_HEX = re.compile(r"[0-9a-f]{64}")
_ASIDE = pl.Schema({"source": pl.String, "reason": pl.String, "detail": pl.String})
DETAIL_CHARACTERS = 500
MAX_ASIDE = 100_000
"""So many are listed; all are counted."""


@dataclass
class Brought:
    """What came in. files: a manifest's rows; reasons: how many were kept aside, and why."""

    files: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SCHEMA))
    rows: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


def bring(batches: Iterable[Batch | Rejected], objects: ObjectStore) -> Brought:
    """Store what a reader hands on. A row whose file is not the one that it names is kept aside with it.

    Raises ImportRefused if nothing is left. What was stored by then stays in the store, and is found there the next time.
    """
    packer = Packer(objects)
    with tempfile.TemporaryDirectory(prefix="darkroom-") as scratch:
        rows = _Rows(Path(scratch) / ROWS)
        sorter = Sorter()
        contents = _Contents(objects, packer)
        for batch in sorter.sorted(batches):
            for path, data in batch.files:
                contents.add(path, data)
            rows.add(batch.rows)
        rows.close()
        if not (rows.count or contents.paths):
            packer.close()
            raise ImportRefused(f"Nothing could be read of it: {told(sorter.reasons) or 'it holds no rows and no files'}.")
        if rows.count:
            contents.add_file(ROWS, rows.path)
        if sorter.aside:
            aside = Path(scratch) / REJECTED
            pl.DataFrame([(r.source, r.reason, r.detail) for r in sorter.aside], schema=_ASIDE, orient="row").write_parquet(
                aside
            )
            contents.add_file(REJECTED, aside)
        return Brought(contents.files(packer.close()), rows.count, sorter.reasons)


def told(reasons: Counter[str]) -> str:
    """How many of each, most first."""
    return ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())


@dataclass(frozen=True)
class Sorted:
    """A batch whose files have checked paths, and whose rows name them."""

    rows: pl.DataFrame
    files: list[tuple[str, bytes]]


class Sorter:
    """Tells what can be stored from what must be kept aside, with its reason."""

    def __init__(self) -> None:
        self.reasons: Counter[str] = Counter()
        self.aside: list[Rejected] = []
        self._known: dict[str, bytes] = {}
        self._folders: set[str] = set()
        self._schema: pl.Schema | None = None

    def sorted(self, batches: Iterable[Batch | Rejected]) -> Iterator[Sorted]:
        """The batches with what is good of them; every row has `sha256` and `path` of its first file, if any has one."""
        for batch in batches:
            if isinstance(batch, Rejected):
                self._reject(batch.source, batch.reason, batch.detail)
                continue
            self._schema = self._schema or batch.rows.schema
            if batch.rows.schema != self._schema:
                self._reject(batch.source, "schema", f"{batch.rows.height:,} rows have other columns than those before")
                continue
            yield self._sort(batch)

    def _sort(self, batch: Batch) -> Sorted:
        claims = batch.rows["sha256"].to_list() if batch.rows.schema.get("sha256") == pl.String else None
        named: dict[int, tuple[str, str]] = {}
        bad: set[int] = set()
        good: list[tuple[str, bytes]] = []
        for file in batch.files or ():
            digest = hashlib.sha256(file.data)
            is_first = file.row is not None and file.row not in named
            claim = claims[file.row] if claims and file.row is not None and is_first else None
            path = file.path if file.path is not None else _path_of(digest.hexdigest(), file.data)
            fault = self._fault(path, digest.digest(), claim)
            if fault:
                self._reject(f"{batch.source}: {path[:200]}", *fault)
                bad |= {file.row} if is_first and file.row is not None else set()
                continue
            if path not in self._known:
                self._known[path] = digest.digest()
                self._folders.update(_above(path))
                good.append((path, file.data))
            if is_first and file.row is not None:
                named[file.row] = (path, digest.hexdigest())
        rows = batch.rows if batch.files is None else _naming(batch.rows, named)
        return Sorted(rows.filter([at not in bad for at in range(rows.height)]), good)

    def _fault(self, path: str, sha256: bytes, claim: Any) -> tuple[str, str] | None:
        unsafe = path_fault(path)
        if unsafe:
            return "unsafe_path", unsafe
        if path in (ROWS, REJECTED):
            return "reserved_path", "an import writes a file of this name itself"
        if isinstance(claim, str) and _HEX.fullmatch(claim) and claim != sha256.hex():
            return "sha256_differs", f"its row says {claim}, and its bytes have {sha256.hex()}"
        if self._known.get(path, sha256) != sha256:
            return "duplicate_path", "another content has this path already"
        if path in self._folders or any(folder in self._known for folder in _above(path)):
            return "duplicate_path", "it would be both a file and a folder"
        return None

    def _reject(self, source: str, reason: str, detail: str) -> None:
        self.reasons[reason] += 1
        if len(self.aside) < MAX_ASIDE:
            self.aside.append(Rejected(source, reason, detail[:DETAIL_CHARACTERS]))


def _path_of(sha256: str, data: bytes) -> str:
    """As a pinned table names the files of its rows."""
    kind = sniff(data)
    return f"files/{sha256[:2]}/{sha256}{'' if kind == UNKNOWN else extension_of(kind)}"


def _above(path: str) -> list[str]:
    """The folders that a path lies in."""
    return [str(folder) for folder in PurePosixPath(path).parents][:-1]


def _naming(rows: pl.DataFrame, named: Mapping[int, tuple[str, str]]) -> pl.DataFrame:
    """Rows with the path and sha256 of their file; what the source has told of itself stays where a row has no file."""
    found = [named.get(at, (None, None)) for at in range(rows.height)]
    for name, values in zip(("path", "sha256"), zip(*found, strict=True) if found else ((), ()), strict=True):
        column = pl.Series(name, values, pl.String)
        own = [pl.col(name)] if rows.schema.get(name) == pl.String else []
        rows = rows.with_columns(pl.coalesce(column, *own).alias(name) if rows.height else column)
    return rows


class _Rows:
    """All rows, as one Parquet file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._writer: pq.ParquetWriter | None = None

    def add(self, rows: pl.DataFrame) -> None:
        if not rows.width:
            return
        table = to_arrow(rows)
        self._writer = self._writer or pq.ParquetWriter(self.path, table.schema, compression="zstd")
        self._writer.write_table(table)
        self.count += rows.height

    def close(self) -> None:
        if self._writer:
            self._writer.close()


class _Contents:
    """Files on their way into the store: small ones into packs, others as objects of their own."""

    def __init__(self, objects: ObjectStore, packer: Packer) -> None:
        self.paths: list[tuple[str, bytes, int]] = []
        self._objects = objects
        self._packer = packer
        self._large: dict[bytes, Place] = {}

    def add(self, path: str, data: bytes) -> None:
        sha256 = hashlib.sha256(data).digest()
        if len(data) < PACKED_BELOW:
            self._packer.add(sha256, data)
        elif sha256 not in self._large:
            self._large[sha256] = Place(content_key(self._objects.put_if_absent(data).sha256), None)
        self.paths.append((path, sha256, len(data)))

    def add_file(self, path: str, local: Path) -> None:
        kept = self._objects.put_if_absent(local)
        sha256 = bytes.fromhex(kept.sha256)
        self._large[sha256] = Place(content_key(kept.sha256), None)
        self.paths.append((path, sha256, kept.size))

    def files(self, packed: dict[bytes, Place]) -> pl.DataFrame:
        """The manifest's rows, by path."""
        places = packed | self._large
        rows = [
            (path, sha256, size, "objects", places[sha256].key, None, places[sha256].offset)
            for path, sha256, size in sorted(self.paths)
        ]
        return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def spill(batches: Iterable[Batch | Rejected], folder: Path) -> tuple[dict[str, dict[str, Any]], Counter[str]]:
    """Write the files of all batches into a folder, as an import of uploads wants them. Returns their labels by path.

    Labels are those that the file's row has in `labels_json`; a file without has none. Raises ImportRefused if there are no
    files.
    """
    sorter = Sorter()
    paths: list[str] = []
    labels: dict[str, dict[str, Any]] = {}
    for batch in sorter.sorted(batches):
        for path, data in batch.files:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
            paths.append(path)
        labels |= _labels(batch.rows)
    if not paths:
        raise ImportRefused(f"It holds no files to upload: {told(sorter.reasons) or 'its rows come without bytes'}.")
    return {path: labels.get(path, {}) for path in sorted(paths)}, sorter.reasons


def _labels(rows: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Labels by the path of the row's file; what is no JSON object is none."""
    if rows.schema.get(LABELS) != pl.String or "path" not in rows.columns:
        return {}
    found = {}
    for path, text in rows.select("path", LABELS).drop_nulls().iter_rows():
        with contextlib.suppress(ValueError, RecursionError):
            told = json.loads(text)
            if isinstance(told, dict) and told:
                found[path] = told
    return found
