"""Packs: small files end to end in objects of some tens of megabytes, so that a million files are not a million requests.

A pack is a content like any other, under its sha256; the manifest says where in it each file's bytes begin.
"""

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from resources.object_store import ObjectStore, content_key

PACKED_BELOW = 1024**2
"""Smaller files are packed; others are objects of their own, in bytes."""
PACK_BYTES = 32 * 1024**2
UPLOADS_AT_ONCE = 3


@dataclass(frozen=True)
class Place:
    """Where a file's bytes lie in the store `objects`. offset: None where the object is nothing else."""

    key: str
    offset: int | None

    @property
    def sha256(self) -> str:
        """The object's, in hex."""
        return self.key.removeprefix("sha256/").replace("/", "")


class Packer:
    """Packs contents and uploads full packs while the next is filled. Close it to learn every place."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._pool = ThreadPoolExecutor(UPLOADS_AT_ONCE, "pack")
        self._free = threading.Semaphore(UPLOADS_AT_ONCE)
        self._parts: list[tuple[bytes, bytes]] = []
        self._size = 0
        self._sent: deque[tuple[Future[str], list[tuple[bytes, int]]]] = deque()
        self._known: set[bytes] = set()

    def add(self, sha256: bytes, data: bytes) -> None:
        """Pack a content; one that was added before is left."""
        if sha256 in self._known:
            return
        self._known.add(sha256)
        self._parts.append((sha256, data))
        self._size += len(data)
        if self._size >= PACK_BYTES:
            self._send()

    def close(self) -> dict[bytes, Place]:
        """Upload what is left, wait for all, and return each content's place. Raises what an upload raised."""
        self._send()
        try:
            return dict(self._places())
        finally:
            self._pool.shutdown(cancel_futures=True)

    def _places(self) -> Iterator[tuple[bytes, Place]]:
        for future, offsets in self._sent:
            key = future.result()
            yield from ((sha256, Place(key, offset)) for sha256, offset in offsets)

    def _send(self) -> None:
        if not self._parts:
            return
        parts, offsets, at = self._parts, [], 0
        for sha256, data in parts:
            offsets.append((sha256, at))
            at += len(data)
        self._parts, self._size = [], 0
        self._free.acquire()
        self._sent.append((self._pool.submit(self._upload, [data for _, data in parts]), offsets))

    def _upload(self, parts: Iterable[bytes]) -> str:
        try:
            return content_key(self._store.put_if_absent(b"".join(parts)).sha256)
        finally:
            self._free.release()
