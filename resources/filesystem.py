"""A folder on the local disk: safe paths below it, and a check for free space before writing.

No `from __future__ import annotations` here: Dagster reads resource annotations at run time.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from pydantic import Field

from resources.errors import NoSpace, PathEscapes, is_full


class Filesystem(dg.ConfigurableResource):  # type: ignore[type-arg]
    """A folder on the local disk (preferably NVMe), for staged training sets, caches and compiled models."""

    root: str = Field(description="Folder that holds everything this resource writes; created when first needed.")
    reserve_bytes: int = Field(
        default=512 * 1024**2,
        ge=0,
        description="Free space in bytes to leave on the disk whatever is written.",
    )

    @property
    def folder(self) -> Path:
        """The root, absolute, with symbolic links resolved; created if missing, readable by its owner only."""
        folder = Path(self.root).expanduser()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder.resolve()

    def path(self, *parts: str) -> Path:
        """A path below the root, which need not exist; its parent folder is created.

        Raises PathEscapes for absolute parts, `..`, NUL, or a symbolic link that leads out of the root.
        """
        folder = self.folder
        if any("\0" in part for part in parts):
            raise PathEscapes(f"A path below {folder} contains a NUL byte; rename it.")
        path = folder.joinpath(*parts).resolve()
        if path == folder or not path.is_relative_to(folder):
            raise PathEscapes(f"{'/'.join(parts)!r} does not stay below {folder}; use a relative path without '..'.")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def free_bytes(self) -> int:
        """Bytes that may still be written: free bytes on the root's disk minus `reserve_bytes`, at least 0."""
        return max(0, shutil.disk_usage(self.folder).free - self.reserve_bytes)

    def require_free(self, needed_bytes: int) -> None:
        """Raise NoSpace with the missing bytes if `needed_bytes` do not fit without using the reserve."""
        free = self.free_bytes()
        if needed_bytes > free:
            raise NoSpace(
                f"{self.folder} needs {needed_bytes / 1e9:.2f} GB and has {free / 1e9:.2f} GB "
                f"({self.reserve_bytes / 1e9:.2f} GB are kept in reserve): {(needed_bytes - free) / 1e9:.2f} GB are "
                "missing. Free some, lower the number of stagings kept, or put this folder on a larger disk."
            )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Raise NoSpace if a write in this block finds the disk, its quota or the process's limit on file size full."""
        try:
            yield
        except OSError as error:
            if not is_full(error):
                raise
            raise NoSpace(
                f"{self.folder} is full ({os.strerror(error.errno or 0)}): something else took its room. Free some, or put "
                "this folder on a larger disk, and run again: what is done is kept."
            ) from error
