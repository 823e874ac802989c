"""Buckets and versions on the real S3 server."""

import itertools
from datetime import UTC, datetime
from typing import Any

import pytest
from dagster_aws.s3 import S3Resource

from resources.errors import AccessDenied, BucketMissing, BucketNotVersioned, ResourceError
from resources.objects import backends, s3
from resources.objects.backends import boto3_client
from resources.servers.endpoints import Endpoints


def put(client: Any, bucket: str, key: str, body: bytes = b"x") -> str:
    return client.put_object(Bucket=bucket, Key=key, Body=body)["VersionId"]


def test_a_bucket_is_made_with_versions_and_making_it_again_changes_nothing(s3_client: Any, bucket: str) -> None:
    assert s3.versioning_status(s3_client, bucket) == "Enabled"
    put(s3_client, bucket, "a")
    s3.ensure_bucket(s3_client, bucket, versioning=False)
    assert s3.versioning_status(s3_client, bucket) == "Enabled"
    assert len(list(s3.list_versions(s3_client, bucket))) == 1
    s3.require_versioning(s3_client, bucket)


def test_a_bucket_without_versions_is_named_with_the_command_that_helps(s3_client: Any, bucket: str) -> None:
    name = f"{bucket}-plain"
    s3.ensure_bucket(s3_client, name, versioning=False)
    assert s3.versioning_status(s3_client, name) == "Off"
    with pytest.raises(BucketNotVersioned, match=f"put-bucket-versioning --bucket {name}"):
        s3.require_versioning(s3_client, name)
    s3.ensure_bucket(s3_client, name, versioning=True)
    assert s3.versioning_status(s3_client, name) == "Off"
    s3_client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Suspended"})
    with pytest.raises(BucketNotVersioned, match="is suspended"):
        s3.require_versioning(s3_client, name)


def test_a_bucket_without_versions_lists_each_object_once_as_null(s3_client: Any, bucket: str) -> None:
    name = f"{bucket}-plain"
    s3.ensure_bucket(s3_client, name, versioning=False)
    for body in (b"one", b"two!"):
        s3_client.put_object(Bucket=name, Key="a", Body=body)
    versions = list(s3.list_versions(s3_client, name))
    assert [(v.key, v.version_id, v.size, v.is_latest) for v in versions] == [("a", "null", 4, True)]


def test_overwrites_and_deletions_are_all_listed_newest_first(s3_client: Any, bucket: str) -> None:
    first, second = put(s3_client, bucket, "a", b"1"), put(s3_client, bucket, "a", b"22")
    marker = s3_client.delete_object(Bucket=bucket, Key="a")["VersionId"]
    put(s3_client, bucket, "b", b"333")
    versions = list(s3.list_versions(s3_client, bucket))
    assert [(v.key, v.size, v.is_latest, v.is_delete_marker) for v in versions] == [
        ("a", 0, True, True),
        ("a", 2, False, False),
        ("a", 1, False, False),
        ("b", 3, True, False),
    ]
    assert [v.version_id for v in versions[:3]] == [marker, second, first]
    assert versions[2].etag == "c4ca4238a0b923820dcc509a6f75849b"


NAMES = ("x", "x-y", "x.jpg", "x x", "y")
FOLDERS = ("day/anna", "day/anna-marie", "day/anna.b", "day/anna!", "day-2/bob", "deep/a/b/c")


@pytest.mark.parametrize("page_size", [1, 2, 3, 1000])
def test_no_key_is_lost_between_pages_whatever_names_continue_each_other(
    s3_client: Any, bucket: str, page_size: int
) -> None:
    keys = {f"{folder}/{name}" for folder in FOLDERS for name in NAMES} | {"day/anna.jpg", "day/z", "day.3", "top"}
    made = {(key, put(s3_client, bucket, key)) for key in keys}
    made |= {(key, put(s3_client, bucket, key)) for key in sorted(keys)[::3]}
    listed = list(s3.list_versions(s3_client, bucket, page_size=page_size))
    assert {(v.key, v.version_id) for v in listed} == made
    assert len(listed) == len(made)
    in_one = {v.key for v in s3.list_versions(s3_client, bucket, "day/", page_size=page_size)}
    assert in_one == {key for key in keys if key.startswith("day/")}


@pytest.mark.parametrize("page_size", [2, 1000])
def test_a_listing_goes_on_after_any_key_without_losing_one(s3_client: Any, bucket: str, page_size: int) -> None:
    keys = {f"{folder}/{name}" for folder in FOLDERS[:2] for name in NAMES} | {"day/anna.jpg", "top"}
    for key in keys:
        put(s3_client, bucket, key)
    listed = [v.key for v in s3.list_versions(s3_client, bucket, page_size=page_size)]
    for seen, key in enumerate(listed, start=1):
        rest = {v.key for v in s3.list_versions(s3_client, bucket, start_after=key, page_size=page_size)}
        assert rest >= set(listed[seen:])
        assert key not in rest


def test_a_folder_with_nothing_but_deletions_is_listed(s3_client: Any, bucket: str) -> None:
    put(s3_client, bucket, "day/anna/a")
    s3_client.delete_object(Bucket=bucket, Key="day/anna/a")
    assert [(v.key, v.is_delete_marker) for v in s3.list_versions(s3_client, bucket)] == [
        ("day/anna/a", True),
        ("day/anna/a", False),
    ]


def test_versions_come_page_by_page(s3_client: Any, bucket: str) -> None:
    for i in range(30):
        put(s3_client, bucket, f"{i:02d}")
    requests = []
    s3_client.meta.events.register("before-call.s3.ListObjectVersions", lambda **_: requests.append(1), unique_id="count")
    try:
        first = list(itertools.islice(s3.list_versions(s3_client, bucket, page_size=10), 5))
    finally:
        s3_client.meta.events.unregister("before-call.s3.ListObjectVersions", unique_id="count")
    assert [v.key for v in first] == ["00", "01", "02", "03", "04"]
    assert len(requests) == 1


def test_a_bucket_that_is_not_there_is_not_an_empty_one(s3_client: Any) -> None:
    for ask in (s3.versioning_status, lambda client, name: list(s3.list_versions(client, name))):
        with pytest.raises(BucketMissing):
            ask(s3_client, "no-such-bucket")


def test_a_wrong_secret_is_denied(services: Endpoints, bucket: str) -> None:
    client = boto3_client(services.s3_endpoint, services.access_key, "wrong" * 8, services.region)
    for ask in (s3.ensure_bucket, s3.versioning_status, lambda client, name: list(s3.list_versions(client, name))):
        with pytest.raises(AccessDenied):
            ask(client, bucket)
    client.close()


@pytest.mark.parametrize("name", ["", "B", "no_underscores_", "a/b", "x" * 70])
def test_a_bad_bucket_name_is_an_error_of_ours(s3_client: Any, name: str) -> None:
    with pytest.raises(ResourceError):
        s3.ensure_bucket(s3_client, name)


def test_dagsters_own_s3_resource_gives_the_client(services: Endpoints, bucket: str) -> None:
    resource = S3Resource(
        endpoint_url=services.s3_endpoint,
        aws_access_key_id=services.access_key,
        aws_secret_access_key=services.secret_key,
        region_name=services.region,
    )
    client = resource.get_client()
    assert s3.versioning_status(client, bucket) == "Enabled"
    client.close()


@pytest.mark.parametrize(
    "text", ["2026-02-01T12:00:00.000Z", "2026-02-01T12:00:00+00:00", "Sun, 01 Feb 2026 12:00:00 GMT", 1769947200]
)
def test_the_times_of_a_response_are_read_in_every_form(text: str | int) -> None:
    assert backends._moment(text) == datetime(2026, 2, 1, 12, tzinfo=UTC)
