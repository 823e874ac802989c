"""Atomic writes of files, and digests. It uses only the standard library, so that domains can use it, too.

`versioning/checkout` writes into folders that somebody else may change meanwhile.
"""

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path, *, mode: int = 0o666, is_synced: bool = False, prefix: str = ".writing-") -> Iterator[Path]:
    """Yield an empty file in the folder of `path`. It replaces `path` when the block ends, and is deleted if that raises.

    mode: as in `os.open`. is_synced: bytes and name are on the disk when the block has ended. prefix: of the temporary name,
    which identifies the leftovers of killed writers.
    """
    partial_path = path.with_name(f"{prefix}{secrets.token_hex(8)}")
    os.close(os.open(partial_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
    try:
        yield partial_path
        if is_synced:
            sync(partial_path)
        partial_path.replace(path)
        if is_synced:
            sync(path.parent)
    finally:
        partial_path.unlink(missing_ok=True)


def write(path: Path, content: str | bytes, *, mode: int = 0o666, is_synced: bool = False) -> None:
    """Write a file atomically: see `replacing`. Text is written as UTF-8."""
    with replacing(path, mode=mode, is_synced=is_synced) as partial_path:
        partial_path.write_bytes(content.encode() if isinstance(content, str) else content)


def write_secret(path: Path, text: str) -> None:
    """Write a file atomically that only its owner can read."""
    write(path, text, mode=0o600, is_synced=True)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(data: bytes | Path) -> str:
    """SHA-256 in hex. A file is read in pieces."""
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    with data.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
