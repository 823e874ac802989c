"""A content is bytes, or a file that holds them if they are many."""

import hashlib
import os
import tempfile
import weakref
from pathlib import Path, PosixPath

HELD_BYTES = 64 * 1024**2
"""What is larger is in a file, not in memory."""
HEAD_BYTES = 4_096
_OPEN_FILES = Path("/proc/self/fd")


class TemporaryPath(PosixPath):
    """The path of a temporary file, which is gone when nobody holds this object any more, or the process ends."""


def temporary_path() -> TemporaryPath:
    """A new, empty file in `TMPDIR`, for this process alone.

    On Linux it has no name there, so that no kill leaves it behind: the path is that of the open file.
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


def held(path: Path) -> bytes | Path:
    """A file's bytes, or the path itself if they are too many to be held."""
    return path if path.stat().st_size > HELD_BYTES else path.read_bytes()


def bytes_of(data: bytes | Path) -> bytes:
    """All of them."""
    return data if isinstance(data, bytes) else data.read_bytes()


def size_of(data: bytes | Path) -> int:
    """How many bytes."""
    return len(data) if isinstance(data, bytes) else data.stat().st_size


def head_of(data: bytes | Path) -> bytes:
    """The first HEAD_BYTES, which say what kind of file it is."""
    if isinstance(data, bytes):
        return data[:HEAD_BYTES]
    with data.open("rb") as file:
        return file.read(HEAD_BYTES)


def sha256_of(data: bytes | Path) -> str:
    """SHA-256 in hex. A file is read piece by piece."""
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    with data.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
