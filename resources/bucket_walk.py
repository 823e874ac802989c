"""All versions of a bucket, also from a server whose own listing of versions loses some. Used by `s3.list_versions`.

SeaweedFS 4.48 pages in the order of its files (`x-y.versions` before `x.versions`) but resumes in the order of keys (`x`
before `x-y`), so that what lies between falls out wherever a page ends inside such a family of names. Its listing of
objects is complete. Here: folder by folder, and after each page what the listing of objects knows and the page left out.
What may still be missing there is the past of an object that is deleted now; no object that is there is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class ObjectVersion:
    """One version of a key, or a delete marker (size 0, no etag)."""

    key: str
    version_id: str
    etag: str | None
    size: int
    last_modified: datetime
    is_latest: bool
    is_delete_marker: bool


def walk(s3: Any, bucket: str, folder: str, start_after: str | None, page_size: int) -> Iterator[ObjectVersion]:
    """Everything below `folder`: its own objects by key, then each subfolder; after `start_after` in that order."""
    inside = start_after if start_after is not None and start_after.startswith(folder) else None
    parent, _, _ = (inside or "")[len(folder) :].partition("/")
    within = f"{folder}{parent}/" if inside is not None and "/" in inside[len(folder) :] else None
    if within is None:
        yield from _own_versions(s3, bucket, folder, inside, page_size)
    for subfolder in _subfolders(s3, bucket, folder):
        if within is None or subfolder > within:
            yield from walk(s3, bucket, subfolder, None, page_size)
        elif subfolder == within:
            yield from walk(s3, bucket, subfolder, inside, page_size)


def versions_of(page: dict[str, Any]) -> list[ObjectVersion]:
    """One page of `list_object_versions`, by key, the latest first."""
    found = [_version(entry, False) for entry in page.get("Versions", ())]
    found += [_version(entry, True) for entry in page.get("DeleteMarkers", ())]
    return sorted(found, key=lambda found: (found.key, not found.is_latest, -found.last_modified.timestamp()))


def _own_versions(s3: Any, bucket: str, folder: str, start_after: str | None, page_size: int) -> Iterator[ObjectVersion]:
    """Versions of the objects directly in a folder."""
    where = {"Bucket": bucket, "Prefix": folder, "Delimiter": "/", "MaxKeys": page_size}
    markers = {"KeyMarker": start_after} if start_after else {}
    live: list[str] | None = None
    given: set[tuple[str, str]] = set()
    if start_after:
        # The call that stopped here may have stopped before these.
        live = _live_keys(s3, bucket, folder)
        for key in (key for key in live if start_after.startswith(key) and key != start_after):
            yield from _new(_versions_of_key(s3, bucket, key), given)
    while True:
        page = s3.list_object_versions(**where, **markers)
        found = versions_of(page)
        yield from _new(found, given)
        if not page["IsTruncated"]:
            return
        end = page["NextKeyMarker"]
        live = live if live is not None else _live_keys(s3, bucket, folder)
        whole = {key for key, _ in given}
        cut = {version.key for version in found if end.startswith(version.key) and version.key != end}
        lost = {key for key in live if (start_after or "") < key < end and key not in whole}
        for key in sorted(cut | lost):
            yield from _new(_versions_of_key(s3, bucket, key), given)
        markers = {"KeyMarker": end, "VersionIdMarker": page.get("NextVersionIdMarker") or ""}
        if not markers["VersionIdMarker"]:
            del markers["VersionIdMarker"]


def _new(versions: list[ObjectVersion], given: set[tuple[str, str]]) -> Iterator[ObjectVersion]:
    for version in versions:
        if (version.key, version.version_id) not in given:
            given.add((version.key, version.version_id))
            yield version


def _versions_of_key(s3: Any, bucket: str, key: str) -> list[ObjectVersion]:
    """All versions of one key; only the latest where a thousand keys that continue it hide the others."""
    page = s3.list_object_versions(Bucket=bucket, Prefix=key, Delimiter="/")
    found = [version for version in versions_of(page) if version.key == key]
    if found:
        return found
    head = s3.head_object(Bucket=bucket, Key=key)
    etag, version_id = head["ETag"].strip('"'), head.get("VersionId", "null")
    return [ObjectVersion(key, version_id, etag, head["ContentLength"], head["LastModified"], True, False)]


def _live_keys(s3: Any, bucket: str, folder: str) -> list[str]:
    """Keys of the objects directly in a folder that are not deleted."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=folder, Delimiter="/")
    return [entry["Key"] for page in pages for entry in page.get("Contents", ())]


def _subfolders(s3: Any, bucket: str, folder: str) -> list[str]:
    """Subfolders with anything in them: objects, by the listing that is complete, or delete markers only."""
    found: set[str] = set()
    for method in ("list_objects_v2", "list_object_versions"):
        for page in s3.get_paginator(method).paginate(Bucket=bucket, Prefix=folder, Delimiter="/"):
            found |= {entry["Prefix"] for entry in page.get("CommonPrefixes", ())}
    return sorted(found - {folder})


def _version(entry: dict[str, Any], is_delete_marker: bool) -> ObjectVersion:
    etag = entry.get("ETag")
    return ObjectVersion(
        key=entry["Key"],
        version_id=entry["VersionId"],
        etag=etag.strip('"') if etag else None,
        size=entry.get("Size", 0),
        last_modified=entry["LastModified"],
        is_latest=entry["IsLatest"],
        is_delete_marker=is_delete_marker,
    )
