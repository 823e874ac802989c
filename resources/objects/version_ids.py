"""Adds version ids to listed objects, which a plain listing does not contain. `ledger` says what they are for.

A few objects cost one request each; many cost one request per thousand, from the listing of versions. That listing is only a
short cut: objects that are missing in it are requested one by one.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice

from resources.errors import NotFound, ObjectError
from resources.objects import s3
from resources.objects.store import ObjectInfo, ObjectStore

HEADS_AT_ONCE = 16
FEW = 100
"""Up to this number, one request per object costs less than pages of versions that may contain mostly other objects."""
PAGE = 1_000


def with_versions(store: ObjectStore, listed: Sequence[ObjectInfo]) -> list[ObjectInfo]:
    """Listed objects with their version ids, by key. Objects that no longer exist are left out."""
    ordered = sorted(listed, key=lambda info: info.key)
    with_ids = _from_listing(store, ordered) if len(ordered) > FEW else {}
    without_ids = [info for info in ordered if info.key not in with_ids]
    with ThreadPoolExecutor(HEADS_AT_ONCE) as pool:
        heads = [info for info in pool.map(lambda info: _head(store, info), without_ids) if info is not None]
    return sorted([*with_ids.values(), *heads], key=lambda info: info.key)


def _from_listing(store: ObjectStore, ordered: Sequence[ObjectInfo]) -> dict[str, ObjectInfo]:
    """The objects by key whose newest version is in the listing of versions; reads at most twice the pages that they fill.

    A listing continues *after* a key, so that it lacks the first object of each stretch.
    """
    if store.s3 is None:
        return {}
    access, pages = store.s3, 2 * (len(ordered) // PAGE + 1)
    by_full_key = {access.full(info.key): info for info in ordered}
    with_ids: dict[str, ObjectInfo] = {}
    keys, at = list(by_full_key), 0
    while at < len(keys) and pages > 0:
        versions = s3.list_versions(access.client, access.bucket, access.full(""), start_after=keys[at], by_folder=False)
        try:
            page = list(islice(versions, PAGE))
        except ObjectError:
            return with_ids  # the credentials may allow to list objects, but not versions
        pages -= 1
        for version in page:
            info = by_full_key.get(version.key)
            if info is not None and version.is_latest and version.etag == info.etag:
                with_ids[info.key] = replace(info, version_id=version.version_id, last_modified=version.last_modified)
        end = page[-1].key if page else keys[-1]
        at = next((n for n in range(at + 1, len(keys)) if keys[n] > end), len(keys))
    return with_ids


def _head(store: ObjectStore, info: ObjectInfo) -> ObjectInfo | None:
    try:
        return store.head(info.key)
    except NotFound:
        return None
    except ObjectError:  # listed, but not readable: its row will say why
        return _from_its_versions(store, info)


def _from_its_versions(store: ObjectStore, info: ObjectInfo) -> ObjectInfo:
    """One object with its version id from the listing of versions, if that contains it."""
    if store.s3 is None:
        return info
    key = store.s3.full(info.key)
    try:
        version = next(s3.list_versions(store.s3.client, store.s3.bucket, key, by_folder=False), None)
    except ObjectError:
        return info
    is_same = version is not None and version.key == key and version.is_latest and version.etag == info.etag
    return replace(info, version_id=version.version_id) if version is not None and is_same else info
