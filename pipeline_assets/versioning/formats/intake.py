"""Stores the contents of an import, each once: from a folder of another tool's objects, or from memory."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import polars as pl

from pipeline_assets.errors import ImportRefused
from pipeline_assets.runtime.transfer import Digests, digests_of_file, put_hashed
from pipeline_assets.versioning.formats.foreign_files import facts_of
from pipeline_assets.versioning.pin import folder as folders
from pipeline_assets.versioning.pin.manifest import path_fault
from pipeline_assets.versioning.pin.pins import PinnedFolder, manifest_rows, places_of
from resources.objects.object_info import content_key
from resources.objects.packs import PACKED_BELOW, Packer, Place
from resources.objects.store import ObjectStore


class Intake:
    """Takes contents into the store: small ones in packs, others as objects.

    previous: a manifest whose contents the store may have.
    """

    def __init__(self, objects: ObjectStore, previous: pl.DataFrame) -> None:
        self._objects = objects
        self._places = places_of(previous, objects)
        self._packer = Packer(objects)
        self.read = self.new = self.new_bytes = 0

    def has(self, sha256: str) -> bool:
        """Whether the store has this content already."""
        return bytes.fromhex(sha256) in self._places

    def take(self, digests: Digests, content: bytes | Path) -> None:
        """Store a content of these digests, in memory or as a file that must not change until this returns."""
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
        """Send the last pack. Returns the manifest. files: path, sha256 in hex, size in bytes."""
        self._places |= self._packer.close()
        rows = [(path, bytes.fromhex(sha256), size) for path, sha256, size in files]
        schema = {"path": pl.String, "sha256": pl.Binary, "size_bytes": pl.Int64}
        frame = pl.DataFrame(rows, schema=schema, orient="row").sort("path")
        return PinnedFolder(manifest_rows(frame, self._places), self.read, self.new, self.new_bytes, ())


def local_contents(
    root: Path, keys: Iterable[str], digests: Callable[[bytes, bytes], Digests]
) -> Iterator[tuple[str, Digests, bytes | Path]]:
    """The files of these keys below a folder, each with its digests: small ones in memory, large ones as paths.

    digests: computes them from a small content's sha256 and bytes. A key that is no file, or lies behind a link, is left
    out: else a repository could import any file of yours whose hash it knows. Raises PinRefused for a
    file that changes or vanishes while it is read.
    """
    plain: set[str] = set()
    stamps = [
        (key, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino)
        for key in keys
        if (facts := facts_of(root, key, plain))
    ]
    files = pl.DataFrame(stamps, schema=folders.FILES, orient="row")
    small = files.filter(pl.col("size_bytes") < PACKED_BELOW)
    for content in folders.contents(root, small, PACKED_BELOW):
        data = content.data or b""
        yield content.path, digests(content.sha256, data), data
    for key in files.filter(pl.col("size_bytes") >= PACKED_BELOW)["path"]:
        yield key, digests_of_file(root / key), root / key


def paths_below(paths: Iterable[str], folder: str, source: str) -> dict[str, str]:
    """The paths in `folder` (all if it is empty), each with its path relative to it.

    Raises ImportRefused for an invalid path, and if there is none.
    """
    prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
    names = {path: path.removeprefix(prefix) for path in paths if path.startswith(prefix)}
    for path in names.values():
        if fault := path_fault(path):
            raise ImportRefused(f"{source} names {os.fsencode(path)[:200]!r}, which can't be part of a data set: {fault}.")
    if not names:
        place = f" below {folder}" if folder else ""
        raise ImportRefused(f"{source} names no files{place}: there is nothing to import.")
    return names


def refuse_missing(missing: list[str], total: int, hint: str) -> None:
    """Raise ImportRefused if any content is missing. missing: paths, with the reason if they are not just absent."""
    if missing:
        raise ImportRefused(
            f"The contents of {len(missing):,} of {total:,} files are missing, first {missing[0]}. {hint} "
            "Nothing was pinned."
        )
