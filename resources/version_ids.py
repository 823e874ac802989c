"""Version ids of listed objects, which a plain listing does not tell. What they are for is in `ledger`.

One request an object for a few; one request a thousand for many, from the listing of versions. That listing is a
short cut only: what it does not tell of an object is asked of the object itself.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice

from resources import s3
from resources.errors import NotFound, ObjectError
from resources.object_store import ObjectInfo, ObjectStore

HEADS_AT_ONCE = 16
FEW = 100
"""Up to here, asking each object costs less than a page of versions that may hold mostly others."""
PAGE = 1_000


def with_versions(store: ObjectStore, found: Sequence[ObjectInfo]) -> list[ObjectInfo]:
    """Listed objects with their version ids, by key. One that is gone by now is left out."""
    ordered = sorted(found, key=lambda info: info.key)
    listed = _from_listing(store, ordered) if len(ordered) > FEW else {}
    asked = [info for info in ordered if info.key not in listed]
    with ThreadPoolExecutor(HEADS_AT_ONCE) as pool:
        heads = [info for info in pool.map(lambda info: _head(store, info), asked) if info is not None]
    return sorted([*listed.values(), *heads], key=lambda info: info.key)


def _from_listing(store: ObjectStore, ordered: Sequence[ObjectInfo]) -> dict[str, ObjectInfo]:
    """By key, those whose newest version the listing of versions tells; at most twice the pages that all of them fill.

    A listing goes on *after* a key: so the first object of each stretch is not in it.
    """
    if store.s3 is None:
        return {}
    access, pages = store.s3, 2 * (len(ordered) // PAGE + 1)
    wanted = {access.full(info.key): info for info in ordered}
    told: dict[str, ObjectInfo] = {}
    keys, at = list(wanted), 0
    while at < len(keys) and pages > 0:
        versions = s3.list_versions(access.client, access.bucket, access.full(""), start_after=keys[at], by_folder=False)
        try:
            page = list(islice(versions, PAGE))
        except ObjectError:
            return told  # its owner may list objects, and not versions
        pages -= 1
        for version in page:
            info = wanted.get(version.key)
            if info is not None and version.is_latest and version.etag == info.etag:
                told[info.key] = replace(info, version_id=version.version_id, last_modified=version.last_modified)
        end = page[-1].key if page else keys[-1]
        at = next((n for n in range(at + 1, len(keys)) if keys[n] > end), len(keys))
    return told


def _head(store: ObjectStore, info: ObjectInfo) -> ObjectInfo | None:
    try:
        return store.head(info.key)
    except NotFound:
        return None
    except ObjectError:
        return info  # listed, but it can't be asked for: its row will say why
