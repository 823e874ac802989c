"""Copies bytes between stores and files in pieces, with their digests."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pipeline_assets.runtime.blobs import TemporaryPath, temporary_path
from pipeline_assets.runtime.cores import ahead
from resources.errors import CorruptObject, NoSpace, NotFound, is_full
from resources.objects.object_info import content_key
from resources.objects.store import ObjectStore

PIECE_BYTES = 8 * 1024**2
PIECES_AHEAD = 4


@dataclass(frozen=True)
class Digests:
    """Digests of the same bytes, in hex. md5 is for tools that name contents by it; it protects nothing."""

    sha256: str
    md5: str
    size_bytes: int


def digests_of_bytes(data: bytes) -> Digests:
    """The digests of bytes in memory."""
    return Digests(hashlib.sha256(data).hexdigest(), md5_of(data), len(data))


def md5_of(data: bytes) -> str:
    """MD5 in hex, DVC's name of a content."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def digests_of_file(path: Path) -> Digests:
    """The digests of a file, which is read once in pieces."""
    with path.open("rb", buffering=0) as file:
        return _digests(iter(lambda: file.read(PIECE_BYTES), b""), None)


def spool(store: ObjectStore, key: str, version_id: str | None, size_bytes: int, path: Path, offset: int = 0) -> Digests:
    """Write size_bytes of an object, from `offset` on, into a file. Raises the store's errors."""
    return _digests(_pieces(store, key, version_id, offset, offset + size_bytes), path)


def temporary(store: ObjectStore, key: str, version_id: str | None, size_bytes: int) -> TemporaryPath:
    """Write the first size_bytes of an object into a temporary file. Raises the store's errors, and NoSpace."""
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
    """The bytes from start to end of an object; a few pieces are read ahead."""
    with ThreadPoolExecutor(PIECES_AHEAD, "spool") as pool:

        def piece(at: int) -> memoryview:
            return store.get_range(key, at, min(at + PIECE_BYTES, end), version_id=version_id)

        yield from ahead(pool, piece, range(start, end, PIECE_BYTES), PIECES_AHEAD + 1)


def put_hashed(store: ObjectStore, sha256: str, path: Path, size_bytes: int) -> None:
    """Store a file under its sha256, unless it is there. Raises CorruptObject if the stored object has another size."""
    key = content_key(sha256)
    try:
        stored = store.head(key)
    except NotFound:
        store.put(key, path)
        return
    if stored.size != size_bytes:
        raise CorruptObject(
            key, f"{key} has {stored.size} bytes, not {size_bytes}: delete the damaged object and run again."
        )


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
