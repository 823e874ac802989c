"""Objects by key and by content, in a folder, on S3 or in memory.

Differences between the backends are in `backends`; buckets and versions of keys are in `s3`; the Dagster resource is in
`resource`, so that this module loads without Dagster, which takes a second.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

from resources.errors import CorruptObject, InvalidRange, NotFound, ObjectError
from resources.objects.backends import TIMEOUT_S, S3Access, open_backend
from resources.objects.concurrency import ByteBudget, Handover, completed, run
from resources.objects.object_info import BY_ETAG, ObjectInfo, ObjectRef, content_key
from resources.objects.object_io import ObjectIO
from resources.settings import Settings, plain

__all__ = ["BY_ETAG", "ObjectInfo", "ObjectRef", "ObjectStore", "content_key"]

T = TypeVar("T")
B = TypeVar("B", bytes, memoryview)
Data = bytes | Path | Callable[[], bytes | Path]
MB_64 = 64 * 1024**2


class ObjectStore:
    """Objects under one URL. Safe to use from many threads.

    Every method raises the errors of `resources.errors`: NotFound, AccessDenied, Unreadable and InvalidKey for one key,
    BadCredentials, BucketMissing and StoreUnavailable (after retries) for the store.
    """

    def __init__(self, url: str, store: Any, s3: S3Access | None) -> None:
        self.url = url
        self.s3 = s3
        """Access to the S3 bucket, for requests about more than one key; None for a folder or memory."""
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
        """Open s3://bucket/prefix, file:///folder (created if missing) or memory:// (a new, empty store).

        Without keys, S3 uses boto3's chain (profile, SSO, role). Plain HTTP is allowed to this machine only, unless
        allow_http. Raises InsecureEndpoint, or ValueError for another URL. No request is sent yet.
        """
        keys = {"endpoint": endpoint, "access_key": access_key, "secret_key": secret_key, "region": region}
        return cls(url, *open_backend(url, allow_http=allow_http, timeout_s=timeout_s, **keys))

    def put_if_absent(self, data: bytes | Path) -> ObjectRef:
        """Store a content under its sha256, unless it exists. Safe with any number of concurrent writers.

        Raises CorruptObject if the existing object has another size.
        """
        return run(self._io.put_if_absent(data))

    def put(self, key: str, data: bytes | Path) -> str | None:
        """Write bytes or a file under a key, atomically, in parts if large; an existing object is overwritten.

        Returns the version id, if the bucket is versioned.
        """
        return run(self._io.put(key, data))

    def put_if_unchanged(self, key: str, data: bytes, etag: str | None) -> bool:
        """Overwrite an object unless somebody else did since it had this ETag. Returns whether it was written.

        Only S3 compares the ETags: in a folder the writers must hold a lock.
        """
        return run(self._io.put_if_unchanged(key, data, etag))

    def put_many(
        self, items: Iterable[tuple[str, Data]], *, concurrency: int = 16
    ) -> Iterator[tuple[str, ObjectError | None]]:
        """Write many objects, at most `concurrency` at once. Yields each key when it is done, with its error or None.

        `items` is read lazily; a callable is called on a thread when its turn comes. Stops when closed.
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
        """The object's bytes, of one version if it is given; `etag-...` stands for the bytes with this ETag."""
        return run(self._io.get(key, version_id))

    def get_range(self, key: str, start: int, end: int, *, version_id: str | None = None) -> memoryview:
        """Bytes from start (inclusive) to end (exclusive), cut at the object's end, without a copy.

        Raises InvalidRange if start lies beyond the end.
        """
        if not 0 <= start <= end:
            raise ValueError(f"The range {start} to {end} is none: 0 <= start <= end.")
        if start == end:
            return memoryview(b"")
        return run(self._io.view(key, version_id, (start, end)))

    def get_content(self, sha256: str) -> bytes:
        """A content by its sha256, verified. Raises CorruptObject if the bytes differ."""
        key = content_key(sha256)
        return _verified(self.get(key), key, sha256)

    def get_part(self, sha256: str, object_sha256: str, offset: int, size: int) -> memoryview:
        """A content by its sha256, verified, from an object such as a pack: `size` bytes from `offset` on.

        Raises CorruptObject if the bytes differ or are missing.
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
        """Yield each item with its object's bytes, in the order of arrival; an error about one object is its value.

        `items` is read at most `concurrency` ahead. At most `max_bytes_in_flight` are fetched and not yet yielded (a larger
        object is fetched alone); an object above `max_object_bytes` is TooLarge, and not read. Closing stops it.
        Raises errors that do not concern one object: BucketMissing, StoreUnavailable.
        """
        budget = ByteBudget(max_bytes_in_flight)
        handed_out = Handover(budget.release)

        async def one(item: T) -> tuple[bytes | ObjectError, int]:
            try:
                return await self._io.get_within(key(item), version_id(item), budget, max_object_bytes)
            except ObjectError as error:
                return error, 0

        for item, (data, size) in completed(items, one, concurrency):
            # The caller has it now: waiting objects may be fetched.
            handed_out.send(size)
            yield item, data

    def list(self, prefix: str = "", *, start_after: str | None = None) -> Iterator[ObjectInfo]:
        """All objects whose key begins with `prefix` (any string), by ascending key, read page by page.

        start_after: only keys above it. SeaweedFS orders folders as if their names had no slash: there order and start_after
        differ from AWS for folders whose name continues another's (`a-b/` and `a/`); nothing is left out.
        """
        return self._io.list(prefix, start_after)

    def folders(self, prefix: str) -> Iterator[str]:
        """Names of the direct subfolders of `prefix`, which ends in a slash; a thousand per request."""
        return self._io.folders(prefix)

    def head(self, key: str, *, version_id: str | None = None) -> ObjectInfo:
        """Size, ETag, time and version id of an object."""
        return run(self._io.head(key, version_id))

    def exists(self, key: str) -> bool:
        """Whether an object exists; errors other than NotFound are raised."""
        try:
            self.head(key)
        except NotFound:
            return False
        return True

    def delete(self, key: str) -> None:
        """Delete an object (on a versioned bucket: hide it behind a delete marker). A missing one is no error."""
        try:
            run(self._io.delete(key))
        except NotFound:
            return


def _verified(data: B, key: str, sha256: str) -> B:
    """The data, if their hash is sha256. Raises CorruptObject otherwise."""
    if (actual := hashlib.sha256(data).hexdigest()) != sha256:
        raise CorruptObject.of(key, sha256, actual)
    return data


def access(settings: Settings) -> dict[str, Any]:
    """The arguments of `ObjectStore.open` for the S3 of the settings. They contain secrets: not for a log."""
    return {
        "endpoint": settings.s3_endpoint,
        "access_key": plain(settings.s3_access_key) or None,
        "secret_key": plain(settings.s3_secret_key) or None,
        "region": settings.s3_region,
    }


def open_store(settings: Settings, url: str) -> ObjectStore:
    """Open the store at a URL with the S3 address and keys of the settings. Raises as `ObjectStore.open`."""
    return ObjectStore.open(url, **access(settings))


def objects_url(settings: Settings) -> str:
    """The URL of the contents that Darkroom stores, below the lake."""
    return f"{settings.lake_url.rstrip('/')}/objects"
