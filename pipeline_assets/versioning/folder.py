"""A folder's files: which there are, and their contents, of which those are read that have changed since the last time."""

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

from pipeline_assets.cores import ahead
from pipeline_assets.errors import PinRefused
from pipeline_assets.versioning.manifest import path_fault

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
"""What tells that a file is as it was: a writer that keeps size and times would have to set the clock back."""
FILES = pl.Schema([(name, KNOWN[name]) for name in STAMP])
SETTLED_NS = 2 * 10**9
"""A file that changed less than this before it was read may change again within one tick of its clock."""
READERS = 4
FILES_A_TASK = 64


@dataclass(frozen=True)
class Folder:
    """A folder's regular files, sorted by path. left_out: links, sockets and the like, which are no data."""

    root: Path
    files: pl.DataFrame
    left_out: tuple[str, ...]
    scanned_ns: int


@dataclass(frozen=True)
class Content:
    """A file's content as read. data: None for a file above the limit, which is not held."""

    path: str
    sha256: bytes
    data: bytes | None


def scan(root: Path) -> Folder:
    """What files a folder and all below it have.

    Raises PinRefused if it is no folder, or has a name that no other system could hold.
    """
    if not root.is_dir():
        raise PinRefused(f"{root} is not a folder: name one whose files are to be pinned.")
    scanned_ns = time.time_ns()
    rows: list[tuple[str, int, int, int, int]] = []
    left_out: list[str] = []
    pending = [""]
    while pending:
        inside = pending.pop()
        with os.scandir(root / inside) as entries:
            for entry in entries:
                path = f"{inside}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != ".git":
                        pending.append(f"{path}/")
                    continue
                facts = entry.stat(follow_symlinks=False)
                if not stat.S_ISREG(facts.st_mode):
                    left_out.append(path)
                elif fault := path_fault(path):
                    raise PinRefused(f"{os.fsencode(path)!r} can't be part of a data set: {fault}. Rename it.")
                else:
                    rows.append((path, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino))
    files = pl.DataFrame(rows, schema=FILES, orient="row").sort("path")
    return Folder(root, files, tuple(sorted(left_out)), scanned_ns)


def with_known(folder: Folder, memory: Path) -> pl.DataFrame:
    """The files with the sha256 that `remember` wrote into this file; null where one is new or has changed."""
    try:
        known = pl.read_parquet(memory, schema=KNOWN)
    except (OSError, PolarsError):
        known = pl.DataFrame(schema=KNOWN)  # it only saves reading
    return folder.files.join(known.unique(STAMP), on=STAMP, how="left", maintain_order="left")


def remember(folder: Folder, files: pl.DataFrame, memory: Path) -> None:
    """Write down the files' sha256 for `with_known`, but for those that changed so lately that they may again."""
    settled = folder.scanned_ns - SETTLED_NS
    memory.parent.mkdir(parents=True, exist_ok=True)
    beside = memory.with_suffix(f".{os.getpid()}.part")
    lately = pl.max_horizontal("modified_ns", "changed_ns") >= settled
    files.select(KNOWN.names()).filter(~lately).write_parquet(beside, compression="lz4")
    beside.replace(memory)


def contents(root: Path, files: pl.DataFrame, held_below: int) -> Iterator[Content]:
    """Read files, in order, some ahead on threads. Those of `held_below` bytes or more are hashed and not held.

    Raises PinRefused for a file that changes or vanishes while it is read.
    """
    rows = files.select(STAMP).rows()
    with ThreadPoolExecutor(READERS, "read") as pool:

        def some(start: int) -> list[Content]:
            return _read(root, rows[start : start + FILES_A_TASK], held_below)

        for found in ahead(pool, some, range(0, len(rows), FILES_A_TASK), READERS + 1):
            yield from found


def _read(root: Path, rows: Sequence[tuple[str, int, int, int, int]], held_below: int) -> list[Content]:
    return [_read_one(root, row, held_below) for row in rows]


def _read_one(root: Path, row: tuple[str, int, int, int, int], held_below: int) -> Content:
    path, size, *stamp = row
    try:
        with (root / path).open("rb", buffering=0) as file:
            if size < held_below:
                data = file.read(size + 1)
                sha256 = hashlib.sha256(data).digest()
            else:
                data, sha256 = None, hashlib.file_digest(file, "sha256").digest()
            now = os.fstat(file.fileno())
    except OSError as error:
        raise PinRefused(f"{root / path} can't be read ({error.strerror}): nothing was pinned.") from None
    if [now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino] != [size, *stamp] or (data and len(data) != size):
        raise PinRefused(f"{root / path} changed while it was read: let its writer finish, and pin again.")
    return Content(path, sha256, data)
