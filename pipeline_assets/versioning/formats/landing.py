"""Fills another tool's object store with the verified contents of a pinned set."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import polars as pl

from pipeline_assets.errors import ExportRefused
from pipeline_assets.runtime.transfer import Digests, digests_of_bytes, digests_of_file, spool
from pipeline_assets.versioning.pin.contents import Pinned
from resources.errors import ObjectError
from resources.objects.store import ObjectStore

IN_MEMORY_BELOW = 64 * 1024**2
"""Smaller files pass through memory; larger ones through a file."""

Address = Callable[[Digests], str]
"""The key of a content in the other tool's store."""


@dataclass
class Landing:
    """A store with the keys and sizes of its objects, which are not written again. sent, sent_bytes: newly written."""

    store: ObjectStore
    address: Address
    scratch: Path
    existing_sizes: dict[str, int]
    sent: int = 0
    sent_bytes: int = 0
    folder: Path | None = field(init=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.store.url)
        self.folder = Path(unquote(parts.path)) if parts.scheme == "file" else None

    def land(self, pinned: Pinned, files: pl.DataFrame) -> dict[str, Digests]:
        """Write each file's content; the digests by path. Raises ExportRefused for a missing or damaged one."""
        contents = files.unique("sha256", keep="first", maintain_order=True)
        digests_by_sha256: dict[bytes, Digests] = {}
        small = contents.filter(pl.col("size_bytes") < IN_MEMORY_BELOW)
        for _, error in self.store.put_many(self._unsent(pinned, small, digests_by_sha256)):
            if error:
                raise error
        for row in contents.filter(pl.col("size_bytes") >= IN_MEMORY_BELOW).iter_rows(named=True):
            digests_by_sha256[row["sha256"]] = self._land_large(pinned, row)
        return {path: digests_by_sha256[sha256] for path, sha256 in files.select("path", "sha256").iter_rows()}

    def take(self, path: Path) -> Digests:
        """Move a file of the scratch folder into the store."""
        digests = digests_of_file(path)
        self._place(path, digests)
        return digests

    def _unsent(
        self, pinned: Pinned, files: pl.DataFrame, digests_by_sha256: dict[bytes, Digests]
    ) -> Iterator[tuple[str, bytes]]:
        for row, data in pinned.read(files):
            if isinstance(data, ObjectError):
                raise export_error(row, data)
            digests = digests_by_sha256[row["sha256"]] = digests_of_bytes(data)
            if self._wants(digests):
                yield self.address(digests), data

    def _land_large(self, pinned: Pinned, row: Mapping[str, Any]) -> Digests:
        spool_path = self.scratch / row["sha256"].hex()
        outcome = _spool(pinned, row, spool_path)
        if isinstance(outcome, ExportRefused):
            attempts = (_spool(pinned, {**place, "path": row["path"]}, spool_path) for place in pinned.others_of(row))
            outcome = next((attempt for attempt in attempts if isinstance(attempt, Digests)), outcome)
        if isinstance(outcome, ExportRefused):
            raise outcome
        self._place(spool_path, outcome)
        return outcome

    def _place(self, path: Path, digests: Digests) -> None:
        if not self._wants(digests):
            path.unlink()
        elif self.folder:
            target = self.folder / self.address(digests)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
        else:
            self.store.put(self.address(digests), path)
            path.unlink()

    def _wants(self, digests: Digests) -> bool:
        key = self.address(digests)
        if self.existing_sizes.get(key) == digests.size_bytes:
            return False
        self.existing_sizes[key] = digests.size_bytes
        self.sent += 1
        self.sent_bytes += digests.size_bytes
        return True


def _spool(pinned: Pinned, row: Mapping[str, Any], path: Path) -> Digests | ExportRefused:
    """Copy a large content from its place into a file; its digests, or the error."""
    try:
        store = pinned.stores[row["store"]]
        digests = spool(store, row["key"], row["version_id"], row["size_bytes"], path, row["offset"] or 0)
    except ObjectError as error:
        return export_error(row, error)
    if digests.sha256 == row["sha256"].hex():
        return digests
    return ExportRefused(f"{row['path']} is damaged in the store (its sha256 is {digests.sha256}): restore {row['key']}.")


@contextmanager
def landing(store: ObjectStore, address: Address, prefix: str = "", scratch: Path | None = None) -> Iterator[Landing]:
    """A landing with its own scratch folder, inside `scratch` if given. prefix: of the store's existing objects."""
    if scratch:
        scratch.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="darkroom-", dir=scratch))
    try:
        yield Landing(store, address, folder, {info.key: info.size for info in store.list(prefix)})
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def rows_file(pinned: Pinned, scratch: Path) -> Path | None:
    """The rows of a pinned table as ASSET.parquet in the scratch folder; None for a pinned folder."""
    asset = pinned.reference.asset
    if asset is None:
        return None
    path = scratch / f"{asset}.parquet"
    pinned.rows().sink_parquet(path, compression="zstd")
    return path


def export_error(row: Mapping[str, Any], error: ObjectError) -> ExportRefused:
    """The error for a file whose bytes can't be read."""
    return ExportRefused(f"{row['path']} can't be exported: {error}")
