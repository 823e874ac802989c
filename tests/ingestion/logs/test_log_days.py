"""Which log files are of which day: none of a day that has not come, and none that arrives later than now."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import polars as pl

from pipeline_assets.catalog import DECLARATIONS
from pipeline_assets.framework.schemas import Rejected
from pipeline_assets.ingestion.logs.log_days import (
    NO_LOG,
    RECENT_DAYS,
    ROUND_DAYS,
    UNFINISHED,
    arrived_by,
    days_to_list,
    early_files,
    file_by_day,
    state_of,
    stretches,
)
from pipeline_assets.ingestion.schemas import EventLog
from resources.database import ledger
from resources.database.ledger import Materialization
from resources.objects.resource import Objects

TODAY = date(2026, 2, 10)
NOON = datetime(2026, 2, 10, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Listed:
    key: str
    last_modified: datetime = NOON


def test_a_log_of_a_later_day_is_filed_under_the_day_it_was_stored_and_refused_with_its_reason():
    stored = NOON - 3 * DAY
    files = [
        Listed("events/2026-02-09/a"),
        Listed("events/2026-02-17/b", stored),
        Listed("events/2026-02-11/c"),
        Listed("events/2099-01-01/d", NOON + DAY),
        Listed("events/notes.txt"),
        Listed("events/2026-02-31/e"),
    ]
    found = file_by_day(files, TODAY)
    assert {day: [file.key for file in of] for day, of in found.read.items()} == {TODAY - DAY: ["events/2026-02-09/a"]}
    rows = early_files(found.early)
    Rejected.validate(rows)
    assert rows.select("day", "source", "reason").rows() == [
        (TODAY - 3 * DAY, "events/2026-02-17/b", "log_of_a_later_day"),
        (TODAY, "events/2026-02-11/c", "log_of_a_later_day"),
        (TODAY, "events/2099-01-01/d", "log_of_a_later_day"),
    ]
    assert found.days == [TODAY - 3 * DAY, TODAY - DAY, TODAY]


def test_a_log_of_a_later_day_is_read_once_its_day_has_come():
    files = [Listed("events/2026-02-11/c")]
    assert file_by_day(files, TODAY + DAY).read.keys() == {TODAY + DAY}


def test_folders_before_the_first_day_are_left_out_and_no_file_is_filed_before_it():
    files = [Listed("events/1999-01-01/a"), Listed("events/2026-02-17/b", NOON - 400 * DAY)]
    assert file_by_day(files, TODAY, first=TODAY - 10 * DAY).days == [TODAY - 10 * DAY]


def test_a_day_is_read_again_after_its_end_although_no_file_has_come():
    assert state_of(TODAY, has_files=True, now=NOON) == state_of(TODAY, has_files=False, now=NOON) == UNFINISHED
    assert state_of(TODAY, has_files=True, now=NOON + DAY) == ""
    assert state_of(TODAY, has_files=False, now=NOON + DAY) == NO_LOG


def test_an_event_that_has_not_arrived_by_the_clock_is_kept_aside_with_its_reason():
    event = {"day": TODAY, "user_id": 1, "photo_id": 1, "kind": "view", "extra_json": None}
    events = pl.DataFrame(
        [
            event | {"event_id": "now", "at": NOON, "arrived_at": NOON},
            event | {"event_id": "later", "at": NOON, "arrived_at": NOON + timedelta(seconds=1)},
        ],
        schema=EventLog.create_empty().schema,
    )
    kept, aside = arrived_by(events, NOON)
    assert kept["event_id"].to_list() == ["now"]
    Rejected.validate(aside)
    assert aside.select("day", "source", "reason").rows() == [(TODAY, "later", "arrives_in_the_future")]
    assert '"event_id":"later"' in aside["raw"].item()


def spread(count: int, until: date = TODAY) -> list[date]:
    """So many days in a row, up to one."""
    return [until - n * DAY for n in reversed(range(count))]


def test_the_files_of_recent_days_are_listed_each_time_and_those_of_older_ones_once_in_thirty_days():
    days = spread(400)
    old = [day for day in days if day < TODAY - RECENT_DAYS * DAY]
    times = dict.fromkeys(old, 0)
    for later in range(ROUND_DAYS):
        listed = days_to_list(days, set(old), TODAY + later * DAY)
        assert {day for day in days if day >= TODAY + (later - RECENT_DAYS) * DAY} <= set(listed)
        assert len(set(listed) & set(old)) <= (len(old) + later) / ROUND_DAYS + 2
        for day in set(listed) & set(old):
            times[day] += 1
    assert set(times.values()) == {1}


def test_days_that_are_not_known_and_few_days_asked_for_by_themselves_are_always_listed():
    days = spread(400)
    unknown = {days[0], days[77], days[200]}
    assert unknown <= set(days_to_list(days, set(days) - unknown, TODAY))
    assert days_to_list(days[:RECENT_DAYS], set(days), TODAY) == days[:RECENT_DAYS]
    assert days_to_list(days, set(), TODAY) == days


def test_days_that_lie_close_are_listed_in_one_stretch():
    assert stretches([]) == []
    assert stretches([TODAY, TODAY + DAY, TODAY + 20 * DAY, TODAY + 90 * DAY]) == [
        (TODAY, TODAY + 20 * DAY),
        (TODAY + 90 * DAY, TODAY + 90 * DAY),
    ]


def test_what_is_not_listed_counts_as_it_was_read_until_its_turn_comes_or_it_is_asked_for_by_itself(database, tmp_path):
    lake_bucket = Objects(url=tmp_path.as_uri())
    days = spread(200, datetime.now(UTC).date())
    for day in days:
        lake_bucket.store.put(f"events/{day}/a.jsonl", b"{}")
    sources = {"lake_bucket": lake_bucket, "database": database}
    first = DECLARATIONS["event_log"].source_digests(days, sources)
    assert set(first) == set(days)
    ledger.record(
        database,
        [
            Materialization("event_log", day, "d", 1, 0, "c", "i", {"outside": read}, 1, None, "r")
            for day, read in first.items()
        ],
    )
    assert DECLARATIONS["event_log"].source_digests(days, sources) == first
    for day in days:
        lake_bucket.store.put(f"events/{day}/late.jsonl", b"{}")
    again = DECLARATIONS["event_log"].source_digests(days, sources)
    changed = {day for day in days if again[day] != first[day]}
    assert set(days[-RECENT_DAYS:]) <= changed
    assert len(changed) <= RECENT_DAYS + 1 + 200 / ROUND_DAYS + 1
    alone = DECLARATIONS["event_log"].source_digests(days[:5], sources)
    assert all(alone[day] != first[day] for day in days[:5])
