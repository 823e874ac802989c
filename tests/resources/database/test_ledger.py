"""The ledgers: object versions enter once, days are pending until a run has seen them, the newest entry of a day counts."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from resources.database import day_writers, ledger, seen_objects
from resources.database.contract import Database
from resources.database.ledger import Materialization
from resources.database.seen_objects import SeenObject
from resources.errors import Overwritten
from resources.objects.resource import Objects
from resources.objects.store import ObjectInfo

DAY = date(2026, 2, 1)
NEXT = date(2026, 2, 2)
AT = datetime(2026, 2, 1, 12, tzinfo=UTC)


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
    return seen_objects.enter(postgres, uploads, list(uploads.store.list()), lambda info: DAY)


def test_an_object_version_enters_once(postgres: Database) -> None:
    assert seen_objects.add_objects(postgres, [seen("a"), seen("b")]) == [("a", "v1", DAY), ("b", "v1", DAY)]
    assert seen_objects.add_objects(postgres, [seen("a"), seen("a", "v2"), seen("c", day=NEXT)]) == [
        ("a", "v2", DAY),
        ("c", "v1", NEXT),
    ]
    assert seen_objects.add_objects(postgres, [seen("a", bucket="another")]) == [("a", "v1", DAY)]
    assert seen_objects.add_objects(postgres, []) == []


def test_of_writers_that_race_for_one_object_exactly_one_is_told_that_it_is_new(postgres: Database) -> None:
    barrier = threading.Barrier(8)

    def write() -> list[tuple[str, str, date]]:
        barrier.wait()
        return seen_objects.add_objects(postgres, [seen(f"key {n:03}") for n in range(200)])

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
    versions = seen_objects.objects_of_days(postgres, uploads.bucket, [DAY])
    assert versions["key"].to_list() == ["a", "b", "b", "c"]
    assert versions["version_id"].n_unique() == 4


def test_the_version_that_enters_is_the_one_to_read_with(postgres: Database, uploads: Objects) -> None:
    uploads.store.put("a", b"first")
    enter(postgres, uploads)
    uploads.store.put("a", b"second")
    enter(postgres, uploads)
    versions = seen_objects.objects_of_days(postgres, uploads.bucket, [DAY])["version_id"]
    found = [data for _, data in uploads.store.get_many(versions, key=lambda _: "a", version_id=str)]
    assert b"second" in found
    assert b"first" in found or any(isinstance(one, Overwritten) for one in found)


def test_an_object_that_is_gone_by_the_time_it_is_asked_for_is_left(postgres: Database, uploads: Objects) -> None:
    uploads.store.put("a", b"1")
    uploads.store.put("b", b"2")
    listing = list(uploads.store.list())
    uploads.store.delete("a")
    assert [key for key, *_ in seen_objects.enter(postgres, uploads, listing, lambda info: DAY)] == ["b"]


def test_what_is_unknown_is_what_has_a_new_key_or_etag(postgres: Database) -> None:
    seen_objects.add_objects(postgres, [SeenObject("uploads", "a", "v1", "1", 1, AT, DAY)])
    same, changed, other = (ObjectInfo(key, 1, etag, None, AT) for key, etag in (("a", "1"), ("a", "2"), ("b", "1")))
    assert seen_objects.unknown(postgres, "uploads", [same, changed, other]) == [changed, other]
    assert seen_objects.unknown(postgres, "another", [same]) == [same]
    assert seen_objects.unknown(postgres, "uploads", []) == []


@pytest.mark.parametrize("key", ["it's", 'a"b', "a\\b", "100%", "ü\u2028", "x" * 1000, "{}", "a\nb"])
def test_keys_of_any_shape_are_known_again(postgres: Database, key: str) -> None:
    seen_objects.add_objects(postgres, [SeenObject("uploads", key, "v1", "1", 1, AT, DAY)])
    assert seen_objects.unknown(postgres, "uploads", [ObjectInfo(key, 1, "1", None, AT)]) == []


def pending(postgres: Database) -> list[tuple[date, int]]:
    """The days that a run is wanted for, with how many objects each has."""
    return sorted((day, objects) for day, objects, *_ in seen_objects.pending_days(postgres, "uploads"))


def see(postgres: Database, *days: date) -> None:
    """What a run does: record what it saw of these days."""
    digests = dict(seen_objects.object_days(postgres, "uploads").select("day", "digest").iter_rows())
    ledger.record(postgres, [entry(day, inputs={"outside": digests[day]}) for day in days])


def test_a_day_is_pending_until_a_run_has_seen_its_objects(postgres: Database) -> None:
    assert pending(postgres) == []
    seen_objects.add_objects(postgres, [seen("a"), seen("b"), seen("c", day=NEXT)])
    assert pending(postgres) == [(DAY, 2), (NEXT, 1)]
    see(postgres, DAY)
    assert pending(postgres) == [(NEXT, 1)]
    see(postgres, NEXT)
    assert pending(postgres) == []
    seen_objects.add_objects(postgres, [seen("a", "v2")])
    assert pending(postgres) == [(DAY, 3)]


def test_a_day_whose_run_was_killed_while_it_wrote_is_pending_again(postgres: Database) -> None:
    seen_objects.add_objects(postgres, [seen("a")])
    see(postgres, DAY)
    day_writers.claim(postgres, "raw_uploads", [DAY], [DAY], "killed")
    assert pending(postgres) == [(DAY, 1)]


def test_a_day_without_recent_arrivals_is_pending_as_long_as_no_run_has_seen_it(postgres: Database) -> None:
    seen_objects.add_objects(postgres, [seen("a")])
    postgres.execute("update object_days set newest_at = %s", (datetime.now(UTC) - timedelta(days=800),))
    assert pending(postgres) == [(DAY, 1)]


def test_a_pending_day_comes_with_what_was_written_of_it_at_each_state_of_its_objects_and_when(postgres: Database) -> None:
    for number in range(4):
        seen_objects.add_objects(postgres, [seen(f"{number}")])
        ((_, objects, _, written, at),) = seen_objects.pending_days(postgres, "uploads")
        assert (objects, written) == (number + 1, sum(range(number + 1)))
        assert (at is None) == (number == 0)
        see(postgres, DAY)
        see(postgres, DAY)  # the same state again, as after a change of code, is no arrival
    assert at is not None
    assert abs(datetime.now(UTC) - at) < timedelta(hours=1)
    day_writers.claim(postgres, "raw_uploads", [DAY], [DAY], "killed")
    ((_, objects, _, written, _),) = seen_objects.pending_days(postgres, "uploads")
    assert (objects, written) == (4, 10)


def test_a_day_that_was_computed_without_objects_has_nothing_written(postgres: Database) -> None:
    ledger.record(postgres, [entry(DAY, inputs={"outside": "nothing"})])
    seen_objects.add_objects(postgres, [seen("a")])
    assert [found[3] for found in seen_objects.pending_days(postgres, "uploads")] == [0]


def test_a_days_digest_follows_its_set_of_versions_whatever_their_order(postgres: Database) -> None:
    def digest() -> str:
        return str(seen_objects.object_days(postgres, "uploads")["digest"].item())

    seen_objects.add_objects(postgres, [seen("b"), seen("a")])
    first = digest()
    postgres.execute("delete from objects")
    seen_objects.add_objects(postgres, [seen("a"), seen("b")])
    assert digest() == first
    seen_objects.add_objects(postgres, [seen("a", "v2")])
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


def test_the_newest_day_is_the_last_that_is_computed_with_rows_or_without(postgres: Database) -> None:
    assert ledger.newest_day(postgres, "raw_uploads") is None
    ledger.record(postgres, [entry(NEXT, rows=0), entry(), entry(NEXT + timedelta(days=1), digest="")])
    assert ledger.newest_day(postgres, "raw_uploads") == NEXT


def test_days_about_to_be_replaced_have_no_digest_until_they_are_recorded(postgres: Database) -> None:
    ledger.record(postgres, [entry(digest="old"), entry(NEXT, digest="next")])
    claim = day_writers.claim(postgres, "raw_uploads", [DAY, NEXT], [DAY], "run")
    assert not day_writers.claim(postgres, "raw_uploads", [], [], "run").days
    assert ledger.latest(postgres, ["raw_uploads"], DAY, NEXT).sort("day")["digest"].to_list() == ["", "next"]
    assert day_writers.record(claim, [entry(digest="new")], {}) == {DAY}
    assert ledger.latest(postgres, ["raw_uploads"], DAY, NEXT).sort("day")["digest"].to_list() == ["new", "next"]
    assert claim.owned_days() == set()


def test_a_day_that_another_run_has_claimed_or_entered_since_is_not_entered(postgres: Database) -> None:
    ledger.record(postgres, [entry(digest="old"), entry(NEXT, digest="next")])
    then = dict(ledger.latest(postgres, ["raw_uploads"], DAY, NEXT).select("day", "id").iter_rows())
    first = day_writers.claim(postgres, "raw_uploads", [DAY, NEXT], [], "first")
    ledger.record(postgres, [entry(NEXT, digest="newer")])
    second = day_writers.claim(postgres, "raw_uploads", [DAY], [DAY], "second")
    assert first.owned_days() == {NEXT}
    assert day_writers.record(first, [entry(digest="old"), entry(NEXT, digest="next")], then) == set()
    assert day_writers.record(second, [entry(digest="new")], {}) == {DAY}
    assert ledger.latest(postgres, ["raw_uploads"], DAY, NEXT).sort("day")["digest"].to_list() == ["new", "newer"]


def test_a_lost_day_is_entered_once_and_only_while_its_entry_is_the_newest(postgres: Database) -> None:
    ledger.record(postgres, [entry(digest="old"), entry(NEXT, digest="next")])
    ids = dict(ledger.latest(postgres, ["raw_uploads"], DAY, NEXT).select("day", "id").iter_rows())
    ledger.record(postgres, [entry(NEXT, digest="newer")])
    lost = {"raw_uploads": {day: (ids[day], "its table is gone") for day in (DAY, NEXT)}}
    ledger.enter_lost(postgres, lost, "run")
    ledger.enter_lost(postgres, lost, "run")
    newest = ledger.latest(postgres, ["raw_uploads"], DAY, NEXT).sort("day")
    assert newest["digest"].to_list() == ["", "newer"]
    assert newest["inputs"][0] == '{"lost": "its table is gone"}'
    assert newest["id"].max() == ids[NEXT] + 2


def test_entries_are_recorded_all_or_none(postgres: Database) -> None:
    with pytest.raises(Exception, match=r"(?i)null value|not null"):
        ledger.record(postgres, [entry(), entry(NEXT, digest=None)])
    assert ledger.latest(postgres, ["raw_uploads"], DAY, NEXT).is_empty()


def test_a_digest_of_parts_knows_where_each_ends() -> None:
    assert ledger.digest_of(["ab", "c"]) != ledger.digest_of(["a", "bc"])
    assert len(ledger.digest_of([])) == 32


def test_days_are_counted_as_rows_arrive_and_leave(postgres: Database) -> None:
    def days() -> list[tuple[Any, ...]]:
        return seen_objects.object_days(postgres, "uploads").select("day", "objects").rows()

    seen_objects.add_objects(
        postgres, [seen(f"{n}") for n in range(5000)] + [seen("x", day=NEXT), seen("x", bucket="another")]
    )
    seen_objects.add_objects(postgres, [seen("1"), seen("y", day=NEXT)])
    assert days() == [(DAY, 5000), (NEXT, 2)]
    before = seen_objects.object_days(postgres, "uploads")
    seen_objects.add_objects(postgres, [seen("mistake")])
    postgres.execute("delete from objects where key = 'mistake'")
    assert seen_objects.object_days(postgres, "uploads").equals(before)
    postgres.execute("delete from objects")
    assert days() == []


def test_writers_that_meet_on_days_in_another_order_both_succeed(postgres: Database) -> None:
    """Without the writers' lock they would wait for each other, and PostgreSQL would end one."""
    days = [DAY + timedelta(days=n) for n in range(20)]

    def write(name: str, order: list[date]) -> None:
        seen_objects.add_objects(postgres, [seen(f"{name} {day} {n}", day=day) for day in order for n in range(300)])

    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(write, str(n), days if n % 2 else days[::-1]) for n in range(4)]
        for future in found:
            future.result()
    assert seen_objects.object_days(postgres, "uploads")["objects"].to_list() == [1200] * 20


def test_a_content_that_came_back_later_is_unknown_where_the_bucket_keeps_versions(postgres: Database) -> None:
    seen_objects.add_objects(postgres, [SeenObject("uploads", "a", "v1", "A", 1, AT, DAY)])
    seen_objects.add_objects(postgres, [SeenObject("uploads", "b", "etag-A", "A", 1, AT, DAY)])
    later = AT + timedelta(seconds=1)
    listed = [ObjectInfo(key, 1, "A", None, later) for key in "ab"]
    assert [info.key for info in seen_objects.unknown(postgres, "uploads", listed)] == ["a"]
    within = [ObjectInfo(key, 1, "A", None, AT + timedelta(milliseconds=900)) for key in "ab"]
    assert seen_objects.unknown(postgres, "uploads", within) == []
