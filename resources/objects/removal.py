"""Lists all stored versions, and removes some of them permanently. `removal_marks` has the protocol."""

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from resources.errors import AccessDenied, StoreUnavailable
from resources.objects import removal_marks, s3
from resources.objects.backends import EXPECTED, translate
from resources.objects.object_info import UNVERSIONED
from resources.objects.store import ObjectStore

BATCH = 1_000
"""S3's limit for deletions in one request."""


@dataclass(frozen=True)
class Stored:
    """One version of a key, or its only object in a store without versions.

    version_id: None in a store without versions, `null` for an object that was put without versioning. is_marker: a delete
    marker, which hides older versions; size 0.
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
        """Whether the version id belongs to these bytes forever, so that a concurrent write creates another version."""
        return self.version_id is not None and self.version_id not in UNVERSIONED


def holdings(store: ObjectStore, prefix: str) -> Iterator[Stored]:
    """All stored versions below a prefix, grouped by key, the latest first.

    Raises AccessDenied if versions may not be listed.
    """
    if store.s3 is None or not keeps_versions(store):
        for info in store.list(prefix):
            yield Stored(info.key, info.size, info.last_modified, info.etag)
        return
    prefix_length = len(store.s3.full(""))
    for version in s3.list_versions(store.s3.client, store.s3.bucket, store.s3.full(prefix)):
        yield Stored(
            version.key[prefix_length:],
            version.size,
            version.last_modified,
            version.etag,
            version.version_id,
            version.is_latest,
            version.is_delete_marker,
        )


def keeps_versions(store: ObjectStore) -> bool:
    """Whether the bucket has old versions: its versioning is on or suspended."""
    return store.s3 is not None and s3.versioning_status(store.s3.client, store.s3.bucket) != "Off"


def remove_contents(store: ObjectStore, candidates: Sequence[Stored], older_than: datetime) -> list[Stored]:
    """Remove contents while writers may need them. candidates: all below one prefix.

    Returns the removed ones: contents that were renewed since they were listed stay. If this raises, its removal list stays.
    """
    unique = [item for item in candidates if item.is_unique and item.last_modified < older_than]
    remove(store, unique)
    unversioned_keys = {item.key for item in candidates if not item.is_unique}
    if not unversioned_keys:
        return unique
    name = f"{removal_marks.PREFIX}{secrets.token_hex(8)}"
    store.put(name, removal_marks.encode(sorted(unversioned_keys)))
    prefix = next(iter(unversioned_keys)).rpartition("/")[0] + "/"
    now = (item for item in holdings(store, prefix) if item.key in unversioned_keys and not item.is_unique)
    removed = [item for item in now if item.last_modified < older_than]
    remove(store, removed)
    _remove_all_versions(store, name)
    return [*unique, *removed]


def remove(store: ObjectStore, items: Iterable[Stored]) -> None:
    """Remove items permanently. Only for items that no writer can need: unique names, and single versions.

    A missing item is no error. Raises AccessDenied, StoreUnavailable.
    """
    if store.s3 is None:
        for item in items:
            store.delete(item.key)
        return
    pending = iter(items)
    while batch := list(islice(pending, BATCH)):
        entries: list[dict[str, str]] = [{"Key": store.s3.full(item.key)} for item in batch]
        for entry, item in zip(entries, batch, strict=True):
            if item.version_id is not None:
                entry["VersionId"] = item.version_id
        try:
            answer = store.s3.client.delete_objects(Bucket=store.s3.bucket, Delete={"Objects": entries, "Quiet": True})
        except EXPECTED as error:
            raise translate(error, batch[0].key) from None
        _raise_refusals(answer, store)


def delete_removal_lists(store: ObjectStore) -> int:
    """Delete the removal lists of killed clean-ups, while no other clean-up runs. Returns their number."""
    keys = [info.key for info in store.list(removal_marks.PREFIX)]
    for key in keys:
        _remove_all_versions(store, key)
    return len(keys)


def _remove_all_versions(store: ObjectStore, key: str) -> None:
    remove(store, [item for item in holdings(store, key) if item.key == key])


def _raise_refusals(answer: dict[str, Any], store: ObjectStore) -> None:
    for error in answer.get("Errors", ()):
        message = f"{error.get('Code')}: {error.get('Message')}"
        if error.get("Code") == "AccessDenied":
            raise AccessDenied(error["Key"], f"Not allowed to delete in {store.url} ({message}): check the bucket's policy.")
        raise StoreUnavailable(f"{error['Key']} in {store.url} was not deleted ({message}): run again.")
