"""Buckets and versions of keys on S3, over boto3: what an object store by key does not say. Objects are in `objects`."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import botocore.exceptions
from dagster_aws.s3 import S3Resource

from resources.errors import BucketNotVersioned
from resources.object_backends import EXPECTED, boto3_client, translate
from resources.settings import Settings

Versioning = Literal["Enabled", "Suspended", "Off"]


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


def client(settings: Settings) -> Any:
    """A boto3 client for the S3 of the settings."""
    access_key, secret_key = settings.s3_access_key, settings.s3_secret_key
    return boto3_client(
        settings.s3_endpoint,
        access_key.get_secret_value() if access_key else None,
        secret_key.get_secret_value() if secret_key else None,
        settings.s3_region,
    )


def client_of(resource: S3Resource) -> Any:
    """The boto3 client of Dagster's own S3 resource."""
    return resource.get_client()


def ensure_bucket(s3: Any, name: str, versioning: bool = True) -> None:
    """Make the bucket if it does not exist. versioning: switch it on for a bucket that this call makes.

    An existing bucket is left as its owner set it. Raises AccessDenied, StoreUnavailable, InvalidKey for a bad name.
    """
    try:
        s3.head_bucket(Bucket=name)
        return
    except botocore.exceptions.ClientError as error:
        if error.response["Error"]["Code"] not in ("404", "NoSuchBucket"):
            raise translate(error, name) from None
    except EXPECTED as error:
        raise translate(error, name) from None
    region = s3.meta.region_name
    where = {} if region in (None, "us-east-1") else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    try:
        with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou):
            s3.create_bucket(Bucket=name, **where)
        if versioning:
            s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    except EXPECTED as error:
        raise translate(error, name) from None


def versioning_status(s3: Any, name: str) -> Versioning:
    """Whether the bucket keeps overwritten and deleted objects."""
    try:
        status = s3.get_bucket_versioning(Bucket=name).get("Status", "Off")
    except EXPECTED as error:
        raise translate(error, name) from None
    return "Enabled" if status == "Enabled" else "Suspended" if status == "Suspended" else "Off"


def require_versioning(s3: Any, name: str) -> None:
    """Raise BucketNotVersioned, with the command that changes it, unless overwritten uploads can be got back."""
    status = versioning_status(s3, name)
    if status != "Enabled":
        raise BucketNotVersioned(
            f"Versioning of the bucket {name} is {status.lower()}: an upload that is overwritten is lost, and training data "
            "that used it can't be got back. Switch it on: aws s3api put-bucket-versioning "
            f"--bucket {name} --versioning-configuration Status=Enabled"
        )


def list_versions(
    s3: Any,
    bucket: str,
    prefix: str = "",
    *,
    start_after: str | None = None,
    page_size: int = 1000,
    by_folder: bool | None = None,
) -> Iterator[ObjectVersion]:
    """All versions and delete markers below `prefix`, newest first within a key, page by page as they are consumed.

    start_after: a key given by an earlier call of the same kind, all of whose versions were seen. On a bucket without
    versioning, each object has the version id `null`.
    by_folder: list folder by folder (a folder's own objects, then its subfolders), which costs a request or two a folder.
    SeaweedFS 4.48 needs it: its flat listing loses keys between pages where a folder's name continues another's (`a/`,
    `a-b/`). Default: by folder wherever the client has an endpoint that is not Amazon's; else flat, by key.
    """
    if by_folder is None:
        by_folder = not s3.meta.endpoint_url.rstrip("/").endswith("amazonaws.com")
    try:
        if by_folder:
            yield from _walk(s3, bucket, prefix, start_after, page_size)
        else:
            yield from _pages(s3, bucket, start_after, page_size, Prefix=prefix)
    except EXPECTED as error:
        raise translate(error, prefix) from None


def _walk(s3: Any, bucket: str, folder: str, start_after: str | None, page_size: int) -> Iterator[ObjectVersion]:
    """Everything below `folder` in walking order, after `start_after`."""
    inside = start_after is not None and start_after.startswith(folder)
    rest = start_after[len(folder) :] if inside and start_after is not None else ""
    within = folder + rest.split("/")[0] + "/" if "/" in rest else None
    if within is None:
        yield from _pages(s3, bucket, start_after if inside else None, page_size, Prefix=folder, Delimiter="/")
    for subfolder in _subfolders(s3, bucket, folder):
        if within is None or subfolder > within:
            yield from _walk(s3, bucket, subfolder, None, page_size)
        elif subfolder == within:
            yield from _walk(s3, bucket, subfolder, start_after, page_size)


def _pages(s3: Any, bucket: str, start_after: str | None, page_size: int, **where: str) -> Iterator[ObjectVersion]:
    if start_after:
        where["KeyMarker"] = start_after
    paginator = s3.get_paginator("list_object_versions")
    for page in paginator.paginate(Bucket=bucket, PaginationConfig={"PageSize": page_size}, **where):
        found = [_version(entry, False) for entry in page.get("Versions", ())]
        found += [_version(entry, True) for entry in page.get("DeleteMarkers", ())]
        yield from sorted(
            found, key=lambda version: (version.key, not version.is_latest, -version.last_modified.timestamp())
        )


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
