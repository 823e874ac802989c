"""The ledgers: object versions enter once, days are pending until a run has seen them, the newest entry of a day counts."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from resources import ledger
from resources.database import Database
from resources.ledger import Materialization, SeenObject
from resources.object_store import ObjectInfo
from resources.objects import Objects

DAY = date(2026, 2, 1)
NEXT = date(2026, 2, 2)
AT = datetime(2026, 2, 1, 12, tzinfo=UTC)
WEEK = timedelta(days=7)


@pytest.fixture
def postgres(database: Database) -> Database:
    return database


@pytest.fixture(params=["folder", "s3"])
def uploads(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    """An uploads bucket: a folder keeps no versions, the S3 bucket does."""
    if request.param == "folder":
        return Objects(url=(tmp_path / "bucket").as_uri())
    return Objects(url=f"s3://{request.getfixturevalue('bucket')}", **request.getfixturevalue("s3_options"))


def seen(key: str, version_id: str = "v1", day: date = DAY, bucket: str = "uploads") -> SeenObject:
    return SeenObject(bucket, key, version_id, f"etag of {version_id}", 1, AT, day)


def entry(day: date = DAY, **changes: Any) -> Materialization:
    values: dict[str, Any] = {
        "asset": "raw_uploads",
        "day": day,
        "digest": "d",
        "rows": 3,
        "rejected": 1,
        "code_version": "c",
        "inputs_digest": "i",
        "inputs": {},
        "delta_version": 1,
        "git_commit": None,
        "run_id": "r",
    }
    return Materialization(**{**values, **changes})


def enter(postgres: Database, uploads: Objects) -> list[tuple[str, str, date]]:
    """List the whole bucket into the ledger, as the sensor's sweep does."""
    return ledger.enter(postgres, uploads, list(uploads.store.list()), lambda info: DAY)


def test_an_object_version_enters_once(postgres: Database) -> None:
    assert ledger.add_objects(postgres, [seen("a"), seen("b")]) == [("a", "v1", DAY), ("b", "v1", DAY)]
    assert ledger.add_objects(postgres, [seen("a"), seen("a", "v2"), seen("c", day=NEXT)]) == [
        ("a", "v2", DAY),
        ("c", "v1", NEXT),
    ]
    assert ledger.add_objects(postgres, [seen("a", bucket="another")]) == [("a", "v1", DAY)]
    assert ledger.add_objects(postgres, []) == []


def test_of_writers_that_race_for_one_object_exactly_one_is_told_that_it_is_new(postgres: Database) -> None:
    barrier = threading.Barrier(8)

    def write() -> list[tuple[str, str, date]]:
        barrier.wait()
        return ledger.add_objects(postgres, [seen(f"key {n:03}") for n in range(200)])

    with ThreadPoolExecutor(8) as pool:
        told = [found for future in [pool.submit(write) for _ in range(8)] for found in future.result()]
    assert sorted(told) == [(f"key {n:03}", "v1", DAY) for n in range(200)]


def test_a_listing_enters_what_is_new_and_nothing_twice(postgres: Database, uploads: Objects) -> None:
    uploads.store.put("a", b"1")
    uploads.store.put("b", b"2")
    assert [key for key, *_ in enter(postgres, uploads)] == ["a", "b"]
    assert enter(postgres, uploads) == []
    uploads.store.put("b", b"another")
    uploads.store.put("c", b"3")
    assert [key for key, *_ in enter(postgres, uploads)] == ["b", "c"]
    assert enter(postgres, uploads) == []
    versions = ledger.objects_of_days(postgres, uploads.bucket, [DAY])
    assert versions["key"].to_list() == ["a", "b", "b", "c"]
    assert versions["version_id"].n_unique() == 4


def test_the_version_that_enters_is_the_one_to_read_with(postgres: Database, uploads: Objects) -> None:
    uploads.store.put("a", b"first")
    enter(postgres, uploads)
    uploads.store.put("a", b"second")
    enter(postgres, uploads)
    readable = [ledger.readable_version(v) for v in ledger.objects_of_days(postgres, uploads.bucket, [DAY])["version_id"]]
    found = {uploads.store.get("a", version_id=version) for version in readable}
    assert found == ({b"second"} if readable == [None, None] else {b"first", b"second"})


def test_an_object_that_is_gone_by_the_time_it_is_asked_for_is_left(postgres: Database, uploads: Objects) -> None:
    uploads.store.put("a", b"1")
    uploads.store.put("b", b"2")
    listing = list(uploads.store.list())
    uploads.store.delete("a")
    assert [key for key, *_ in ledger.enter(postgres, uploads, listing, lambda info: DAY)] == ["b"]


def test_what_is_unknown_is_what_has_a_new_key_or_etag(postgres: Database) -> None:
    ledger.add_objects(postgres, [SeenObject("uploads", "a", "v1", "1", 1, AT, DAY)])
    same, changed, other = (ObjectInfo(key, 1, etag, None, AT) for key, etag in (("a", "1"), ("a", "2"), ("b", "1")))
    assert ledger.unknown(postgres, "uploads", [same, changed, other]) == [changed, other]
    assert ledger.unknown(postgres, "another", [same]) == [same]
    assert ledger.unknown(postgres, "uploads", []) == []


@pytest.mark.parametrize("key", ["it's", 'a"b', "a\\b", "100%", "ü\u2028", "x" * 1000, "{}", "a\nb"])
def test_keys_of_any_shape_are_known_again(postgres: Database, key: str) -> None:
    ledger.add_objects(postgres, [SeenObject("uploads", key, "v1", "1", 1, AT, DAY)])
    assert ledger.unknown(postgres, "uploads", [ObjectInfo(key, 1, "1", None, AT)]) == []


def pending(postgres: Database) -> list[tuple[date, int]]:
    """The days that a run is wanted for, with how many objects each has."""
    return sorted((day, objects) for day, objects, _ in ledger.pending_days(postgres, "uploads", WEEK))


def see(postgres: Database, *days: date) -> None:
    """What a run does: record what it saw of these days."""
    digests = dict(ledger.object_days(postgres, "uploads").select("day", "digest").iter_rows())
    ledger.record(postgres, [entry(day, inputs={"outside": digests[day]}) for day in days])


def test_a_day_is_pending_until_a_run_has_seen_its_objects(postgres: Database) -> None:
    assert pending(postgres) == []
    ledger.add_objects(postgres, [seen("a"), seen("b"), seen("c", day=NEXT)])
    assert pending(postgres) == [(DAY, 2), (NEXT, 1)]
    see(postgres, DAY)
    assert pending(postgres) == [(NEXT, 1)]
    see(postgres, NEXT)
    assert pending(postgres) == []
    ledger.add_objects(postgres, [seen("a", "v2")])
    assert pending(postgres) == [(DAY, 3)]


def test_a_day_whose_run_was_killed_while_it_wrote_is_pending_again(postgres: Database) -> None:
    ledger.add_objects(postgres, [seen("a")])
    see(postgres, DAY)
    ledger.begin(postgres, "raw_uploads", [DAY], "killed")
    assert pending(postgres) == [(DAY, 1)]


def test_a_day_without_recent_arrivals_is_left_to_the_nightly_job(postgres: Database) -> None:
    ledger.add_objects(postgres, [seen("a")])
    postgres.execute("update object_days set newest_at = %s", (datetime.now(UTC) - timedelta(days=8),))
    assert pending(postgres) == []


def test_a_days_digest_follows_its_set_of_versions_whatever_their_order(postgres: Database) -> None:
    def digest() -> str:
        return str(ledger.object_days(postgres, "uploads")["digest"].item())

    ledger.add_objects(postgres, [seen("b"), seen("a")])
    first = digest()
    postgres.execute("delete from objects")
    ledger.add_objects(postgres, [seen("a"), seen("b")])
    assert digest() == first
    ledger.add_objects(postgres, [seen("a", "v2")])
    assert digest() != first


def test_the_newest_entry_of_a_day_is_the_one_that_counts(postgres: Database) -> None:
    ledger.record(postgres, [entry(digest="old"), entry(NEXT, digest="next"), entry(asset="event_log", digest="log")])
    ledger.record(postgres, [entry(digest="new", git_commit="abc", inputs={"notes": "x"})])
    found = ledger.latest(postgres, ["raw_uploads"], DAY, NEXT).sort("day")
    assert found.select("day", "digest", "rows", "rejected", "git_commit").rows() == [
        (DAY, "new", 3, 1, "abc"),
        (NEXT, "next", 3, 1, None),
    ]
    assert ledger.latest(postgres, ["raw_uploads", "event_log"], DAY, DAY)["digest"].sort().to_list() == ["log", "new"]
    assert ledger.latest(postgres, ["raw_uploads"], date.min, date.max).height == 2
    assert ledger.latest(postgres, ["nothing"], DAY, NEXT).is_empty()


def test_days_about_to_be_replaced_have_no_digest_until_they_are_recorded(postgres: Database) -> None:
    ledger.record(postgres, [entry(digest="old"), entry(NEXT, digest="next")])
    ledger.begin(postgres, "raw_uploads", [DAY], "run")
    ledger.begin(postgres, "raw_uploads", [], "run")
    assert ledger.latest(postgres, ["raw_uploads"], DAY, NEXT).sort("day")["digest"].to_list() == ["", "next"]
    ledger.record(postgres, [entry(digest="new")])
    assert ledger.latest(postgres, ["raw_uploads"], DAY, NEXT).sort("day")["digest"].to_list() == ["new", "next"]


def test_entries_are_recorded_all_or_none(postgres: Database) -> None:
    with pytest.raises(Exception, match=r"(?i)null value|not null"):
        ledger.record(postgres, [entry(), entry(NEXT, digest=None)])
    assert ledger.latest(postgres, ["raw_uploads"], DAY, NEXT).is_empty()


def test_a_digest_of_parts_knows_where_each_ends() -> None:
    assert ledger.digest_of(["ab", "c"]) != ledger.digest_of(["a", "bc"])
    assert len(ledger.digest_of([])) == 32


def test_days_are_counted_as_rows_arrive_and_leave(postgres: Database) -> None:
    def days() -> list[tuple[Any, ...]]:
        return ledger.object_days(postgres, "uploads").select("day", "objects").rows()

    ledger.add_objects(postgres, [seen(f"{n}") for n in range(5000)] + [seen("x", day=NEXT), seen("x", bucket="another")])
    ledger.add_objects(postgres, [seen("1"), seen("y", day=NEXT)])
    assert days() == [(DAY, 5000), (NEXT, 2)]
    before = ledger.object_days(postgres, "uploads")
    ledger.add_objects(postgres, [seen("mistake")])
    postgres.execute("delete from objects where key = 'mistake'")
    assert ledger.object_days(postgres, "uploads").equals(before)
    postgres.execute("delete from objects")
    assert days() == []


def test_writers_that_meet_on_days_in_another_order_both_succeed(postgres: Database) -> None:
    """Without the writers' lock they would wait for each other, and PostgreSQL would end one."""
    days = [DAY + timedelta(days=n) for n in range(20)]

    def write(name: str, order: list[date]) -> None:
        ledger.add_objects(postgres, [seen(f"{name} {day} {n}", day=day) for day in order for n in range(300)])

    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(write, str(n), days if n % 2 else days[::-1]) for n in range(4)]
        for future in found:
            future.result()
    assert ledger.object_days(postgres, "uploads")["objects"].to_list() == [1200] * 20


def test_a_content_that_came_back_later_is_unknown_where_the_bucket_keeps_versions(postgres: Database) -> None:
    ledger.add_objects(postgres, [SeenObject("uploads", "a", "v1", "A", 1, AT, DAY)])
    ledger.add_objects(postgres, [SeenObject("uploads", "b", "etag-A", "A", 1, AT, DAY)])
    later = AT + timedelta(seconds=1)
    listed = [ObjectInfo(key, 1, "A", None, later) for key in "ab"]
    assert [info.key for info in ledger.unknown(postgres, "uploads", listed)] == ["a"]
    within = [ObjectInfo(key, 1, "A", None, AT + timedelta(milliseconds=900)) for key in "ab"]
    assert ledger.unknown(postgres, "uploads", within) == []
