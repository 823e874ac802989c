"""Packs: objects of some tens of megabytes that contain many small files, so that a million files need fewer requests.

A pack is stored under its sha256 like any content; the manifest has the offset of each file in it.
"""

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from resources.objects.store import ObjectStore, content_key

PACKED_BELOW = 1024**2
"""Files smaller than this, in bytes, are packed; others are separate objects."""
PACK_BYTES = 32 * 1024**2
UPLOADS_AT_ONCE = 3


@dataclass(frozen=True)
class Place:
    """The place of a file's bytes in the store `objects`. offset: None if the object is the file."""

    key: str
    offset: int | None

    @property
    def sha256(self) -> str:
        """The sha256 of the object, in hex."""
        return self.key.removeprefix("sha256/").replace("/", "")


class Packer:
    """Packs contents, and uploads full packs while the next is filled. `close` returns the places."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._pool = ThreadPoolExecutor(UPLOADS_AT_ONCE, "pack")
        self._free = threading.Semaphore(UPLOADS_AT_ONCE)
        self._parts: list[tuple[bytes, bytes]] = []
        self._size = 0
        self._uploads: deque[tuple[Future[str], list[tuple[bytes, int]]]] = deque()
        self._added: set[bytes] = set()

    def add(self, sha256: bytes, data: bytes) -> None:
        """Pack a content, unless it was added before."""
        if sha256 in self._added:
            return
        self._added.add(sha256)
        self._parts.append((sha256, data))
        self._size += len(data)
        if self._size >= PACK_BYTES:
            self._send()

    def close(self) -> dict[bytes, Place]:
        """Upload the last pack, wait for all uploads, and return each content's place. Raises errors of uploads."""
        self._send()
        try:
            return dict(self._places())
        finally:
            self._pool.shutdown(cancel_futures=True)

    def _places(self) -> Iterator[tuple[bytes, Place]]:
        for future, offsets in self._uploads:
            key = future.result()
            yield from ((sha256, Place(key, offset)) for sha256, offset in offsets)

    def _send(self) -> None:
        if not self._parts:
            return
        parts, offsets, offset = self._parts, [], 0
        for sha256, data in parts:
            offsets.append((sha256, offset))
            offset += len(data)
        self._parts, self._size = [], 0
        self._free.acquire()
        self._uploads.append((self._pool.submit(self._upload, [data for _, data in parts]), offsets))

    def _upload(self, parts: Iterable[bytes]) -> str:
        try:
            return content_key(self._store.put_if_absent(b"".join(parts)).sha256)
        finally:
            self._free.release()
