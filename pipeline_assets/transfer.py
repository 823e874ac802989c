"""Bytes between stores and files, piece by piece, and what is too large for memory as a file."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pipeline_assets.cores import ahead
from pipeline_assets.held import TemporaryPath, temporary_path
from resources.errors import CorruptObject, NoSpace, NotFound, is_full
from resources.object_io import content_key
from resources.object_store import ObjectStore

PIECE_BYTES = 8 * 1024**2
PIECES_AHEAD = 4


@dataclass(frozen=True)
class Digests:
    """Of the same bytes, in hex. md5 names them for others; it is no safeguard."""

    sha256: str
    md5: str
    size_bytes: int


def digests_of_bytes(data: bytes) -> Digests:
    """The digests of bytes in memory."""
    return Digests(hashlib.sha256(data).hexdigest(), md5_of(data), len(data))


def md5_of(data: bytes) -> str:
    """MD5 in hex, as DVC names contents."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def digests_of_file(path: Path) -> Digests:
    """The digests of a file, which is read once and not held."""
    with path.open("rb", buffering=0) as file:
        return _digests(iter(lambda: file.read(PIECE_BYTES), b""), None)


def spool(store: ObjectStore, key: str, version_id: str | None, size_bytes: int, path: Path, offset: int = 0) -> Digests:
    """Write the size_bytes from `offset` of an object into a file, a few pieces ahead. Raises the store's errors."""
    return _digests(_pieces(store, key, version_id, offset, offset + size_bytes), path)


def temporary(store: ObjectStore, key: str, version_id: str | None, size_bytes: int) -> TemporaryPath:
    """The first size_bytes of an object in a temporary file. Raises the store's errors, and NoSpace."""
    folder = tempfile.gettempdir()
    no_room = f"{folder} has no room for the {size_bytes:,} bytes of {key!r}: set TMPDIR to a folder on a larger disk."
    if shutil.disk_usage(folder).free < size_bytes:
        raise NoSpace(no_room)
    path = temporary_path()
    try:
        with path.open("wb") as file:
            for piece in _pieces(store, key, version_id, 0, size_bytes):
                file.write(piece)
    except OSError as error:
        if is_full(error):
            raise NoSpace(no_room) from error
        raise
    return path


def _pieces(store: ObjectStore, key: str, version_id: str | None, start: int, end: int) -> Iterator[memoryview]:
    """The bytes from start to end of an object, a few pieces ahead."""
    with ThreadPoolExecutor(PIECES_AHEAD, "spool") as pool:

        def piece(at: int) -> memoryview:
            return store.get_range(key, at, min(at + PIECE_BYTES, end), version_id=version_id)

        yield from ahead(pool, piece, range(start, end, PIECE_BYTES), PIECES_AHEAD + 1)


def put_hashed(store: ObjectStore, sha256: str, path: Path, size_bytes: int) -> None:
    """Keep a file under its sha256, which was just taken. Raises CorruptObject if what lies there has another size."""
    key = content_key(sha256)
    try:
        found = store.head(key)
    except NotFound:
        store.put(key, path)
        return
    if found.size != size_bytes:
        raise CorruptObject(key, f"{key} has {found.size} bytes, not {size_bytes}: delete the damaged object and run again.")


def _digests(pieces: Iterator[bytes] | Iterator[memoryview], path: Path | None) -> Digests:
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    sink = path.open("wb", buffering=0) if path else None
    try:
        for piece in pieces:
            sha256.update(piece)
            md5.update(piece)
            size += len(piece)
            if sink:
                sink.write(piece)
    finally:
        if sink:
            sink.close()
    return Digests(sha256.hexdigest(), md5.hexdigest(), size)
