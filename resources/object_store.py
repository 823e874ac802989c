"""Objects by key and by content: one contract over a folder, S3 and memory.

What differs between the backends is in `object_backends`; buckets and versions of keys are in `s3`; the Dagster resource
around a store is in `objects`: this module loads without Dagster, which takes a second.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

from resources.bounded import ByteBudget, Handover, completed, run
from resources.errors import CorruptObject, InvalidRange, NotFound, ObjectError
from resources.object_backends import TIMEOUT_S, S3Access, open_backend
from resources.object_io import ObjectInfo, ObjectIO, ObjectRef, content_key
from resources.settings import Settings, plain

__all__ = ["ObjectInfo", "ObjectRef", "ObjectStore", "content_key"]

T = TypeVar("T")
B = TypeVar("B", bytes, memoryview)
Data = bytes | Path | Callable[[], bytes | Path]
MB_64 = 64 * 1024**2


class ObjectStore:
    """Objects under one URL. Safe to use from many threads.

    Every method raises the errors of `resources.errors`: NotFound, AccessDenied and InvalidKey for one key,
    BucketMissing and StoreUnavailable (after retries) for the store.
    """

    def __init__(self, url: str, store: Any, s3: S3Access | None) -> None:
        self.url = url
        self.s3 = s3
        """The S3 behind it, for what is not told by key; none for a folder or memory."""
        self._io = ObjectIO(store, s3)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        endpoint: str | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
        region: str = "us-east-1",
        allow_http: bool = False,
        timeout_s: float = TIMEOUT_S,
    ) -> Self:
        """Open s3://bucket/prefix, file:///folder (made if missing) or memory:// (a new, empty one).

        Without keys, S3 uses boto3's chain (profile, SSO, role). Plain HTTP goes to this machine only, unless allow_http.
        Raises InsecureEndpoint, or ValueError for another URL. Nothing is sent yet.
        """
        keys = {"endpoint": endpoint, "access_key": access_key, "secret_key": secret_key, "region": region}
        return cls(url, *open_backend(url, allow_http=allow_http, timeout_s=timeout_s, **keys))

    def put_if_absent(self, data: bytes | Path) -> ObjectRef:
        """Keep a content under its sha256; one that is there already is not written again. Any number may do so at once.

        Raises CorruptObject if what lies there has another size.
        """
        return run(self._io.put_if_absent(data))

    def put(self, key: str, data: bytes | Path) -> str | None:
        """Write bytes or a file under a key, whole or not at all, in parts if large, over what was there.

        Returns the version id, if the bucket is versioned.
        """
        return run(self._io.put(key, data))

    def put_many(
        self, items: Iterable[tuple[str, Data]], *, concurrency: int = 16
    ) -> Iterator[tuple[str, ObjectError | None]]:
        """Write many, at most `concurrency` at once: each key as it is done, with its error if it has one.

        `items` is read lazily; a callable is called, on a thread, when its turn comes. Stops when closed.
        """

        async def one(item: tuple[str, Data]) -> ObjectError | None:
            key, data = item
            try:
                await self._io.put(key, await asyncio.to_thread(data) if callable(data) else data)
            except ObjectError as error:
                return error
            return None

        for (key, _), error in completed(items, one, concurrency):
            yield key, error

    def get(self, key: str, *, version_id: str | None = None) -> bytes:
        """The object's bytes, of a certain version if one is named."""
        return run(self._io.get(key, version_id))

    def get_range(self, key: str, start: int, end: int, *, version_id: str | None = None) -> memoryview:
        """Bytes start (inclusive) to end (exclusive), cut at the object's end, of a certain version if one is named.

        They are not copied: a large object in ranges costs no more than to receive it.

        Raises InvalidRange if start lies beyond the end.
        """
        if not 0 <= start <= end:
            raise ValueError(f"The range {start} to {end} is none: 0 <= start <= end.")
        if start == end:
            return memoryview(b"")
        return run(self._io.view(key, version_id, (start, end)))

    def get_content(self, sha256: str) -> bytes:
        """A content by its sha256, verified. Raises CorruptObject if the bytes are others."""
        key = content_key(sha256)
        return _verified(self.get(key), key, sha256)

    def get_part(self, sha256: str, object_sha256: str, offset: int, size: int) -> memoryview:
        """A content by its sha256 from the object that has it, maybe with others: `size` bytes from `offset` on, verified.

        Raises CorruptObject if the bytes are others, or not there.
        """
        key = content_key(object_sha256)
        try:
            data = self.get_range(key, offset, offset + size)
        except InvalidRange:
            data = memoryview(b"")
        return _verified(data, key, sha256)

    def get_many(
        self,
        items: Iterable[T],
        *,
        key: Callable[[T], str],
        version_id: Callable[[T], str | None] = lambda _: None,
        concurrency: int = 32,
        max_bytes_in_flight: int = MB_64,
        max_object_bytes: int | None = None,
    ) -> Iterator[tuple[T, bytes | ObjectError]]:
        """Each item with its object's bytes, in the order of arrival; an error about one object comes as its value.

        `items` is read at most `concurrency` ahead. No more than `max_bytes_in_flight` are fetched and not yet handed out
        (one larger object comes alone); an object above `max_object_bytes` is TooLarge, and not read. Closing stops it.
        BucketMissing and StoreUnavailable are raised: they say nothing of the object.
        """
        budget = ByteBudget(max_bytes_in_flight)
        handed_out = Handover(budget.release)

        async def one(item: T) -> tuple[bytes | ObjectError, int]:
            try:
                return await self._io.get_within(key(item), version_id(item), budget, max_object_bytes)
            except ObjectError as error:
                return error, 0

        for item, (found, held) in completed(items, one, concurrency):
            # The caller has it now: what waits may be fetched.
            handed_out.send(held)
            yield item, found

    def list(self, prefix: str = "", *, start_after: str | None = None) -> Iterator[ObjectInfo]:
        """All objects whose key begins with `prefix` (any string), in pages as they are consumed, by ascending key.

        start_after: only keys above it. SeaweedFS orders folders as if their names had no slash, so there (and only where a
        folder's name continues another's, as `a-b/` does `a/`) order and start_after differ from AWS; nothing is left out.
        """
        return self._io.list(prefix, start_after)

    def head(self, key: str, *, version_id: str | None = None) -> ObjectInfo:
        """What the store says of an object."""
        return run(self._io.head(key, version_id))

    def exists(self, key: str) -> bool:
        """Whether an object is there; an error other than NotFound is raised, not taken for absence."""
        try:
            self.head(key)
        except NotFound:
            return False
        return True

    def delete(self, key: str) -> None:
        """Remove an object (on a versioned bucket: hide it behind a delete marker). One that is not there is no error."""
        try:
            run(self._io.delete(key))
        except NotFound:
            return


def _verified(data: B, key: str, sha256: str) -> B:
    """The bytes that an object gave for a content. Raises CorruptObject if they are others."""
    if (actual := hashlib.sha256(data).hexdigest()) != sha256:
        raise CorruptObject.of(key, sha256, actual)
    return data


def access(settings: Settings) -> dict[str, Any]:
    """What `ObjectStore.open` needs to reach the S3 of the settings, by name. Holds secrets: not for a log."""
    return {
        "endpoint": settings.s3_endpoint,
        "access_key": plain(settings.s3_access_key) or None,
        "secret_key": plain(settings.s3_secret_key) or None,
        "region": settings.s3_region,
    }


def open_store(settings: Settings, url: str) -> ObjectStore:
    """The store at a URL with the S3 address and keys of the settings. Raises as `ObjectStore.open`."""
    return ObjectStore.open(url, **access(settings))


def objects_url(settings: Settings) -> str:
    """Where contents lie that Darkroom has put: below the lake."""
    return f"{settings.lake_url.rstrip('/')}/objects"
