"""Lists a folder's files and hashes their contents; only files changed since the last time are read."""

import hashlib
import os
import stat
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from pipeline_assets.errors import PinRefused
from pipeline_assets.runtime.cores import ahead
from pipeline_assets.versioning.pin.manifest import name_fault
from resources.files import replacing

KNOWN = pl.Schema(
    {
        "path": pl.String,
        "size_bytes": pl.Int64,
        "modified_ns": pl.Int64,
        "changed_ns": pl.Int64,
        "inode": pl.Int64,
        "sha256": pl.Binary,
    }
)
STAMP = KNOWN.names()[:-1]
"""Columns that identify an unchanged file: to keep size and times, a writer would have to set the clock back."""
FILES = pl.Schema([(name, KNOWN[name]) for name in STAMP])
SETTLED_NS = 2 * 10**9
"""A file changed more recently than this before the scan may change again within one tick of its clock."""
READERS = 4
FILES_A_TASK = 64


@dataclass(frozen=True)
class Folder:
    """A folder's regular files, sorted by path. left_out: paths of links, sockets and other special files."""

    root: Path
    files: pl.DataFrame
    left_out: tuple[str, ...]
    scanned_ns: int


@dataclass(frozen=True)
class Content:
    """A file's content. data: None for a file above the size limit, which is hashed only."""

    path: str
    sha256: bytes
    data: bytes | None


def scan(root: Path) -> Folder:
    """List the files of a folder and its subfolders.

    Raises PinRefused if it is no folder, or has a file name that some systems can't hold.
    """
    if not root.is_dir():
        raise PinRefused(f"{root} is not a folder: name one whose files are to be pinned.")
    scanned_ns = time.time_ns()
    rows: list[tuple[str, int, int, int, int]] = []
    left_out: list[str] = []
    folders = [""]
    while folders:
        prefix = folders.pop()
        with os.scandir(root / prefix) as entries:
            for entry in entries:
                path = f"{prefix}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != ".git":
                        folders.append(f"{path}/")
                    continue
                facts = entry.stat(follow_symlinks=False)
                if not stat.S_ISREG(facts.st_mode):
                    left_out.append(path)
                elif fault := name_fault(path):
                    raise PinRefused(f"{os.fsencode(path)!r} can't be part of a data set: {fault}. Rename it.")
                else:
                    rows.append((path, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino))
    files = pl.DataFrame(rows, schema=FILES, orient="row").sort("path")
    return Folder(root, files, tuple(sorted(left_out)), scanned_ns)


def with_known(folder: Folder, memory: Path) -> pl.DataFrame:
    """The files with the sha256 that `remember` stored in `memory`; null for new and changed files."""
    try:
        remembered = pl.read_parquet(memory, schema=KNOWN)
    except (OSError, PolarsError):
        remembered = pl.DataFrame(schema=KNOWN)  # the memory is only a cache
    return folder.files.join(remembered.unique(STAMP), on=STAMP, how="left", maintain_order="left")


def remember(folder: Folder, files: pl.DataFrame, memory: Path) -> None:
    """Store the files' sha256 for `with_known`, except those of files changed so recently that they may change again."""
    settled = folder.scanned_ns - SETTLED_NS
    memory.parent.mkdir(parents=True, exist_ok=True)
    lately = pl.max_horizontal("modified_ns", "changed_ns") >= settled
    with replacing(memory) as partial_path:
        files.select(KNOWN.names()).filter(~lately).write_parquet(partial_path, compression="lz4")


def contents(root: Path, files: pl.DataFrame, in_memory_below: int) -> Iterator[Content]:
    """Read files in order, some ahead, on threads. Files of `in_memory_below` bytes or more are hashed only.

    Raises PinRefused for a file that changes or vanishes while it is read.
    """
    rows = files.select(STAMP).rows()
    with ThreadPoolExecutor(READERS, "read") as pool:

        def some(start: int) -> list[Content]:
            return _read(root, rows[start : start + FILES_A_TASK], in_memory_below)

        for part in ahead(pool, some, range(0, len(rows), FILES_A_TASK), READERS + 1):
            yield from part


def _read(root: Path, rows: Sequence[tuple[str, int, int, int, int]], in_memory_below: int) -> list[Content]:
    return [_read_one(root, row, in_memory_below) for row in rows]


def _read_one(root: Path, row: tuple[str, int, int, int, int], in_memory_below: int) -> Content:
    path, size, *stamp = row
    try:
        with (root / path).open("rb", buffering=0) as file:
            if size < in_memory_below:
                data = file.read(size + 1)
                sha256 = hashlib.sha256(data).digest()
            else:
                data, sha256 = None, hashlib.file_digest(file, "sha256").digest()
            facts = os.fstat(file.fileno())
    except OSError as error:
        raise PinRefused(f"{root / path} can't be read ({error.strerror}): nothing was pinned.") from None
    is_changed = [facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino] != [size, *stamp]
    if is_changed or (data and len(data) != size):
        raise PinRefused(f"{root / path} changed while it was read: let its writer finish, and pin again.")
    return Content(path, sha256, data)
