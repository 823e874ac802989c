"""Version ids of listed objects: the same by listing as by asking, and never a wrong one."""

from typing import Any

import pytest

from resources.objects import version_ids
from resources.objects.store import ObjectInfo, ObjectStore
from resources.objects.version_ids import with_versions


@pytest.fixture
def store(bucket: str, s3_options: dict[str, str]) -> ObjectStore:
    return ObjectStore.open(f"s3://{bucket}/team", **s3_options)


def requests_of(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys that are asked for one by one from now on."""
    asked: list[str] = []
    head = store.head

    def counted(key: str, **options: Any) -> ObjectInfo:
        asked.append(key)
        return head(key, **options)

    monkeypatch.setattr(store, "head", counted)
    return asked


@pytest.mark.parametrize(("few", "page"), [(100, 1000), (3, 1000), (3, 4)])
def test_each_object_gets_the_version_to_read_it_with(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, few: int, page: int
) -> None:
    monkeypatch.setattr(version_ids, "FEW", few)
    monkeypatch.setattr(version_ids, "PAGE", page)
    names = ["a", "a-b", "a.jpg", "a/b", "day/x", "day/x y", "day/x+y", "z", "é"]
    for name in names:
        store.put(name, b"old")
    made = {name: store.put(name, name.encode()) for name in names}
    found = with_versions(store, list(store.list()))
    assert {info.key: info.version_id for info in found} == made
    assert all(store.get(info.key, version_id=info.version_id) == info.key.encode() for info in found)


def test_hundreds_of_objects_cost_few_requests(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {f"{n:03}": store.put(f"{n:03}", b"x") for n in range(150)}
    asked = requests_of(store, monkeypatch)
    found = with_versions(store, list(store.list()))
    assert {info.key: info.version_id for info in found} == made
    assert asked == ["000"]


def test_what_the_listing_of_versions_tells_of_another_content_is_asked_for_itself(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version_ids, "FEW", 2)
    for name in "abcd":
        store.put(name, b"first")
    listed = list(store.list())
    newer = store.put("c", b"second")
    store.delete("d")
    asked = requests_of(store, monkeypatch)
    found = {info.key: info for info in with_versions(store, listed)}
    assert sorted(found) == ["a", "b", "c"]
    assert found["c"].version_id == newer
    assert sorted(asked) == ["a", "c", "d"]


def test_a_bucket_without_versions_tells_none(
    bucket: str, s3_options: dict[str, str], s3_client: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(version_ids, "FEW", 1)
    s3_client.create_bucket(Bucket=f"{bucket}-plain")
    plain = ObjectStore.open(f"s3://{bucket}-plain", **s3_options)
    for name in "abc":
        plain.put(name, b"x")
    found = with_versions(plain, list(plain.list()))
    assert [info.key for info in found] == ["a", "b", "c"]
    assert {info.version_id for info in found} <= {None, "null", ""}
