"""One object at a time, asynchronously, on any backend. `objects` makes the synchronous contract of it."""

import asyncio
import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from obstore.exceptions import AlreadyExistsError
from obstore.store import LocalStore

from resources import condemned
from resources.bounded import ByteBudget
from resources.errors import CorruptObject, InvalidKey, NotFound, StoreUnavailable, TooLarge
from resources.object_backends import EXPECTED, S3Access, check_key, survives_obstore, translate

PART_BYTES = 8 * 1024**2
SINGLE_PUT_BYTES = 64 * 1024**2
"""Up to here a content is put in one conditional request; above, in parts, which S3 can't make conditional."""
UNASKED_BYTES = 64 * 1024
"""Up to here a content is sent without asking first whether it is there: most are new, and a refusal costs as little."""
COPY_BYTES = 5 * 1024**3
"""S3 copies larger objects only in parts."""
UNVERSIONED = ("", "null")
"""What S3 calls the one version of an object in a bucket without versioning."""


@dataclass(frozen=True)
class ObjectRef:
    """A content: sha256 in hex, size in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True)
class ObjectInfo:
    """What the store says of an object. version_id: only from `head`, on a versioned bucket."""

    key: str
    size: int
    etag: str | None
    version_id: str | None
    last_modified: datetime


def content_key(sha256: str) -> str:
    """Where a content lies: sha256/ab/cdef..."""
    if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
        raise ValueError(f"{sha256!r} is no sha256 in lower-case hex.")
    return f"sha256/{sha256[:2]}/{sha256[2:]}"


class ObjectIO:
    """Reads and writes on an obstore store; on S3, keys that obstore would change go through boto3 on a thread."""

    def __init__(self, store: Any, s3: S3Access | None) -> None:
        self.store = store
        self.s3 = s3

    async def put_if_absent(self, data: bytes | Path) -> ObjectRef:
        """Keep a content under its sha256. Raises CorruptObject if what lies there has another size."""
        is_quick = isinstance(data, bytes) and len(data) <= UNASKED_BYTES
        digest, size = _digest(data) if is_quick else await asyncio.to_thread(_digest, data)
        key = content_key(digest)
        until = time.monotonic() + condemned.PATIENCE_S
        while not await self._keep(key, data, size):
            if time.monotonic() > until:
                raise StoreUnavailable(
                    f"A clean-up is removing {key}, or was killed while it did: let `darkroom gc` run to its end, then run "
                    "this again."
                )
            await asyncio.sleep(condemned.PAUSE_S)
        return ObjectRef(digest, size)

    async def _keep(self, key: str, data: bytes | Path, size: int) -> bool:
        """Whether a content is there to stay; False while a clean-up may be removing it. See `condemned`."""
        version = await self.put(key, data, mode="create") if size <= UNASKED_BYTES else None
        if version is None:  # it was there, or the store tells no versions, or it is too large to be sent in vain
            version = await self._renewed_or_put(key, data, size)
        return version not in (None, *UNVERSIONED) or (not await self._is_condemned(key) and await self._is_there(key))

    async def _renewed_or_put(self, key: str, data: bytes | Path, size: int) -> str | None:
        """Put a content if it is not there, and make it young if it is old. Returns its version id, if the store has any."""
        try:
            found = await self.head(key, None)
        except NotFound:
            return await self.put(key, data, mode="create" if size <= SINGLE_PUT_BYTES else "overwrite")
        if found.size != size:
            raise CorruptObject(key, f"{key} has {found.size} bytes, not {size}: delete the damaged object and run again.")
        is_old = datetime.now(UTC) - found.last_modified > condemned.RENEW_AFTER
        return await self._renew(key, data, size) if is_old else found.version_id

    async def _renew(self, key: str, data: bytes | Path, size: int) -> str | None:
        """Make a content as young as a new one, without sending it where the store can do that."""
        try:
            if self.s3 is not None and size <= COPY_BYTES:
                source = {"Bucket": self.s3.bucket, "Key": self.full(key)}
                copied = await self._boto(key, "copy_object", CopySource=source, MetadataDirective="REPLACE")
                return copied.get("VersionId")
            if isinstance(self.store, LocalStore) and self.store.prefix:
                os.utime(Path(self.store.prefix) / key)
                return None
        except (NotFound, FileNotFoundError):
            pass  # it was removed since
        return await self.put(key, data)

    async def _is_there(self, key: str) -> bool:
        try:
            await self.head(key, None)
        except NotFound:
            return False
        return True

    async def _is_condemned(self, key: str) -> bool:
        """Whether a clean-up may be removing this content at this moment."""
        lists = await asyncio.to_thread(lambda: list(self.list(condemned.PREFIX, None)))
        for info in lists:
            try:
                if condemned.names(await self.get(info.key, None), key):
                    return True
            except NotFound:
                continue  # that batch is done
        return False

    async def put(self, key: str, data: bytes | Path, *, mode: str = "overwrite") -> str | None:
        """Write whole or not at all; mode `create` leaves what is there. Returns the version id, if the store has any."""
        if self._by_boto(key):
            body = await asyncio.to_thread(data.read_bytes) if isinstance(data, Path) else data
            return (await self._boto(key, "put_object", Body=body)).get("VersionId")
        size = data.stat().st_size if isinstance(data, Path) else len(data)
        parts = mode != "create" and size > PART_BYTES
        try:
            put = await self.store.put_async(self.full(key), data, mode=mode, chunk_size=PART_BYTES, use_multipart=parts)
        except AlreadyExistsError:
            return None
        except EXPECTED as error:
            raise translate(error, key) from None
        return put["version"]

    async def get(self, key: str, version_id: str | None) -> bytes:
        """The bytes of a version."""
        return bytes(await self.view(key, version_id))

    async def view(self, key: str, version_id: str | None, span: tuple[int, int] | None = None) -> memoryview:
        """The bytes, or those from span[0] to before span[1], of a version, where obstore holds them: not copied."""
        if self._by_boto(key):
            extra = {"Range": f"bytes={span[0]}-{span[1] - 1}"} if span else {}
            return memoryview(await self._boto(key, "get_object", version_id, read=True, **extra))
        options = {"range": span} if span else {}
        opened = await self._open(key, version_id, **options)
        try:
            return memoryview(await opened.bytes_async())
        except EXPECTED as error:
            raise translate(error, key) from None

    async def get_within(self, key: str, version_id: str | None, budget: ByteBudget, limit: int | None) -> tuple[bytes, int]:
        """The bytes, and how many of the budget they hold until the caller releases them. Raises TooLarge above `limit`."""
        opened = None if self._by_boto(key) else await self._open(key, version_id)
        size = opened.meta["size"] if opened else (await self.head(key, version_id)).size
        if limit is not None and size > limit:
            raise TooLarge(key, f"{key!r} has {size} bytes, more than the {limit} allowed: raise the limit or leave it out.")
        if not budget.try_acquire(size):
            # An open response would time out while it waits.
            opened = None
            await budget.acquire(size)
        try:
            if opened is None:
                return await self.get(key, version_id), size
            return bytes(await opened.bytes_async()), size
        except BaseException as error:
            budget.release(size)
            if isinstance(error, EXPECTED):
                raise translate(error, key) from None
            raise

    async def head(self, key: str, version_id: str | None) -> ObjectInfo:
        """What the store says of an object."""
        if self._by_boto(key):
            found = await self._boto(key, "head_object", version_id)
            return ObjectInfo(
                key, found["ContentLength"], bare(found.get("ETag")), found.get("VersionId"), found["LastModified"]
            )
        meta = (await self._open(key, version_id, head=True)).meta
        return ObjectInfo(key, meta["size"], bare(meta["e_tag"]), meta["version"], meta["last_modified"])

    async def delete(self, key: str) -> None:
        """Remove an object, or hide it behind a delete marker. Some backends raise NotFound, some don't."""
        if self._by_boto(key):
            await self._boto(key, "delete_object")
            return
        try:
            await self.store.delete_async(self.full(key))
        except EXPECTED as error:
            raise translate(error, key) from None

    def list(self, prefix: str, start_after: str | None) -> Iterator[ObjectInfo]:
        """Keys that begin with `prefix` and come after `start_after`, ascending; on S3 page by page."""
        try:
            yield from self._list_s3(self.s3, prefix, start_after) if self.s3 else self._list_here(prefix, start_after)
        except EXPECTED as error:
            raise translate(error, prefix) from None

    def full(self, key: str) -> str:
        """The key in the bucket."""
        return self.s3.full(key) if self.s3 else key

    def _list_s3(self, s3: S3Access, prefix: str, start_after: str | None) -> Iterator[ObjectInfo]:
        skip = len(self.full(""))
        after = {"StartAfter": self.full(start_after)} if start_after else {}
        paginator = s3.client.get_paginator("list_objects_v2")
        for page in paginator.paginate(Bucket=s3.bucket, Prefix=self.full(prefix), **after):
            for found in page.get("Contents", ()):
                key = found["Key"][skip:]
                yield ObjectInfo(key, found["Size"], bare(found.get("ETag")), None, found["LastModified"])

    def _list_here(self, prefix: str, start_after: str | None) -> Iterator[ObjectInfo]:
        folder = prefix.rpartition("/")[0] or None
        if folder is not None and not survives_obstore(folder):
            return
        metas = [meta for page in self.store.list(folder) for meta in page]
        for meta in sorted(metas, key=lambda meta: meta["path"]):
            key = meta["path"]
            if key.startswith(prefix) and (start_after is None or key > start_after):
                yield ObjectInfo(key, meta["size"], bare(meta["e_tag"]), None, meta["last_modified"])

    async def _open(self, key: str, version_id: str | None, **options: Any) -> Any:
        """An open response: the object's metadata is known, its bytes are still to come."""
        if version_id and (self.s3 or version_id not in UNVERSIONED):
            if self.s3 is None:
                raise NotFound(key, f"This store keeps no versions: read {key!r} without one, or use a versioned bucket.")
            options["version"] = version_id
        try:
            return await self.store.get_async(self.full(key), options=options)
        except EXPECTED as error:
            raise translate(error, key) from None

    def _by_boto(self, key: str) -> bool:
        """Whether this key must go through boto3. Raises InvalidKey if the backend can't hold it as it is."""
        if not key:
            raise InvalidKey(key, "An object's key is empty: name it.")
        if self.s3 is None:
            check_key(key, in_folder=isinstance(self.store, LocalStore))
            return False
        return not survives_obstore(key)

    async def _boto(self, key: str, method: str, version_id: str | None = None, read: bool = False, **extra: Any) -> Any:
        if self.s3 is None:
            raise TypeError("only S3 has a boto3 client")
        client = self.s3.client
        where = {"Bucket": self.s3.bucket, "Key": self.full(key), **extra} | (
            {"VersionId": version_id} if version_id else {}
        )

        def call() -> Any:
            answer = getattr(client, method)(**where)
            return answer["Body"].read() if read else answer

        try:
            return await asyncio.to_thread(call)
        except EXPECTED as error:
            raise translate(error, key) from None


def bare(etag: str | None) -> str | None:
    """An entity tag without its quotes."""
    return etag.strip('"') if etag else None


def _digest(data: bytes | Path) -> tuple[str, int]:
    if isinstance(data, Path):
        with data.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
    return hashlib.sha256(data).hexdigest(), len(data)
