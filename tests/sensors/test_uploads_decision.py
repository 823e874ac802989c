"""The upload sensor's decision against a bucket that changes at any moment, under every page size and failure."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensors.uploads_decision import (
    Cursor,
    Limits,
    ListedObject,
    ListingFailed,
    ListingRequest,
    Page,
    Tick,
    day_of,
    decide_tick,
)

TODAY = date(2026, 3, 10)
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
LIMITS = Limits(keys_per_round=40, page_keys=10, overlap=timedelta(hours=24), lookback_days=2)


def key(name: str, day: date = TODAY, user: int = 1) -> str:
    return f"uploads/{day}/{user}/{name}"


@dataclass
class Bucket:
    """A bucket that lists as S3 does, with whole seconds. before_page: what happens just before a page is listed."""

    objects: dict[str, ListedObject] = field(default_factory=dict)
    now: datetime = NOON
    written: int = 0
    requests: list[ListingRequest] = field(default_factory=list)
    before_page: Callable[[], str | None] = lambda: None

    def put(self, at: str, started_ago: timedelta = timedelta(0)) -> ListedObject:
        """An upload that shows now; its last-modified is its start."""
        self.written += 1
        time = (self.now - started_ago).replace(microsecond=0)
        self.objects[at] = ListedObject(at, f"tag{self.written}", 10, time, f"v{self.written}")
        return self.objects[at]

    def list_page(self, request: ListingRequest) -> Page | ListingFailed:
        reason = self.before_page()
        if reason:
            return ListingFailed(reason)
        self.requests.append(request)
        found = [
            self.objects[at]
            for at in sorted(self.objects)
            if at.startswith(request.prefix) and (request.start_after is None or at > request.start_after)
        ]
        page = tuple(found[: request.max_keys])
        return Page(page, page[-1].key if len(found) > len(page) else None)


def keys_of(tick: Tick) -> list[str]:
    return sorted(one.key for one in tick.offered)


def settle(bucket: Bucket, cursor: Cursor, limits: Limits = LIMITS, ticks: int = 30) -> tuple[list[Tick], Cursor]:
    """Many ticks on a quiet bucket."""
    done = []
    for _ in range(ticks):
        done.append(decide_tick(cursor, TODAY, bucket.list_page, limits))
        cursor = done[-1].cursor
    return done, cursor


def test_the_first_tick_offers_what_is_there() -> None:
    bucket = Bucket()
    bucket.put(key("b.jpg"))
    bucket.put(key("a.jpg", day=date(2020, 1, 1)))

    tick = decide_tick(Cursor(), TODAY, bucket.list_page, LIMITS)

    assert keys_of(tick) == [key("a.jpg", day=date(2020, 1, 1)), key("b.jpg")]
    assert tick.failure is None
    assert tick.cursor == Cursor(newest=NOON, pass_began_at=None, last_pass_began_at=None)


def test_the_pass_lists_the_newest_days_first_and_the_sweep_everything() -> None:
    bucket = Bucket()

    decide_tick(Cursor(), TODAY, bucket.list_page, LIMITS)

    assert [request.prefix for request in bucket.requests] == [
        "uploads/2026-03-11/",
        "uploads/2026-03-10/",
        "uploads/2026-03-09/",
        "uploads/2026-03-08/",
        "uploads/",
    ]


def only_pass(bucket: Bucket) -> Callable[[ListingRequest], Page | ListingFailed]:
    """The bucket, with a sweep that finds nothing: what is offered is the pass's doing."""

    def list_page(request: ListingRequest) -> Page | ListingFailed:
        return Page((), None) if request.prefix == "uploads/" else bucket.list_page(request)

    return list_page


def test_an_object_of_the_same_second_as_the_newest_is_offered() -> None:
    bucket = Bucket()
    bucket.put(key("b.jpg"))
    limits = replace(LIMITS, overlap=timedelta(0))
    first = decide_tick(Cursor(), TODAY, only_pass(bucket), limits)
    second = decide_tick(first.cursor, TODAY, only_pass(bucket), limits)
    bucket.put(key("a.jpg"))

    third = decide_tick(second.cursor, TODAY, only_pass(bucket), limits)

    assert key("a.jpg") in keys_of(third)


def test_the_watermark_spares_the_ledger_what_is_old() -> None:
    bucket = Bucket()
    bucket.put(key("old.jpg"), started_ago=timedelta(hours=30))
    bucket.put(key("new.jpg"))
    cursor = Cursor()
    for _ in range(2):
        cursor = decide_tick(cursor, TODAY, only_pass(bucket), LIMITS).cursor

    assert keys_of(decide_tick(cursor, TODAY, only_pass(bucket), LIMITS)) == [key("new.jpg")]


def test_each_day_of_a_pass_is_listed_from_its_first_key() -> None:
    bucket = Bucket()
    for i in range(45):
        bucket.put(key(f"{i:02}.jpg", day=TODAY - timedelta(days=i % 3)))

    offered: set[str] = set()
    cursor = Cursor()
    for _ in range(3):
        tick = decide_tick(cursor, TODAY, only_pass(bucket), LIMITS)
        cursor, offered = tick.cursor, offered | set(keys_of(tick))

    assert offered == set(bucket.objects)


def test_a_late_multipart_upload_within_the_overlap_is_offered_by_the_pass() -> None:
    bucket = Bucket()
    bucket.put(key("a.jpg"))
    cursor = Cursor()
    for _ in range(3):
        cursor = decide_tick(cursor, TODAY, only_pass(bucket), LIMITS).cursor
    bucket.put(key("long.jpg"), started_ago=timedelta(hours=24))

    assert key("long.jpg") in keys_of(decide_tick(cursor, TODAY, only_pass(bucket), LIMITS))


def test_an_overwritten_key_is_offered_with_its_new_version() -> None:
    bucket = Bucket()
    old = bucket.put(key("a.jpg"))
    _, cursor = settle(bucket, Cursor(), ticks=3)
    new = bucket.put(key("a.jpg"))

    tick = decide_tick(cursor, TODAY, bucket.list_page, LIMITS)

    assert new in tick.offered
    assert old not in tick.offered


def test_deleting_the_newest_key_and_the_key_to_go_on_after_loses_nothing() -> None:
    bucket = Bucket()
    for i in range(25):
        bucket.put(key(f"{i:02}.jpg"))
    limits = Limits(keys_per_round=8, page_keys=5, lookback_days=0)
    cursor, offered = Cursor(), set()
    for _ in range(40):
        tick = decide_tick(cursor, TODAY, bucket.list_page, limits)
        cursor, offered = tick.cursor, offered | set(keys_of(tick))
        for after in (cursor.pass_after, max(bucket.objects)):
            if after in bucket.objects and len(bucket.objects) > 10:
                del bucket.objects[after]

    assert set(bucket.objects) <= offered


def test_more_keys_than_a_tick_takes_are_offered_over_several() -> None:
    bucket = Bucket()
    for i in range(2_500):
        bucket.put(key(f"{i:05}.jpg"))

    ticks, _ = settle(bucket, Cursor(), Limits(keys_per_round=1_000, page_keys=1_000), ticks=6)

    assert len({one.key for tick in ticks for one in tick.offered}) == 2_500
    assert all(tick.listed <= 1_000 + 4 for tick in ticks)


def test_a_busy_day_does_not_keep_the_sweep_from_its_quarter() -> None:
    bucket = Bucket()
    for i in range(1_000):
        bucket.put(key(f"{i:05}.jpg"))
    late = bucket.put(key("late.jpg", day=date(2020, 1, 1)))

    tick = decide_tick(Cursor(), TODAY, bucket.list_page, LIMITS)

    assert late in tick.offered
    assert tick.cursor.sweep_after is not None


def test_a_late_object_of_an_old_day_and_a_bad_key_are_found_by_the_sweep() -> None:
    bucket = Bucket()
    for i in range(100):
        bucket.put(key(f"{i:03}.jpg", day=TODAY - timedelta(days=i % 30)))
    _, cursor = settle(bucket, Cursor())
    late = bucket.put(key("late.jpg", day=date(2019, 5, 5)), started_ago=timedelta(days=400))
    bad = bucket.put("uploads/no-day/x.jpg")

    ticks, _ = settle(bucket, cursor)

    offered = {one for tick in ticks for one in tick.offered}
    assert {late, bad} <= offered


def test_what_is_overwritten_or_deleted_is_not_offered() -> None:
    live = ListedObject(key("a"), "t", 1, NOON, "v2")
    old = replace(live, version_id="v1", is_latest=False)
    gone = ListedObject(key("b"), "t", 0, NOON, "v3", is_delete_marker=True)

    tick = decide_tick(Cursor(), TODAY, lambda request: Page((live, old, gone), None), LIMITS)

    assert tick.offered == (live,)


def test_a_failed_listing_moves_nothing_and_says_why() -> None:
    bucket = Bucket()
    bucket.put(key("a.jpg"))
    _, cursor = settle(bucket, Cursor(), ticks=3)
    bucket.before_page = lambda: "503 SlowDown"

    tick = decide_tick(cursor, TODAY, bucket.list_page, LIMITS)

    assert tick == Tick((), cursor, 0, "503 SlowDown")


def test_a_round_without_a_pass_sweeps_alone() -> None:
    bucket = Bucket()

    decide_tick(Cursor(), TODAY, bucket.list_page, LIMITS, with_pass=False)

    assert [request.prefix for request in bucket.requests] == ["uploads/"]


def test_a_listing_that_fails_midway_keeps_what_it_had_and_goes_on_there() -> None:
    bucket = Bucket()
    for i in range(25):
        bucket.put(key(f"{i:02}.jpg"))
    answers = iter([None, None, "timeout"])
    bucket.before_page = lambda: next(answers, None)

    tick = decide_tick(Cursor(), TODAY, bucket.list_page, LIMITS)

    assert tick.failure == "timeout"
    assert len(tick.offered) == 10
    assert tick.cursor.pass_after == key("09.jpg")


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "x",
        "[]",
        "null",
        "7",
        "{}",
        '{"version": 1}',
        '{"version": 99, "newest": null}',
        Cursor().to_json().replace('"version": 1', '"version": 2'),
        Cursor().to_json().replace('"newest": null', '"newest": 5'),
        Cursor().to_json().replace('"newest": null', '"newest": "soon"'),
        Cursor().to_json().replace('"newest": null', '"newest": "2026-01-01T00:00:00"'),
        Cursor().to_json().replace('"newest": null', '"newest": "0001-01-01T00:00:00+00:00"'),
        Cursor().to_json().replace('"pass_day": null', '"pass_day": "2026-02-30"'),
        Cursor().to_json().replace('"sweep_after": null', '"sweep_after": ["a"]'),
        Cursor().to_json().replace("}", ', "more": 1}'),
        "[" * 100_000,
    ],
)
def test_what_is_no_cursor_starts_anew(text: str | None) -> None:
    assert Cursor.from_json(text) == Cursor()


def test_a_cursor_from_a_wrong_clock_still_lists_the_newest_days() -> None:
    bucket = Bucket()
    bucket.put(key("a.jpg"))
    cursor = Cursor(pass_day=date(9999, 12, 31), pass_after="uploads/9999-12-31/z")  # noqa: S106 - no password

    ticks, _ = settle(bucket, cursor, ticks=2)

    assert bucket.requests[0].prefix == "uploads/2026-03-11/"
    assert keys_of(ticks[0]) == [key("a.jpg")]


times = st.none() | st.datetimes(datetime(1970, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
cursors = st.builds(
    Cursor, times, times, times, st.none() | st.dates(), st.none() | st.text(max_size=9), st.none() | st.text(max_size=9)
)


@given(cursors)
@settings(deadline=None)
def test_a_cursor_reads_back_what_it_wrote(cursor: Cursor) -> None:
    assert Cursor.from_json(cursor.to_json()) == cursor
    assert json.loads(cursor.to_json())["version"] == 1


json_values = st.recursive(st.none() | st.integers(), lambda v: st.lists(v) | st.dictionaries(st.text(max_size=9), v))


@pytest.mark.slow
@given(st.text(max_size=40) | json_values.map(json.dumps))
@settings(deadline=None)
def test_any_text_gives_a_cursor(text: str) -> None:
    assert isinstance(Cursor.from_json(text), Cursor)


@pytest.mark.parametrize(
    "wrong", [{"keys_per_round": 1}, {"page_keys": 0}, {"lookback_days": -1}, {"overlap": timedelta(-1)}]
)
def test_limits_that_can_not_work_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="a round needs"):
        Limits(**wrong)  # type: ignore[arg-type]


names = st.integers(0, 7).map(lambda i: f"{i:02}.jpg")
days = st.sampled_from([TODAY, TODAY - timedelta(days=1), TODAY - timedelta(days=2)])
moves = st.tuples(
    st.sampled_from(["put", "put", "put", "late", "delete newest", "delete", "wait", "wait", "fail"]),
    st.builds(key, names, days),
    st.integers(0, 24 * 60),
)
small_limits = st.builds(
    Limits,
    keys_per_round=st.integers(8, 30),
    page_keys=st.integers(1, 12),
    overlap=st.just(timedelta(hours=24)),
    lookback_days=st.integers(2, 4),
)


def play(bucket: Bucket, move: tuple[str, str, int]) -> str | None:
    """One thing that happens to the bucket; a reason if it is a failing listing."""
    what, at, minutes = move
    if what == "put":
        bucket.put(at)
    elif what == "late":
        bucket.put(at, started_ago=timedelta(minutes=minutes))
    elif what == "delete newest" and bucket.objects:
        del bucket.objects[max(bucket.objects.values(), key=lambda one: (one.last_modified, one.key)).key]
    elif what == "delete":
        bucket.objects.pop(at, None)
    elif what == "wait":
        bucket.now += timedelta(minutes=minutes)
    return "the store is away" if what == "fail" else None


@dataclass
class Ledger:
    """What Postgres keeps: each version once, and whether a materialization has seen it."""

    rows: dict[tuple[str, str], date] = field(default_factory=dict)
    seen: set[tuple[str, str]] = field(default_factory=set)
    requested: list[tuple[str, str]] = field(default_factory=list)

    def commit(self, tick: Tick) -> None:
        for one in tick.offered:
            self.rows.setdefault((one.key, one.revision), day_of(one))

    def unseen(self) -> list[tuple[str, str, date]]:
        return [(*row, day) for row, day in self.rows.items() if row not in self.seen]

    def run(self) -> None:
        """Each day with unseen rows gets one run, which sees the day as the ledger has it."""
        unseen = self.unseen()
        self.requested.extend((at, version) for at, version, _ in unseen)
        self.seen |= {(at, version) for at, version, _ in unseen}


@pytest.mark.slow
@given(
    st.lists(moves, max_size=40),
    small_limits,
    st.lists(st.sampled_from(["", "", "", "crash before", "crash after"]), max_size=10),
    st.lists(st.integers(0, 2), max_size=60),
    st.booleans(),
)
@settings(deadline=None, max_examples=100)
def test_every_surviving_object_is_requested_exactly_once(
    script: list[tuple[str, str, int]], limits: Limits, crashes: list[str], pauses: list[int], without_sweep: bool
) -> None:
    """Things happen between pages and between ticks. The sensor may die before the ledger's commit, or after it.

    without_sweep: the same must hold of the pass and its watermark alone, since all keys here are of recent days.
    """
    bucket, ledger, cursor = Bucket(), Ledger(), Cursor()
    coming, pausing, dying = iter(script), iter(pauses), iter(crashes)

    def before_page() -> str | None:
        for _ in range(next(pausing, 1)):
            move = next(coming, None)
            reason = move and play(bucket, move)
            if reason:
                return reason
        return None

    bucket.before_page = before_page
    for _ in range(50):
        lister = only_pass(bucket) if without_sweep else bucket.list_page
        tick = decide_tick(Cursor.from_json(cursor.to_json()), TODAY, lister, limits)
        assert tick.listed <= limits.keys_per_round
        crash = next(dying, "")
        if crash == "crash before":
            continue
        ledger.commit(tick)
        if crash == "crash after":
            continue
        cursor = tick.cursor
        ledger.run()

    surviving = {(one.key, one.revision) for one in bucket.objects.values()}
    assert surviving <= set(ledger.requested)
    assert len(ledger.requested) == len(set(ledger.requested))


def test_an_objects_day_is_its_keys_or_its_arrivals() -> None:
    assert day_of(ListedObject(key("a.jpg", day=date(2020, 1, 1)), "t", 1, NOON)) == date(2020, 1, 1)
    assert day_of(ListedObject("uploads/x", "t", 1, NOON)) == TODAY
    late = datetime.fromisoformat("2026-03-10T23:30:00-02:00")
    assert day_of(ListedObject("uploads/x", "t", 1, late)) == date(2026, 3, 11)


def test_a_revision_is_the_version_or_else_the_etag() -> None:
    assert ListedObject("k", "abc", 1, NOON, "v1").revision == "v1"
    assert ListedObject("k", "abc", 1, NOON).revision == "etag-abc"
    assert ListedObject("k", "abc", 1, NOON, "").revision == "etag-abc"
