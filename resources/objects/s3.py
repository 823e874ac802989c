"""Buckets and versions of keys on S3, over boto3. Objects by key are in `store`."""

import contextlib
from collections.abc import Iterator
from typing import Any, Literal

import botocore.exceptions

from resources.errors import BucketNotVersioned
from resources.objects.backends import EXPECTED, boto3_client, translate
from resources.objects.bucket_walk import ObjectVersion, versions_of, walk, with_its_etag
from resources.settings import Settings

__all__ = [
    "ObjectVersion",
    "client",
    "ensure_bucket",
    "list_versions",
    "require_versioning",
    "versioning_status",
]

Versioning = Literal["Enabled", "Suspended", "Off"]


def client(settings: Settings) -> Any:
    """A boto3 client for the S3 of the settings."""
    access_key, secret_key = settings.s3_access_key, settings.s3_secret_key
    return boto3_client(
        settings.s3_endpoint,
        access_key.get_secret_value() if access_key else None,
        secret_key.get_secret_value() if secret_key else None,
        settings.s3_region,
    )


def ensure_bucket(s3: Any, name: str, versioning: bool = True) -> None:
    """Create the bucket if it does not exist. versioning: switch it on for a new bucket.

    An existing bucket keeps its settings. Raises AccessDenied, StoreUnavailable, InvalidKey for a bad name.
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
    """Raise BucketNotVersioned, with the command that switches versioning on, unless it is on."""
    status = versioning_status(s3, name)
    if status != "Enabled":
        raise BucketNotVersioned(
            f"Versioning of the bucket {name} is {status.lower()}: an upload that is overwritten is lost, and training data "
            "that used it can't be restored. Switch it on: aws s3api put-bucket-versioning "
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
    """All versions and delete markers below `prefix`, newest first within a key, read page by page.

    start_after: a key from an earlier call with the same arguments whose versions were all read; a few may be repeated.
    On a bucket without versioning, each object has the version id `null`.
    by_folder: list with `bucket_walk`, folder by folder, a folder's own objects first. Default: if the client's endpoint is
    not Amazon's. Otherwise flat, by key.
    """
    if by_folder is None:
        by_folder = not s3.meta.endpoint_url.rstrip("/").endswith("amazonaws.com")
    try:
        if by_folder:
            yield from (with_its_etag(s3, bucket, version) for version in walk(s3, bucket, prefix, start_after, page_size))
        else:
            after = {"KeyMarker": start_after} if start_after else {}
            paginator = s3.get_paginator("list_object_versions")
            for page in paginator.paginate(Bucket=bucket, Prefix=prefix, PaginationConfig={"PageSize": page_size}, **after):
                yield from versions_of(page)
    except EXPECTED as error:
        raise translate(error, prefix) from None
