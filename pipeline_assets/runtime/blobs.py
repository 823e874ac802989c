"""Contents as bytes in memory or, if they are large, as files."""

import os
import tempfile
import weakref
from pathlib import Path, PosixPath

MAX_IN_MEMORY_BYTES = 64 * 1024**2
"""Larger contents are kept in a file."""
HEAD_BYTES = 4_096
_OPEN_FILES = Path("/proc/self/fd")


class TemporaryPath(PosixPath):
    """The path of a temporary file, which is deleted with this object or at the end of the process."""


def temporary_path() -> TemporaryPath:
    """Create an empty file in `TMPDIR`, for this process alone.

    On Linux the file has no name, so that a kill leaves nothing behind: the path is that of the open descriptor.
    """
    descriptor, name = tempfile.mkstemp(prefix="darkroom-")
    if _OPEN_FILES.is_dir():
        Path(name).unlink()
        path = TemporaryPath(_OPEN_FILES / str(descriptor))
        weakref.finalize(path, os.close, descriptor)
    else:
        os.close(descriptor)
        path = TemporaryPath(name)
        weakref.finalize(path, Path(name).unlink, missing_ok=True)
    return path


def read_or_path(path: Path) -> bytes | Path:
    """A file's bytes, or its path if it is larger than MAX_IN_MEMORY_BYTES."""
    return path if path.stat().st_size > MAX_IN_MEMORY_BYTES else path.read_bytes()


def bytes_of(data: bytes | Path) -> bytes:
    """All bytes of a content."""
    return data if isinstance(data, bytes) else data.read_bytes()


def size_of(data: bytes | Path) -> int:
    """The size of a content in bytes."""
    return len(data) if isinstance(data, bytes) else data.stat().st_size


def head_of(data: bytes | Path) -> bytes:
    """The first HEAD_BYTES of a content, which identify its file type."""
    if isinstance(data, bytes):
        return data[:HEAD_BYTES]
    with data.open("rb") as file:
        return file.read(HEAD_BYTES)
