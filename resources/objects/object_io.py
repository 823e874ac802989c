"""Asynchronous requests for one object on any backend. `store` has the synchronous interface."""

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from obstore.exceptions import AlreadyExistsError, PreconditionError
from obstore.store import LocalStore

from resources.errors import CorruptObject, InvalidKey, NotFound, StoreUnavailable, TooLarge
from resources.files import sha256_of
from resources.objects import removal_marks
from resources.objects.backends import EXPECTED, check_key, survives_obstore, translate
from resources.objects.concurrency import ByteBudget
from resources.objects.listing import Listing
from resources.objects.object_info import BY_ETAG, UNVERSIONED, ObjectInfo, ObjectRef, bare, content_key

PART_BYTES = 8 * 1024**2
SINGLE_PUT_BYTES = 64 * 1024**2
"""Contents up to this size are put in one conditional request; larger ones in parts, which S3 can't make conditional."""
UNASKED_BYTES = 64 * 1024
"""Contents up to this size are sent without a check whether they exist: most are new, and a refused put costs as little."""
COPY_BYTES = 5 * 1024**3
"""S3's limit for a copy in one request."""


class ObjectIO(Listing):
    """Reads and writes on an obstore store; on S3, keys that obstore would change go through boto3 on a thread."""

    async def put_if_absent(self, data: bytes | Path) -> ObjectRef:
        """Store a content under its sha256. Raises CorruptObject if the existing object has another size.

        Raises StoreUnavailable if a clean-up does not finish with this content.
        """
        is_quick = isinstance(data, bytes) and len(data) <= UNASKED_BYTES
        digest, size = _digest(data) if is_quick else await asyncio.to_thread(_digest, data)
        key = content_key(digest)
        until = time.monotonic() + removal_marks.PATIENCE_S
        while not await self._put_and_confirm(key, data, size):
            if time.monotonic() > until:
                raise StoreUnavailable(
                    f"A clean-up is removing {key}, or was killed while it did: let `darkroom gc` run to its end, then run "
                    "this again."
                )
            await asyncio.sleep(removal_marks.PAUSE_S)
        return ObjectRef(digest, size)

    async def _put_and_confirm(self, key: str, data: bytes | Path, size: int) -> bool:
        """Put a content. Returns whether it will stay: False while a clean-up may remove it. See `removal_marks`."""
        version = await self.put(key, data, mode="create") if size <= UNASKED_BYTES else None
        if version is None:  # it existed, or the store has no versions, or it is too large to send without a check
            version = await self._renewed_or_put(key, data, size)
        return version not in (None, *UNVERSIONED) or (not await self._is_being_removed(key) and await self._exists(key))

    async def _renewed_or_put(self, key: str, data: bytes | Path, size: int) -> str | None:
        """Put a missing content, and renew an old one. Returns its version id, if the store has versions."""
        try:
            stored = await self.head(key, None)
        except NotFound:
            return await self.put(key, data, mode="create" if size <= SINGLE_PUT_BYTES else "overwrite")
        if stored.size != size:
            raise CorruptObject(key, f"{key} has {stored.size} bytes, not {size}: delete the damaged object and run again.")
        is_old = datetime.now(UTC) - stored.last_modified > removal_marks.RENEW_AFTER
        return await self._renew(key, data, size) if is_old else stored.version_id

    async def _renew(self, key: str, data: bytes | Path, size: int) -> str | None:
        """Make a content as young as a new one, without sending it if the store can do that."""
        try:
            if self.s3 is not None and size <= COPY_BYTES:
                source = {"Bucket": self.s3.bucket, "Key": self.full(key)}
                copied = await self._boto(key, "copy_object", CopySource=source, MetadataDirective="REPLACE")
                return copied.get("VersionId")
            if isinstance(self.store, LocalStore) and self.store.prefix:
                os.utime(Path(self.store.prefix) / key)
                return None
        except (NotFound, FileNotFoundError):
            pass  # removed meanwhile
        return await self.put(key, data)

    async def _exists(self, key: str) -> bool:
        try:
            await self.head(key, None)
        except NotFound:
            return False
        return True

    async def _is_being_removed(self, key: str) -> bool:
        """Whether a clean-up may be removing this content now."""
        lists = await asyncio.to_thread(lambda: list(self.list(removal_marks.PREFIX, None)))
        for info in lists:
            try:
                if removal_marks.names(await self.get(info.key, None), key):
                    return True
            except NotFound:
                continue  # that batch is done
        return False

    async def put(self, key: str, data: bytes | Path, *, mode: str = "overwrite") -> str | None:
        """Write atomically; mode `create` keeps an existing object. Returns the version id, if the store has versions."""
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

    async def put_if_unchanged(self, key: str, data: bytes, etag: str | None) -> bool:
        """Overwrite an object that still has this ETag; on other stores than S3, without this check."""
        if self.s3 is None or etag is None:
            await self.put(key, data)
            return True
        try:
            await self.store.put_async(self.full(key), data, mode={"e_tag": f'"{etag}"'}, use_multipart=False)
        except PreconditionError:
            return False
        except EXPECTED as error:
            raise translate(error, key) from None
        return True

    async def get(self, key: str, version_id: str | None) -> bytes:
        """The bytes of a version."""
        return bytes(await self.view(key, version_id))

    async def view(self, key: str, version_id: str | None, span: tuple[int, int] | None = None) -> memoryview:
        """The bytes of a version, or those from span[0] (inclusive) to span[1] (exclusive), without a copy."""
        if self._by_boto(key):
            extra = {"Range": f"bytes={span[0]}-{span[1] - 1}"} if span else {}
            return memoryview(await self._boto_version(key, "get_object", version_id, read=True, **extra))
        options = {"range": span} if span else {}
        opened = await self._open(key, version_id, **options)
        try:
            return memoryview(await opened.bytes_async())
        except EXPECTED as error:
            raise translate(error, key) from None

    async def get_within(self, key: str, version_id: str | None, budget: ByteBudget, limit: int | None) -> tuple[bytes, int]:
        """The bytes, and their share of the budget, which the caller releases. Raises TooLarge above `limit`."""
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
        """Size, ETag, time and version id of an object."""
        if self._by_boto(key):
            response = await self._boto_version(key, "head_object", version_id)
            return ObjectInfo(
                key,
                response["ContentLength"],
                bare(response.get("ETag")),
                response.get("VersionId"),
                response["LastModified"],
            )
        meta = (await self._open(key, version_id, head=True)).meta
        return ObjectInfo(key, meta["size"], bare(meta["e_tag"]), meta["version"], meta["last_modified"])

    async def delete(self, key: str) -> None:
        """Delete an object, or hide it behind a delete marker. Only some backends raise NotFound."""
        if self._by_boto(key):
            await self._boto(key, "delete_object")
            return
        try:
            await self.store.delete_async(self.full(key))
        except EXPECTED as error:
            raise translate(error, key) from None

    async def _open(self, key: str, version_id: str | None, **options: Any) -> Any:
        """An open response with the object's metadata; its bytes are not read yet."""

        async def opened(names: dict[str, str]) -> Any:
            try:
                return await self.store.get_async(self.full(key), options={**options, **names})
            except EXPECTED as error:
                raise translate(error, key) from None

        return await _first(opened, self._ways_to(key, version_id))

    def _ways_to(self, key: str, version_id: str | None) -> Sequence[dict[str, str]]:
        """Alternative request options for a version, by obstore's names; the first one that exists counts."""
        if version_id and version_id.startswith(BY_ETAG):
            same = {"if_match": f'"{version_id.removeprefix(BY_ETAG)}"'}
            return [same, {**same, "version": "null"}] if self.s3 else [same]
        if not version_id or (self.s3 is None and version_id in UNVERSIONED):
            return [{}]
        if self.s3 is None:
            raise NotFound(key, f"This store keeps no versions: read {key!r} without one, or use a versioned bucket.")
        return [{"version": version_id}]

    def _by_boto(self, key: str) -> bool:
        """Whether this key must go through boto3. Raises InvalidKey if the backend can't store it unchanged."""
        if not key:
            raise InvalidKey(key, "An object's key is empty: name it.")
        if self.s3 is None:
            check_key(key, in_folder=isinstance(self.store, LocalStore))
            return False
        return not survives_obstore(key)

    async def _boto_version(self, key: str, method: str, version_id: str | None, read: bool = False, **extra: Any) -> Any:
        async def request(selection: dict[str, str]) -> Any:
            return await self._boto(
                key, method, read, **extra, **{_BOTO_NAMES[name]: value for name, value in selection.items()}
            )

        return await _first(request, self._ways_to(key, version_id))

    async def _boto(self, key: str, method: str, read: bool = False, **extra: Any) -> Any:
        if self.s3 is None:
            raise TypeError("only S3 has a boto3 client")
        client = self.s3.client
        where = {"Bucket": self.s3.bucket, "Key": self.full(key), **extra}

        def call() -> Any:
            answer = getattr(client, method)(**where)
            return answer["Body"].read() if read else answer

        try:
            return await asyncio.to_thread(call)
        except EXPECTED as error:
            raise translate(error, key) from None


_BOTO_NAMES = {"if_match": "IfMatch", "version": "VersionId"}


async def _first(ask: Callable[[dict[str, str]], Awaitable[Any]], ways: Sequence[dict[str, str]]) -> Any:
    """The result of the first alternative that exists. Raises the error of the first one if none does."""
    first, *others = ways
    try:
        return await ask(first)
    except NotFound:
        for way in others:
            with contextlib.suppress(NotFound):
                return await ask(way)
        raise


def _digest(data: bytes | Path) -> tuple[str, int]:
    return sha256_of(data), data.stat().st_size if isinstance(data, Path) else len(data)
