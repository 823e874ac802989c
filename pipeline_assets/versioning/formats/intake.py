"""An import's contents on their way into the store, each once: from a folder of another tool's objects, or bytes at hand."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import polars as pl

from pipeline_assets.errors import ImportRefused
from pipeline_assets.transfer import Digests, digests_of_file, put_hashed
from pipeline_assets.versioning import folder as folders
from pipeline_assets.versioning.manifest import path_fault
from pipeline_assets.versioning.packs import PACKED_BELOW, Packer, Place
from pipeline_assets.versioning.pins import PinnedFolder, manifest_rows, places_of
from resources.object_io import content_key
from resources.object_store import ObjectStore


class Intake:
    """Takes contents into the store: small ones in packs, others as objects. before: a manifest whose contents it has."""

    def __init__(self, objects: ObjectStore, before: pl.DataFrame) -> None:
        self._objects = objects
        self._places = places_of(before)
        self._packer = Packer(objects)
        self.read = self.new = self.new_bytes = 0

    def has(self, sha256: str) -> bool:
        """Whether this content needs no reading."""
        return bytes.fromhex(sha256) in self._places

    def take(self, digests: Digests, content: bytes | Path) -> None:
        """Keep a content of these digests, in memory or as a file that stays as it is until this returns."""
        self.read += 1
        sha256 = bytes.fromhex(digests.sha256)
        if sha256 in self._places:
            return
        if isinstance(content, bytes) and len(content) < PACKED_BELOW:
            self._packer.add(sha256, content)
        elif isinstance(content, bytes):
            self._places[sha256] = Place(content_key(self._objects.put_if_absent(content).sha256), None)
        else:
            put_hashed(self._objects, digests.sha256, content, digests.size_bytes)
            self._places[sha256] = Place(content_key(digests.sha256), None)
        self.new += 1
        self.new_bytes += digests.size_bytes

    def close(self, files: Iterable[tuple[str, str, int]]) -> PinnedFolder:
        """Send what is left. Returns the manifest of files: path, sha256 in hex, size in bytes."""
        self._places |= self._packer.close()
        rows = [(path, bytes.fromhex(sha256), size) for path, sha256, size in files]
        schema = {"path": pl.String, "sha256": pl.Binary, "size_bytes": pl.Int64}
        found = pl.DataFrame(rows, schema=schema, orient="row").sort("path")
        return PinnedFolder(manifest_rows(found, self._places), self.read, self.new, self.new_bytes, ())


def local_contents(
    root: Path, keys: Iterable[str], digests: Callable[[bytes, bytes], Digests]
) -> Iterator[tuple[str, Digests, bytes | Path]]:
    """The files of these keys below a folder, each with its digests: small ones held, large ones as their path.

    digests: makes them of a small content's sha256 and bytes. A key that is no file is left out. Raises PinRefused for a
    file that changes or vanishes while it is read.
    """
    stamps = [stamp for key in keys if (stamp := _stamp(root, key))]
    files = pl.DataFrame(stamps, schema=folders.FILES, orient="row")
    small = files.filter(pl.col("size_bytes") < PACKED_BELOW)
    for content in folders.contents(root, small, PACKED_BELOW):
        data = content.data or b""
        yield content.path, digests(content.sha256, data), data
    for key in files.filter(pl.col("size_bytes") >= PACKED_BELOW)["path"]:
        yield key, digests_of_file(root / key), root / key


def _stamp(root: Path, key: str) -> tuple[str, int, int, int, int] | None:
    try:
        facts = (root / key).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return key, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino


def below(paths: Iterable[str], folder: str, source: str) -> dict[str, str]:
    """The paths that lie in `folder` (all if it is empty), each with what it is called there.

    Raises ImportRefused for a path that no data set may have, and if none is left.
    """
    prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
    found = {path: path.removeprefix(prefix) for path in paths if path.startswith(prefix)}
    for path in found.values():
        if fault := path_fault(path):
            raise ImportRefused(f"{source} names {os.fsencode(path)[:200]!r}, which can't be part of a data set: {fault}.")
    if not found:
        told = f" below {folder}" if folder else ""
        raise ImportRefused(f"{source} names no files{told}: there is nothing to import.")
    return found


def refuse_missing(missing: list[str], total: int, hint: str) -> None:
    """Raise ImportRefused if any content is missing. missing: paths, with why if that is not plain absence."""
    if missing:
        raise ImportRefused(
            f"The contents of {len(missing):,} of {total:,} files are not there, first {missing[0]}. {hint} "
            "Nothing was pinned."
        )
