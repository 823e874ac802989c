"""Bytes between stores and files, piece by piece, with their digests taken on the way."""

import hashlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from resources.errors import CorruptObject, NotFound
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
    ends = [(at, min(at + PIECE_BYTES, offset + size_bytes)) for at in range(offset, offset + size_bytes, PIECE_BYTES)]

    def pieces() -> Iterator[memoryview]:
        with ThreadPoolExecutor(PIECES_AHEAD, "spool") as pool:
            waiting: deque[Future[memoryview]] = deque()
            try:
                for start, end in ends:
                    waiting.append(pool.submit(store.get_range, key, start, end, version_id=version_id))
                    if len(waiting) > PIECES_AHEAD:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)

    return _digests(pieces(), path)


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
