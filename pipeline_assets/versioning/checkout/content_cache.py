"""A cache of contents on the local disk, by sha256, for later checkouts: HOME/cache/contents/ab/cdef...

An entry is hashed each time it is used; a damaged one is removed. Entries are read-only (0444), since checkouts by hard
links share them.
"""

import contextlib
import hashlib
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
DAY_S = 86_400


@dataclass(frozen=True)
class Pruned:
    """Counts and sizes of the removed and the remaining entries."""

    removed: int
    removed_bytes: int
    left: int
    left_bytes: int


class ContentCache:
    """A folder of contents. Several processes may use it at once."""

    def __init__(self, root: Path) -> None:
        self._root = root.as_posix()
        self.damaged = 0
        """Number of damaged entries that this object removed."""

    @property
    def root(self) -> Path:
        """The folder, created if missing, readable by its owner only."""
        folder = Path(self._root)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def path(self, sha256: bytes) -> str:
        """The path of a content, whether or not it is cached."""
        name = sha256.hex()
        return f"{self._root}/{name[:2]}/{name[2:]}"

    def read(self, sha256: bytes) -> bytes | None:
        """A verified content, whole in memory; None if it is not cached. For small contents."""
        try:
            descriptor = os.open(self.path(sha256), _READ)
        except OSError:
            return None
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            data = file.read()
        if hashlib.sha256(data).digest() == sha256:
            return data
        self._drop(sha256)
        return None

    def has(self, sha256: bytes) -> bool:
        """Whether a content is cached and intact; it is read in pieces to verify it."""
        try:
            descriptor = os.open(self.path(sha256), _READ)
        except OSError:
            return False
        with os.fdopen(descriptor, "rb") as file:
            if hashlib.file_digest(file, "sha256").digest() == sha256:
                return True
        self._drop(sha256)
        return False

    def keep(self, part: str, folder: int, sha256: bytes) -> None:
        """Move a finished, verified file from a folder (a descriptor) into the cache; from another filesystem, copy it."""
        path = self.path(sha256)
        try:
            self._moved(part, folder, path)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120  one of many thousands
            self._moved(part, folder, path)

    def write(self, data: bytes, sha256: bytes) -> None:
        """Add a small, verified content."""
        self._write(self.path(sha256), data)

    def prune(self, unused_days: float) -> Pruned:
        """Remove entries unread for so many days that no checkout shares, and leftovers of killed processes."""
        unused_since = time.time() - unused_days * DAY_S
        counts = [0, 0, 0, 0]
        for folder, _, names in os.walk(self.root):
            for name in names:
                path = f"{folder}/{name}"
                with contextlib.suppress(FileNotFoundError):  # another process prunes too
                    facts = os.stat(path, follow_symlinks=False)  # noqa: PTH116
                    is_old = facts.st_nlink == 1 and max(facts.st_atime, facts.st_mtime) < unused_since
                    if is_old:
                        os.unlink(path)  # noqa: PTH108
                    counts[0 if is_old else 2] += 1
                    counts[1 if is_old else 3] += facts.st_size
        return Pruned(*counts)

    def _moved(self, part: str, folder: int, path: str) -> None:
        try:
            os.rename(part, path, src_dir_fd=folder)
        except OSError as error:
            if isinstance(error, FileNotFoundError) or not os.path.isdir(os.path.dirname(path)):  # noqa: PTH112, PTH120
                raise
            with os.fdopen(os.open(part, _READ, dir_fd=folder), "rb") as file:
                self._write(path, file)
            os.unlink(part, dir_fd=folder)

    def _write(self, path: str, data: bytes | BinaryIO) -> None:
        partial_path = f"{path}.{os.getpid()}.{time.monotonic_ns()}.part"
        try:
            descriptor = os.open(partial_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120
            descriptor = os.open(partial_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
        try:
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                if isinstance(data, bytes):
                    file.write(data)
                else:
                    shutil.copyfileobj(data, file, 8 * 1024**2)
            os.rename(partial_path, path)  # noqa: PTH104
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(partial_path)  # noqa: PTH108

    def _drop(self, sha256: bytes) -> None:
        self.damaged += 1
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(sha256))  # noqa: PTH108
