"""Stores the batches of another format: each content once, and the rows as one Parquet file."""

import hashlib
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from pipeline_assets.errors import ImportRefused, UnfitParent
from pipeline_assets.ingestion.media.media_types import UNKNOWN, extension_of, sniff
from pipeline_assets.labeling import label_json
from pipeline_assets.versioning.formats.incoming import LABELS, Batch, Rejected
from pipeline_assets.versioning.pin.manifest import SCHEMA, name_fault, path_fault
from resources.lake.spool import to_arrow
from resources.objects.packs import PACKED_BELOW, Packer, Place
from resources.objects.store import ObjectStore, content_key

ROWS, REJECTED = "rows.parquet", "rejected.parquet"
"""Files that an import adds: all rows, and the rejected items with their reasons."""
_HEX = re.compile(r"[0-9a-f]{64}")
_REJECTED_SCHEMA = pl.Schema({"source": pl.String, "reason": pl.String, "detail": pl.String, "rows": pl.Int64})
DETAIL_CHARACTERS = 500
MAX_REJECTED = 100_000
"""Limit of listed rejected items; all are counted."""


@dataclass
class StoredBatches:
    """The result of an import. files: a manifest's rows; reasons: number of rejected items by reason."""

    files: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SCHEMA))
    rows: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


def store_batches(batches: Iterable[Batch | Rejected], objects: ObjectStore) -> StoredBatches:
    """Store the batches of a reader. A row whose file differs from the one it names is rejected with it.

    Raises ImportRefused if nothing is left. Contents stored by then stay in the store for the next attempt.
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
        is_none = rows.is_begun and not sorter.reasons  # an export of no rows, which has its columns
        if not (rows.count or contents.paths or is_none):
            packer.close()
            raise ImportRefused(
                f"Nothing could be read of it: {counts_text(sorter.reasons) or 'it holds no rows and no files'}."
            )
        if rows.is_begun:
            contents.add_file(ROWS, rows.path)
        if sorter.rejected:
            rejected_path = Path(scratch) / REJECTED
            rejected_rows = [
                (rejected.source, rejected.reason, rejected.detail, rejected.count) for rejected in sorter.rejected
            ]
            pl.DataFrame(rejected_rows, schema=_REJECTED_SCHEMA, orient="row").write_parquet(rejected_path)
            contents.add_file(REJECTED, rejected_path)
        return StoredBatches(contents.files(packer.close()), rows.count, sorter.reasons)


def counts_text(reasons: Counter[str]) -> str:
    """The counts as text, largest first."""
    return ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())


@dataclass(frozen=True)
class Sorted:
    """A batch whose files have valid paths, and whose rows name them."""

    rows: pl.DataFrame
    files: list[tuple[str, bytes]]


class Sorter:
    """Separates what can be stored from what is rejected, with reasons. fault_of: why a path is invalid, or None."""

    def __init__(self, fault_of: Callable[[str], str | None] = name_fault) -> None:
        self.reasons: Counter[str] = Counter()
        self._fault_of = fault_of
        self.rejected: list[Rejected] = []
        self._sha256_by_path: dict[str, bytes] = {}
        self._folders: set[str] = set()
        self._schema: pl.Schema | None = None

    def sorted(self, batches: Iterable[Batch | Rejected]) -> Iterator[Sorted]:
        """The valid parts of the batches; every row has `sha256` and `path` of its first file, if any row has files."""
        for batch in batches:
            if isinstance(batch, Rejected):
                self._reject(batch)
                continue
            self._schema = self._schema or batch.rows.schema
            if batch.rows.schema != self._schema:
                rows = batch.rows.height
                self._reject(Rejected(batch.source, "schema", f"{rows:,} rows have other columns than those before", rows))
                continue
            yield self._sort(batch)

    def _sort(self, batch: Batch) -> Sorted:
        claims = batch.rows["sha256"].to_list() if batch.rows.schema.get("sha256") == pl.String else None
        first_files: dict[int, tuple[str, str]] = {}
        bad_rows: set[int] = set()
        good_files: list[tuple[str, bytes]] = []
        for file in batch.files or ():
            digest = hashlib.sha256(file.data)
            is_first = file.row is not None and file.row not in first_files
            claim = claims[file.row] if claims and file.row is not None and is_first else None
            path = file.path if file.path is not None else _path_of(digest.hexdigest(), file.data)
            fault = self._fault(path, digest.digest(), claim)
            if fault:
                self._reject(Rejected(f"{batch.source}: {path[:200]}", *fault))
                bad_rows |= {file.row} if is_first and file.row is not None else set()
                continue
            if path not in self._sha256_by_path:
                self._sha256_by_path[path] = digest.digest()
                self._folders.update(_parent_folders(path))
                good_files.append((path, file.data))
            if is_first and file.row is not None:
                first_files[file.row] = (path, digest.hexdigest())
        rows = batch.rows if batch.files is None else _with_file_names(batch.rows, first_files)
        return Sorted(rows.filter([at not in bad_rows for at in range(rows.height)]), good_files)

    def _fault(self, path: str, sha256: bytes, claim: Any) -> tuple[str, str] | None:
        unsafe = self._fault_of(path)
        if unsafe:
            return "unsafe_path", unsafe
        if path in (ROWS, REJECTED):
            return "reserved_path", "an import writes a file of this name itself"
        if isinstance(claim, str) and _HEX.fullmatch(claim) and claim != sha256.hex():
            return "sha256_differs", f"its row says {claim}, and its bytes have {sha256.hex()}"
        if self._sha256_by_path.get(path, sha256) != sha256:
            return "duplicate_path", "another content has this path already"
        if path in self._folders or any(folder in self._sha256_by_path for folder in _parent_folders(path)):
            return "duplicate_path", "it would be both a file and a folder"
        return None

    def _reject(self, rejected: Rejected) -> None:
        self.reasons[rejected.reason] += rejected.count
        if len(self.rejected) < MAX_REJECTED:
            self.rejected.append(replace(rejected, detail=rejected.detail[:DETAIL_CHARACTERS]))


def _path_of(sha256: str, data: bytes) -> str:
    """The path that a pinned table gives the files of its rows."""
    kind = sniff(data)
    return f"files/{sha256[:2]}/{sha256}{'' if kind == UNKNOWN else extension_of(kind)}"


def _parent_folders(path: str) -> list[str]:
    """All folders above a path."""
    return [str(folder) for folder in PurePosixPath(path).parents][:-1]


def _with_file_names(rows: pl.DataFrame, first_files: Mapping[int, tuple[str, str]]) -> pl.DataFrame:
    """Rows with the path and sha256 of their file; rows without a file keep the source's own values."""
    names = [first_files.get(at, (None, None)) for at in range(rows.height)]
    for name, values in zip(("path", "sha256"), zip(*names, strict=True) if names else ((), ()), strict=True):
        column = pl.Series(name, values, pl.String)
        existing = [pl.col(name)] if rows.schema.get(name) == pl.String else []
        rows = rows.with_columns(pl.coalesce(column, *existing).alias(name) if rows.height else column)
    return rows


class _Rows:
    """All rows, as one Parquet file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._writer: pq.ParquetWriter | None = None

    @property
    def is_begun(self) -> bool:
        return self._writer is not None

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
    """Stores files: small ones in packs, others as objects of their own."""

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
        stored = self._objects.put_if_absent(local)
        sha256 = bytes.fromhex(stored.sha256)
        self._large[sha256] = Place(content_key(stored.sha256), None)
        self.paths.append((path, sha256, stored.size))

    def files(self, packed: dict[bytes, Place]) -> pl.DataFrame:
        """The manifest's rows, by path."""
        places = packed | self._large
        rows = [
            (path, sha256, size, "objects", places[sha256].key, None, places[sha256].offset)
            for path, sha256, size in sorted(self.paths)
        ]
        return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def write_files(batches: Iterable[Batch | Rejected], folder: Path) -> tuple[dict[str, dict[str, Any]], Counter[str]]:
    """Write the files of all batches into a folder for an import of uploads. Returns their labels by path.

    Labels come from `labels_json` of the file's row. Raises ImportRefused if there are no files.
    """
    sorter = Sorter(path_fault)  # a bucket's keys may have names that Windows can't hold
    paths: list[str] = []
    labels: dict[str, dict[str, Any]] = {}
    for batch in sorter.sorted(batches):
        for path, data in batch.files:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
            paths.append(path)
        labels |= _labels(batch.rows, sorter.reasons)
    if not paths:
        raise ImportRefused(f"It holds no files to upload: {counts_text(sorter.reasons) or 'its rows come without bytes'}.")
    return {path: labels.get(path, {}) for path in sorted(paths)}, sorter.reasons


def _labels(rows: pl.DataFrame, reasons: Counter[str]) -> dict[str, dict[str, Any]]:
    """Labels by the path of the row's file. Invalid ones are counted in `reasons` and left out."""
    if rows.schema.get(LABELS) != pl.String or "path" not in rows.columns:
        return {}
    labels_by_path = {}
    for path, text in rows.select("path", LABELS).drop_nulls().iter_rows():
        try:
            if labels := label_json.parse(text):
                labels_by_path[path] = labels
        except UnfitParent as unfit:
            reasons[unfit.reason] += 1
    return labels_by_path
