"""The contract of ObjectStore, kept by the folder, the real S3 server and memory alike."""

import hashlib
import itertools
import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.errors import (
    AccessDenied,
    BadCredentials,
    BucketMissing,
    CorruptObject,
    InsecureEndpoint,
    InvalidKey,
    InvalidRange,
    NotFound,
    ObjectError,
    Overwritten,
    StoreUnavailable,
    TooLarge,
)
from resources.objects import s3
from resources.objects.resource import Objects
from resources.objects.store import ObjectRef, ObjectStore, content_key

BACKENDS = ("folder", "s3", "memory")
MB = 1024**2


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def store(backend: str, object_store: Callable[[str], ObjectStore]) -> ObjectStore:
    return object_store(backend)


def noise(size: int, seed: int = 0) -> bytes:
    """`size` bytes that don't repeat and don't compress."""
    blocks = (hashlib.sha512(f"{seed}/{i}".encode()).digest() for i in itertools.count())
    return b"".join(itertools.islice(blocks, size // 64 + 1))[:size]


def put_all(store: ObjectStore, objects: dict[str, bytes]) -> None:
    assert {key: error for key, error in store.put_many(objects.items()) if error} == {}


# Contents by sha256.


def test_a_content_is_stored_under_its_sha256_and_read_back(store: ObjectStore) -> None:
    ref = store.put_if_absent(b"hello")
    digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    assert ref == ObjectRef(digest, 5)
    assert store.get(f"sha256/2c/{digest[2:]}") == b"hello"
    assert store.get_content(digest) == b"hello"


def test_the_same_content_twice_is_one_object_that_is_not_written_again(store: ObjectStore) -> None:
    ref = store.put_if_absent(b"twice")
    before = store.head(content_key(ref.sha256))
    assert store.put_if_absent(b"twice") == ref
    assert store.head(content_key(ref.sha256)) == before
    assert [info.key for info in store.list("sha256/")] == [content_key(ref.sha256)]


def test_an_empty_content_is_a_content(store: ObjectStore) -> None:
    ref = store.put_if_absent(b"")
    assert ref.size == 0
    assert store.get_content(ref.sha256) == b""


def test_a_file_is_stored_like_its_bytes(store: ObjectStore, tmp_path: Path) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(noise(100_000))
    assert store.put_if_absent(file) == store.put_if_absent(noise(100_000))


def test_many_threads_that_put_the_same_contents_at_once_all_succeed(store: ObjectStore) -> None:
    contents = [noise(20_000, seed) for seed in range(5)] * 8
    barrier = threading.Barrier(8)

    def put(content: bytes) -> ObjectRef:
        barrier.wait(timeout=30)
        return store.put_if_absent(content)

    with ThreadPoolExecutor(8) as threads:
        refs = list(threads.map(put, contents))
    assert [ref.sha256 for ref in refs] == [hashlib.sha256(content).hexdigest() for content in contents]
    assert len(list(store.list("sha256/"))) == 5
    assert all(store.get_content(ref.sha256) == content for ref, content in zip(refs, contents, strict=True))


def test_a_content_whose_bytes_were_changed_is_not_returned(store: ObjectStore) -> None:
    ref = store.put_if_absent(b"the truth")
    store.put(content_key(ref.sha256), b"the trutH")
    with pytest.raises(CorruptObject) as caught:
        store.get_content(ref.sha256)
    assert ref.sha256 in str(caught.value)
    assert hashlib.sha256(b"the trutH").hexdigest() in str(caught.value)


def test_a_content_that_was_cut_off_is_noticed_when_it_is_put_again(store: ObjectStore) -> None:
    ref = store.put_if_absent(b"the whole truth")
    store.put(content_key(ref.sha256), b"the whole")
    with pytest.raises(CorruptObject, match="9 bytes, not 15"):
        store.put_if_absent(b"the whole truth")


@pytest.mark.parametrize("digest", ["", "abc", "../../etc/passwd", "2CF2" * 16, "2cf2" * 15 + "2cf\n"])
def test_what_is_no_sha256_names_no_content(store: ObjectStore, digest: str) -> None:
    with pytest.raises(ValueError, match="is no sha256"):
        store.get_content(digest)


# One object by key.


def test_a_put_replaces_what_was_there(store: ObjectStore) -> None:
    store.put("a/b.txt", b"one")
    store.put("a/b.txt", b"two")
    assert store.get("a/b.txt") == b"two"


def test_head_says_size_tag_and_time(store: ObjectStore) -> None:
    store.put("a/b.txt", b"12345")
    info = store.head("a/b.txt")
    assert (info.key, info.size, info.last_modified.utcoffset().total_seconds()) == ("a/b.txt", 5, 0)
    store.put("a/b.txt", b"1234")
    assert store.head("a/b.txt").etag != info.etag


def test_what_was_never_written_is_not_found_by_any_method(store: ObjectStore) -> None:
    assert not store.exists("no/such.jpg")
    for method in (store.get, store.head, lambda key: store.get_range(key, 0, 1)):
        with pytest.raises(NotFound) as caught:
            method("no/such.jpg")
        assert caught.value.key == "no/such.jpg"


def test_a_deleted_object_is_gone_and_deleting_it_again_is_no_error(store: ObjectStore) -> None:
    store.put("a", b"1")
    store.delete("a")
    store.delete("a")
    assert not store.exists("a")
    assert list(store.list()) == []


@pytest.mark.parametrize(("start", "end"), [(0, 1), (0, 100), (37, 64), (99, 100), (50, 1000), (0, 0), (7, 7)])
def test_a_range_is_the_slice_of_the_same_bounds(store: ObjectStore, start: int, end: int) -> None:
    store.put("data", noise(100))
    assert store.get_range("data", start, end) == noise(100)[start:end]


def test_a_range_beyond_the_end_is_an_error(store: ObjectStore) -> None:
    store.put("data", noise(100))
    with pytest.raises(InvalidRange):
        store.get_range("data", 100, 101)
    with pytest.raises(ValueError, match="The range 5 to 3"):
        store.get_range("data", 5, 3)


@pytest.mark.slow
def test_forty_megabytes_from_memory_and_from_a_file_arrive_whole(store: ObjectStore, tmp_path: Path) -> None:
    data = noise(MB) * 40
    file = tmp_path / "large.bin"
    file.write_bytes(data)
    store.put("from-memory", data)
    store.put("from-file", file)
    for key in ("from-memory", "from-file"):
        assert hashlib.sha256(store.get(key)).digest() == hashlib.sha256(data).digest()
        assert store.get_range(key, 8 * MB - 10, 8 * MB + 10) == data[8 * MB - 10 : 8 * MB + 10]


# Listings.


@pytest.mark.slow
def test_three_thousand_keys_are_listed_once_each_in_order_and_from_any_key_on(store: ObjectStore) -> None:
    keys = [
        f"uploads/2026-01-{day:02d}/{user:02d}/{name:04d}.jpg"
        for day in (1, 2, 3)
        for user in range(10)
        for name in range(100)
    ]
    put_all(store, {key: b"x" for key in reversed(keys)})
    assert [info.key for info in store.list("uploads/")] == keys
    assert [info.key for info in store.list("uploads/2026-01-02/")] == keys[1000:2000]
    assert [info.key for info in store.list("uploads/", start_after=keys[1234])] == keys[1235:]
    assert [info.key for info in store.list("uploads/", start_after="uploads/2026-01-03/")] == keys[2000:]
    assert list(store.list("uploads/", start_after=keys[-1])) == []


def test_folders_are_named_once_each_whatever_is_in_them(store: ObjectStore) -> None:
    put_all(store, {f"events/2026-01-{day:02d}/{name}": b"" for day in (2, 1, 3) for name in ("a", "b", "deep/c")})
    put_all(store, {"events/notes.txt": b"", "events2/x/y": b""})
    assert sorted(store.folders("events/")) == ["2026-01-01", "2026-01-02", "2026-01-03"]
    assert list(store.folders("events/2026-01-01/")) == ["deep"]
    assert list(store.folders("nothing/")) == []


def test_a_prefix_is_any_beginning_of_a_key_not_only_a_folder(store: ObjectStore) -> None:
    put_all(store, {"day-1/a": b"", "day-10/a": b"", "day-2/a": b"", "other": b""})
    assert {info.key for info in store.list("day-1")} == {"day-1/a", "day-10/a"}
    assert {info.key for info in store.list("day-1/")} == {"day-1/a"}
    assert {info.key for info in store.list("nothing")} == set()
    assert len(list(store.list())) == 4


def test_a_folder_whose_name_continues_another_is_not_left_out(store: ObjectStore) -> None:
    keys = {"a/x", "a/y/z", "a-b/x", "a.b/x", "a0/x"}
    put_all(store, dict.fromkeys(keys, b"x"))
    assert sorted(info.key for info in store.list()) == sorted(keys)


# Many at once.


def test_many_arrive_each_with_its_item_and_a_missing_one_in_the_middle_as_its_value(store: ObjectStore) -> None:
    put_all(store, {f"k{i:03d}": noise(1000, i) for i in range(200) if i != 100})
    found = dict(store.get_many(range(200), key=lambda i: f"k{i:03d}", concurrency=8))
    assert isinstance(found[100], NotFound)
    assert found[100].key == "k100"
    assert {i: data for i, data in found.items() if i != 100} == {i: noise(1000, i) for i in range(200) if i != 100}


def test_the_iterable_is_read_no_further_ahead_than_the_concurrency(store: ObjectStore) -> None:
    put_all(store, {f"k{i}": b"x" for i in range(50)})
    taken = 0

    def items() -> Iterator[str]:
        nonlocal taken
        for i in range(50):
            taken += 1
            yield f"k{i}"

    for handed_out, _ in enumerate(store.get_many(items(), key=str, concurrency=4)):
        assert taken <= handed_out + 4
    assert taken == 50


def test_closing_early_stops_the_work(store: ObjectStore) -> None:
    put_all(store, {f"k{i}": b"x" for i in range(50)})
    endless = itertools.cycle(f"k{i}" for i in range(50))
    results = store.get_many(endless, key=str, concurrency=4)
    assert [data for _, data in itertools.islice(results, 10)] == [b"x"] * 10
    results.close()
    assert store.get("k1") == b"x"


def test_an_error_of_the_iterable_reaches_the_caller(store: ObjectStore) -> None:
    put_all(store, {"k": b"x"})

    def items() -> Iterator[str]:
        yield "k"
        raise RuntimeError("the list ends badly")

    with pytest.raises(RuntimeError, match="ends badly"):
        list(store.get_many(items(), key=str))


def test_a_budget_smaller_than_the_objects_slows_the_work_but_does_not_stop_it(store: ObjectStore) -> None:
    put_all(store, {f"k{i}": noise(50_000, i) for i in range(20)})
    found = dict(store.get_many(range(20), key=lambda i: f"k{i}", concurrency=10, max_bytes_in_flight=60_000))
    assert found == {i: noise(50_000, i) for i in range(20)}
    found = dict(store.get_many(range(20), key=lambda i: f"k{i}", concurrency=10, max_bytes_in_flight=1))
    assert found == {i: noise(50_000, i) for i in range(20)}


def test_an_object_above_the_limit_is_not_read(store: ObjectStore) -> None:
    put_all(store, {"small": noise(1000), "large": noise(1001)})
    found = dict(store.get_many(["small", "large"], key=str, max_object_bytes=1000))
    assert found["small"] == noise(1000)
    assert isinstance(found["large"], TooLarge)


def test_many_writes_name_the_ones_that_failed(store: ObjectStore) -> None:
    refused = "../escape"
    errors = dict(store.put_many([("good", b"1"), (refused, b"2"), ("lazy", lambda: b"3")]))
    assert isinstance(errors.pop(refused), ObjectError)
    assert errors == {"good": None, "lazy": None}
    assert store.get("lazy") == b"3"


# Keys.

NASTY = [
    "../escape", "a/../../escape", "/etc/passwd", "a//b", "trailing/", "./a", "a/.", "", "nul\0byte", "new\nline", "tab\t",
    "ctl\x01", "\x7f", "c1\x85", "per%2e%2e/cent", "%ff%fe", "%", "sp ace", "plus+", "q?x=1", "h#ash", "h#1", "~tilde", "*",
    '"quoted"', "amp&<x>'", "back\\slash", "..", "...", "..a/b", "ümläut/é", "日本語.jpg", "👩‍👩‍👧", "n" * 240, "n" * 256,
    "/".join(["d" * 60] * 16), "CON", "a:b", "-rf", "$(reboot)", "{day}", "e\u0301", "a/below-a-key", "\ud800",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("key", NASTY, ids=[f"{i}" for i in range(len(NASTY))])
def test_a_nasty_key_is_either_kept_apart_from_all_others_or_refused(
    store: ObjectStore, backend: str, tmp_path: Path, key: str
) -> None:
    neighbours = {"escape": b"1", "b": b"2", "trailing": b"3", "a": b"4", "n": b"5"}
    put_all(store, neighbours)
    try:
        store.put(key, b"nasty")
    except ObjectError as error:
        assert error.key == key
        with pytest.raises(ObjectError):
            store.get(key)
        with pytest.raises(ObjectError):
            store.get_range(key, 0, 1)
    else:
        # SeaweedFS keeps a key that ends in a slash as a folder, without its bytes.
        kept = b"" if backend == "s3" and key.endswith("/") else b"nasty"
        assert store.get(key) == kept
        assert dict(store.get_many([key], key=str)) == {key: kept}
        # SeaweedFS takes empty parts out and backslashes for slashes; elsewhere a key is listed as it was given.
        assert key in [info.key for info in store.list()] or (backend == "s3" and ("/" in key or "\\" in key))
        store.delete(key)
    assert {name: store.get(name) for name in neighbours} == neighbours
    assert [path for path in tmp_path.rglob("*") if not path.is_relative_to(tmp_path / "objects")] == []


@pytest.mark.slow
@given(key=st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_no_key_whatever_leaves_the_folder(tmp_path_factory: pytest.TempPathFactory, key: str) -> None:
    outer = tmp_path_factory.mktemp("outer")
    store = ObjectStore.open((outer / "inner").as_uri())
    try:
        store.put(key, b"x")
    except InvalidKey:
        kept = []
    else:
        kept = [key]
    assert [info.key for info in store.list()] == kept
    assert {path.name for path in outer.iterdir()} == {"inner"}


# Bytes named by their ETag, where no versions are kept.


@pytest.fixture
def unversioned(backend: str, object_store: Callable[[str], ObjectStore], request: pytest.FixtureRequest) -> ObjectStore:
    if backend != "s3":
        return object_store(backend)
    name = f"b-{secrets.token_hex(8)}"
    s3.ensure_bucket(request.getfixturevalue("s3_client"), name, versioning=False)
    return ObjectStore.open(f"s3://{name}/p", **request.getfixturevalue("s3_options"))


ODD_KEY = "a//b"
"""One that obstore would change, so that it goes by another way."""


def by_etag(store: ObjectStore, key: str) -> str:
    return f"etag-{store.head(key).etag}"


@pytest.mark.parametrize("key", ["a.jpg", "Zoë 100%.jpg", ODD_KEY])
def test_bytes_named_by_their_etag_are_read_while_they_are_there_and_never_others(
    unversioned: ObjectStore, backend: str, key: str
) -> None:
    if key == ODD_KEY and backend != "s3":
        pytest.skip("only S3 holds such a key")
    unversioned.put(key, b"first")
    first = by_etag(unversioned, key)
    assert unversioned.get(key, version_id=first) == b"first"
    assert unversioned.get_range(key, 1, 3, version_id=first) == b"ir"
    assert unversioned.head(key, version_id=first).size == 5
    unversioned.put(key, b"others")
    for attempt in (
        unversioned.get,
        unversioned.head,
        lambda key, version_id: unversioned.get_range(key, 0, 3, version_id=version_id),
    ):
        with pytest.raises(Overwritten):
            attempt(key, version_id=first)
    found = dict(unversioned.get_many([first, by_etag(unversioned, key)], key=lambda _: key, version_id=str))
    assert isinstance(found[first], Overwritten)
    assert found[by_etag(unversioned, key)] == b"others"
    unversioned.delete(key)
    with pytest.raises(NotFound):
        unversioned.get(key, version_id=first)


@pytest.mark.parametrize("size", [100, 20 * MB])
def test_bytes_from_before_versioning_was_switched_on_are_read_after_they_were_overwritten(
    s3_client: Any, s3_options: dict[str, str], size: int
) -> None:
    name = f"b-{secrets.token_hex(8)}"
    s3.ensure_bucket(s3_client, name, versioning=False)
    store = ObjectStore.open(f"s3://{name}", **s3_options)
    first = noise(size)
    for key in ("over", "deleted", ODD_KEY):
        store.put(key, first)
    named = {key: by_etag(store, key) for key in ("over", "deleted", ODD_KEY)}
    s3_client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    newer = store.put("over", noise(size, 1))
    store.put(ODD_KEY, noise(size, 1))
    store.delete("deleted")
    assert store.get("over") == store.get("over", version_id=newer) == noise(size, 1)
    for key, version_id in named.items():
        assert store.get(key, version_id=version_id) == first
        assert store.get_range(key, 10, 20, version_id=version_id) == first[10:20]
    listed = {found.key: found.etag for found in s3.list_versions(s3_client, name) if found.version_id == "null"}
    assert {key: f"etag-{listed[key]}" for key in ("over", "deleted")} == {key: named[key] for key in ("over", "deleted")}


# Errors about one object, told by what the server says, not by words that its key may hold.


@pytest.mark.parametrize(
    "words", ["NoSuchBucket", "IMG 416", "os error 20", "<Code>KMS.NotFoundException</Code>", "InvalidRange"]
)
def test_a_key_that_reads_like_an_error_is_only_a_key_that_is_gone(store: ObjectStore, words: str) -> None:
    key = f"uploads/{words}.jpg"
    with pytest.raises(NotFound):
        store.get(key)
    with pytest.raises(NotFound):
        store.get_range(key, 0, 10)


@pytest.mark.slow
@pytest.mark.parametrize("words", ["NoSuchBucket", "IMG 416", "InvalidRange", "invalid range"])
def test_a_key_that_reads_like_an_error_says_nothing_of_a_server_that_is_away(free_port: int, words: str) -> None:
    store = ObjectStore.open(
        "s3://bucket", endpoint=f"http://127.0.0.1:{free_port}", access_key="a", secret_key="b" * 16, timeout_s=1
    )
    for attempt in (lambda: store.get(words), lambda: store.get_range(words, 0, 10)):
        with pytest.raises(StoreUnavailable, match="check that it runs"):
            attempt()


# Only S3 has these.


def test_every_version_of_an_overwritten_key_can_be_got_back(object_store: Callable[[str], ObjectStore]) -> None:
    store = object_store("s3")
    versions = [store.put("photo.jpg", data) for data in (b"first", b"second")]
    store.delete("photo.jpg")
    assert [store.get("photo.jpg", version_id=version) for version in versions] == [b"first", b"second"]
    assert store.head("photo.jpg", version_id=versions[0]).version_id == versions[0]
    found = dict(store.get_many(versions, key=lambda _: "photo.jpg", version_id=str))
    assert found == {versions[0]: b"first", versions[1]: b"second"}
    with pytest.raises(NotFound):
        store.get("photo.jpg", version_id="0" * 32)


@pytest.mark.parametrize("backend", ["folder", "memory"])
def test_a_store_without_versions_has_no_version_to_give(object_store: Callable[[str], ObjectStore], backend: str) -> None:
    store = object_store(backend)
    store.put("a", b"1")
    assert store.get("a", version_id="null") == b"1"
    with pytest.raises(NotFound, match="keeps no versions"):
        store.get("a", version_id="abc")


def test_a_wrong_secret_is_denied_not_taken_for_absence(s3_url: str, s3_options: dict[str, str]) -> None:
    ObjectStore.open(s3_url, **s3_options).put("a", b"1")
    thief = ObjectStore.open(s3_url, **{**s3_options, "secret_key": "wrong" * 8})
    for attempt in (
        thief.get,
        thief.head,
        thief.exists,
        thief.delete,
        lambda key: thief.put(key, b"2"),
        lambda _: list(thief.list()),
    ):
        with pytest.raises(AccessDenied) as caught:
            attempt("a")
        assert s3_options["secret_key"] not in str(caught.value)
    assert isinstance(dict(thief.get_many(["a"], key=str))["a"], BadCredentials), "it says nothing of the object"


def test_a_bucket_that_does_not_exist_is_named_as_such_and_not_made(s3_client: object, s3_options: dict[str, str]) -> None:
    store = ObjectStore.open("s3://no-such-bucket", **s3_options)
    for attempt in (
        lambda: store.get("a"),
        lambda: store.put("a", b"1"),
        lambda: list(store.list()),
        lambda: list(store.get_many("a", key=str)),
    ):
        with pytest.raises(BucketMissing):
            attempt()


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_unavailable(free_port: int) -> None:
    store = ObjectStore.open("s3://bucket", endpoint=f"http://127.0.0.1:{free_port}", access_key="a", secret_key="b" * 16)
    for attempt in (lambda: store.get("a"), lambda: list(store.get_many(["a"], key=str))):
        with pytest.raises(StoreUnavailable, match="check that it runs"):
            attempt()


def test_credentials_do_not_travel_unencrypted_to_another_machine() -> None:
    with pytest.raises(InsecureEndpoint):
        ObjectStore.open("s3://bucket", endpoint="http://storage.example.org", access_key="a", secret_key="b")  # noqa: S106
    ObjectStore.open("s3://bucket", endpoint="http://storage.example.org", access_key="a", secret_key="b", allow_http=True)  # noqa: S106


@pytest.mark.parametrize("url", ["", "bucket", "ftp://a/b", "s3://", "file://host/a", "C:\\data"])
def test_another_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"use s3://|three slashes"):
        ObjectStore.open(url)


def test_the_resource_opens_its_store_and_keeps_its_secret_out_of_sight(s3_url: str, s3_options: dict[str, str]) -> None:
    objects = Objects(url=s3_url, **s3_options)
    objects.store.put("a", b"1")
    assert ObjectStore.open(s3_url, **s3_options).get("a") == b"1"
    assert objects.bucket == s3_url.split("/")[2]
    assert s3_options["secret_key"] not in repr(objects)
