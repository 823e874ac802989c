"""What a store really holds, old versions included, and how some of it is removed for good. The rules are in `condemned`."""

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from resources import condemned, s3
from resources.errors import AccessDenied, StoreUnavailable
from resources.object_backends import EXPECTED, translate
from resources.object_io import UNVERSIONED
from resources.object_store import ObjectStore

BATCH = 1_000
"""S3 removes so many in one request."""


@dataclass(frozen=True)
class Stored:
    """One version of a key; the one object under it where the store keeps no versions.

    version_id: None where the store has none, `null` for what was put while the bucket kept none. is_marker: a delete
    marker, behind which S3 hides older versions; size 0.
    """

    key: str
    size: int
    last_modified: datetime
    etag: str | None = None
    version_id: str | None = None
    is_latest: bool = True
    is_marker: bool = False

    @property
    def is_unique(self) -> bool:
        """Whether its version id names these bytes for ever, so that what is written meanwhile is another version."""
        return self.version_id is not None and self.version_id not in UNVERSIONED


def holdings(store: ObjectStore, prefix: str) -> Iterator[Stored]:
    """Everything below a prefix that takes up room, the versions of a key together, the latest first.

    Raises AccessDenied where versions may not be listed: what can't be seen is not taken for nothing.
    """
    if store.s3 is None or not keeps_versions(store):
        for info in store.list(prefix):
            yield Stored(info.key, info.size, info.last_modified, info.etag)
        return
    skip = len(store.s3.full(""))
    for found in s3.list_versions(store.s3.client, store.s3.bucket, store.s3.full(prefix)):
        facts = (found.size, found.last_modified, found.etag, found.version_id, found.is_latest, found.is_delete_marker)
        yield Stored(found.key[skip:], *facts)


def keeps_versions(store: ObjectStore) -> bool:
    """Whether deleting hides only, or did once: the bucket's versioning is on or suspended."""
    return store.s3 is not None and s3.versioning_status(store.s3.client, store.s3.bucket) != "Off"


def remove_contents(store: ObjectStore, doomed: Sequence[Stored], older_than: datetime) -> list[Stored]:
    """Remove contents beside writers that may ask for them at this moment. doomed: all below one prefix.

    Returns what was removed: what has become younger since it was listed stays. When this raises, its condemned list stays.
    """
    unique = [item for item in doomed if item.is_unique and item.last_modified < older_than]
    remove(store, unique)
    bare = {item.key for item in doomed if not item.is_unique}
    if not bare:
        return unique
    name = f"{condemned.PREFIX}{secrets.token_hex(8)}"
    store.put(name, condemned.encode(sorted(bare)))
    prefix = next(iter(bare)).rpartition("/")[0] + "/"
    now = (item for item in holdings(store, prefix) if item.key in bare and not item.is_unique)
    old = [item for item in now if item.last_modified < older_than]
    remove(store, old)
    _remove_wholly(store, name)
    return [*unique, *old]


def remove(store: ObjectStore, doomed: Iterable[Stored]) -> None:
    """Remove these for good. Only for what no writer can ask for: names that are never used again, single versions.

    One that is gone already is no error. Raises AccessDenied, StoreUnavailable.
    """
    if store.s3 is None:
        for item in doomed:
            store.delete(item.key)
        return
    pending = iter(doomed)
    while batch := list(islice(pending, BATCH)):
        named: list[dict[str, str]] = [{"Key": store.s3.full(item.key)} for item in batch]
        for entry, item in zip(named, batch, strict=True):
            if item.version_id is not None:
                entry["VersionId"] = item.version_id
        try:
            answer = store.s3.client.delete_objects(Bucket=store.s3.bucket, Delete={"Objects": named, "Quiet": True})
        except EXPECTED as error:
            raise translate(error, batch[0].key) from None
        _raise_refusals(answer, store)


def forget_condemned(store: ObjectStore) -> int:
    """Take away the condemned lists that killed clean-ups left. Only while no other clean-up runs. Returns how many."""
    left = [info.key for info in store.list(condemned.PREFIX)]
    for key in left:
        _remove_wholly(store, key)
    return len(left)


def _remove_wholly(store: ObjectStore, key: str) -> None:
    remove(store, [item for item in holdings(store, key) if item.key == key])


def _raise_refusals(answer: dict[str, Any], store: ObjectStore) -> None:
    for error in answer.get("Errors", ()):
        told = f"{error.get('Code')}: {error.get('Message')}"
        if error.get("Code") == "AccessDenied":
            raise AccessDenied(error["Key"], f"Not allowed to delete in {store.url} ({told}): check the bucket's policy.")
        raise StoreUnavailable(f"{error['Key']} in {store.url} was not deleted ({told}): run again.")
