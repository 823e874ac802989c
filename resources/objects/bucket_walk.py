"""Lists all versions of a bucket, also from a server whose own listing of versions skips some. Used by `s3.list_versions`.

SeaweedFS 4.48 pages in the order of its files (`x-y.versions` before `x.versions`) but resumes in the order of keys (`x`
before `x-y`), so that it skips the keys in between if a page ends inside such a group of names. Its listing of objects is
complete. Therefore this walk goes folder by folder, and adds after each page the keys that only the listing of objects has.
Of 240 versions in pages of 50, a plain listing has 236 and this walk all, for 0.3 instead of 0.02 CPU s.
Old versions of a deleted object may still be missing; no existing object is.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import botocore.exceptions


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
    """All versions below `folder`: its own objects by key, then each subfolder; after `start_after` in that order."""
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
    """The versions of one page of `list_object_versions`, by key, the latest first."""
    versions = [_version(entry, False) for entry in page.get("Versions", ())]
    versions += [_version(entry, True) for entry in page.get("DeleteMarkers", ())]
    return sorted(versions, key=lambda version: (version.key, not version.is_latest, -version.last_modified.timestamp()))


def with_its_etag(s3: Any, bucket: str, version: ObjectVersion) -> ObjectVersion:
    """A version with the ETag that reading it returns: SeaweedFS 4.48 lists another one for multipart `null` versions."""
    if version.version_id != "null" or "-" not in (version.etag or ""):
        return version
    try:
        head = s3.head_object(Bucket=bucket, Key=version.key, VersionId="null")
    except botocore.exceptions.ClientError:
        return version
    return replace(version, etag=head["ETag"].strip('"'))


def _own_versions(s3: Any, bucket: str, folder: str, start_after: str | None, page_size: int) -> Iterator[ObjectVersion]:
    """Versions of the objects directly in a folder."""
    request = {"Bucket": bucket, "Prefix": folder, "Delimiter": "/", "MaxKeys": page_size}
    markers = {"KeyMarker": start_after} if start_after else {}
    live: list[str] | None = None
    yielded: set[tuple[str, str]] = set()
    if start_after:
        # The earlier call may have stopped before these.
        live = _live_keys(s3, bucket, folder)
        for key in (key for key in live if start_after.startswith(key) and key != start_after):
            yield from _new(_versions_of_key(s3, bucket, key), yielded)
    while True:
        page = s3.list_object_versions(**request, **markers)
        versions = versions_of(page)
        yield from _new(versions, yielded)
        if not page["IsTruncated"]:
            return
        end = page["NextKeyMarker"]
        live = live if live is not None else _live_keys(s3, bucket, folder)
        complete = {key for key, _ in yielded}
        cut = {version.key for version in versions if end.startswith(version.key) and version.key != end}
        missing = {key for key in live if (start_after or "") < key < end and key not in complete}
        for key in sorted(cut | missing):
            yield from _new(_versions_of_key(s3, bucket, key), yielded)
        markers = {"KeyMarker": end, "VersionIdMarker": page.get("NextVersionIdMarker") or ""}
        if not markers["VersionIdMarker"]:
            del markers["VersionIdMarker"]


def _new(versions: list[ObjectVersion], yielded: set[tuple[str, str]]) -> Iterator[ObjectVersion]:
    for version in versions:
        if (version.key, version.version_id) not in yielded:
            yielded.add((version.key, version.version_id))
            yield version


def _versions_of_key(s3: Any, bucket: str, key: str) -> list[ObjectVersion]:
    """All versions of one key; only the latest if a thousand keys with this prefix hide the others."""
    page = s3.list_object_versions(Bucket=bucket, Prefix=key, Delimiter="/")
    versions = [version for version in versions_of(page) if version.key == key]
    if versions:
        return versions
    head = s3.head_object(Bucket=bucket, Key=key)
    etag, version_id = head["ETag"].strip('"'), head.get("VersionId", "null")
    return [ObjectVersion(key, version_id, etag, head["ContentLength"], head["LastModified"], True, False)]


def _live_keys(s3: Any, bucket: str, folder: str) -> list[str]:
    """Keys of the existing objects directly in a folder."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=folder, Delimiter="/")
    return [entry["Key"] for page in pages for entry in page.get("Contents", ())]


def _subfolders(s3: Any, bucket: str, folder: str) -> list[str]:
    """Subfolders with objects, by the complete listing, or with delete markers only."""
    subfolders: set[str] = set()
    for method in ("list_objects_v2", "list_object_versions"):
        for page in s3.get_paginator(method).paginate(Bucket=bucket, Prefix=folder, Delimiter="/"):
            subfolders |= {entry["Prefix"] for entry in page.get("CommonPrefixes", ())}
    return sorted(subfolders - {folder})


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
