"""Where an export's contents land: another tool's object store, filled with contents of a pinned set, each verified."""

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
from pipeline_assets.transfer import Digests, digests_of_bytes, digests_of_file, spool
from pipeline_assets.versioning.contents import Pinned
from resources.errors import ObjectError
from resources.object_store import ObjectStore

HELD_BELOW = 64 * 1024**2
"""Smaller files pass through memory; larger ones through a file, in bytes."""

Address = Callable[[Digests], str]
"""The key under which the other tool looks for a content."""


@dataclass
class Landing:
    """A store with the keys and sizes of what it held already, which is not written again. sent, sent_bytes: what was."""

    store: ObjectStore
    address: Address
    scratch: Path
    there: dict[str, int]
    sent: int = 0
    sent_bytes: int = 0
    folder: Path | None = field(init=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.store.url)
        self.folder = Path(unquote(parts.path)) if parts.scheme == "file" else None

    def land(self, pinned: Pinned, files: pl.DataFrame) -> dict[str, Digests]:
        """Write each file's content; the digests by path. Raises ExportRefused for one that can't be had or is damaged."""
        once = files.unique("sha256", keep="first", maintain_order=True)
        found: dict[bytes, Digests] = {}
        small = once.filter(pl.col("size_bytes") < HELD_BELOW)
        for _, error in self.store.put_many(self._missing(pinned, small, found)):
            if error:
                raise error
        for row in once.filter(pl.col("size_bytes") >= HELD_BELOW).iter_rows(named=True):
            found[row["sha256"]] = self._land_large(pinned, row)
        return {path: found[sha256] for path, sha256 in files.select("path", "sha256").iter_rows()}

    def take(self, path: Path) -> Digests:
        """Move a file of the scratch folder to where its content belongs."""
        digests = digests_of_file(path)
        self._place(path, digests)
        return digests

    def _missing(self, pinned: Pinned, files: pl.DataFrame, found: dict[bytes, Digests]) -> Iterator[tuple[str, bytes]]:
        for row, data in pinned.read(files):
            if isinstance(data, ObjectError):
                raise refused(row, data)
            digests = found[row["sha256"]] = digests_of_bytes(data)
            if self._wants(digests):
                yield self.address(digests), data

    def _land_large(self, pinned: Pinned, row: Mapping[str, Any]) -> Digests:
        beside = self.scratch / row["sha256"].hex()
        try:
            store = pinned.stores[row["store"]]
            digests = spool(store, row["key"], row["version_id"], row["size_bytes"], beside, row["offset"] or 0)
        except ObjectError as error:
            raise refused(row, error) from None
        if digests.sha256 != row["sha256"].hex():
            raise ExportRefused(
                f"{row['path']} is damaged in the store (its sha256 is {digests.sha256}): restore {row['key']}."
            )
        self._place(beside, digests)
        return digests

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
        if self.there.get(key) == digests.size_bytes:
            return False
        self.there[key] = digests.size_bytes
        self.sent += 1
        self.sent_bytes += digests.size_bytes
        return True


@contextmanager
def landing(store: ObjectStore, address: Address, prefix: str = "", scratch: Path | None = None) -> Iterator[Landing]:
    """A landing with a scratch folder of its own, inside `scratch` if named. prefix: below it lies what is there."""
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


def refused(row: Mapping[str, Any], error: ObjectError) -> ExportRefused:
    """The error for a file whose bytes can't be had."""
    return ExportRefused(f"{row['path']} can't be exported: {error}")
