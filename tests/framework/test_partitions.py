"""Days that are no partitions: of odd keys, odd clocks, or from before the first day. They are told, and stop nothing."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from pipeline_assets.definitions import build_defs
from pipeline_assets.framework.partitions import daily, existing, set_aside
from pipeline_assets.nightly.calendars import ASSETS
from pipeline_assets.nightly.night import launches
from pipeline_assets.nightly.survey import survey
from resources.database import ledger, seen_objects
from resources.database.contract import Database
from resources.database.ledger import Materialization
from resources.database.seen_objects import SeenObject
from resources.lake.lake import Lake
from resources.objects.resource import Objects
from resources.settings import Settings

FIRST = daily.start.date()
TODAY = FIRST + timedelta(days=30)
BEFORE = FIRST - timedelta(days=1)
ODD = [date(1, 1, 1), date(1999, 1, 1), BEFORE, TODAY + timedelta(days=1), date(2999, 1, 1), date(9999, 12, 31)]


def test_the_first_day_and_today_are_partitions_and_their_neighbours_are_not() -> None:
    assert existing([*ODD, FIRST, TODAY], TODAY) == [FIRST, TODAY]


def test_each_cause_is_one_sentence_with_what_would_take_the_days_in() -> None:
    assert set_aside("uploads", [FIRST, TODAY], TODAY) == []
    assert set_aside("uploads", [BEFORE, TODAY], TODAY) == [
        f"uploads of {BEFORE} are set aside: before the first partition, {FIRST}. To take them in, set "
        f"DARKROOM_FIRST_DAY={BEFORE}."
    ]
    never, early, late = set_aside("logs", ODD, TODAY)
    assert never.startswith("logs of 0001-01-01 are set aside: no day before 1970-01-01 can be a partition")
    assert early.startswith("logs of 2 days from 1999-01-01 to")
    assert early.endswith("set DARKROOM_FIRST_DAY=1999-01-01.")
    assert late == f"logs of 3 days from {ODD[3]} to 9999-12-31 are set aside: a day is taken in once it has begun."


def test_on_the_day_before_the_first_nothing_is_a_partition() -> None:
    assert existing([BEFORE, FIRST], BEFORE) == []
    assert len(set_aside("uploads", [BEFORE, FIRST], BEFORE)) == 2


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_day_changes_no_launch_of_its_neighbours(odd: date) -> None:
    days = [FIRST, FIRST + timedelta(days=2)]
    assert launches([*days, odd], [*days, odd], TODAY) == launches(days, days, TODAY)
    assert launches([odd], [odd], TODAY) == []


def test_the_survey_tells_odd_days_and_judges_none_of_them(database: Database, tmp_path: Any) -> None:
    """Nor those that an earlier first day had let in."""
    lake_bucket = Objects(url=(tmp_path / "lake").as_uri())
    uploads = Objects(url=(tmp_path / "uploads").as_uri())
    resources: Mapping[str, Any] = {
        **build_defs(Settings()).resources,
        "database": database,
        "lake_bucket": lake_bucket,
        "uploads": uploads,
        "lake": Lake(url=(tmp_path / "lake").as_uri()),
    }
    at = datetime(2026, 1, 1, tzinfo=UTC)
    for day in [*ODD, TODAY]:
        seen_objects.add_objects(database, [SeenObject(uploads.bucket, f"{day}", "v", "e", 1, at, day)])
        lake_bucket.store.put(f"events/{day}/log.jsonl", b"{}")
    ledger.record(database, [Materialization("raw_uploads", BEFORE, "d", 1, 0, "c", "i", {}, 1, None, "r")])
    with database.connect() as transaction:
        transaction.insert_into("users", ["user_id", "joined_at", "name", "followers"], [(1, at, "Ann", 0)])
        columns = ["photo_id", "user_id", "key", "day", "posted_at", "title"]
        photos = [(number, 1, f"uploads/{day}/1/a.jpg", day, at, "") for number, day in enumerate([*ODD, TODAY])]
        transaction.insert_into("photos", columns, photos)
    judged = survey(resources, TODAY)
    assert set(judged.days["day"]) == {TODAY}
    assert set(judged.days["asset"]) <= set(ASSETS)
    assert [sentence.split(" are ")[0] for sentence in judged.set_aside] == [
        "uploads of 0001-01-01",
        "uploads of 2 days from 1999-01-01 to 2025-12-31",
        "uploads of 3 days from 2026-02-01 to 9999-12-31",
        "logs of 0001-01-01",
        "logs of 2 days from 1999-01-01 to 2025-12-31",
        "logs of 3 days from 2026-02-01 to 9999-12-31",
        "6 photos of the database",
    ]


def test_a_key_of_a_day_that_no_one_lived_is_no_reason_to_advise_that_first_day() -> None:
    never, early = set_aside("uploads", [date.min, date(1969, 12, 31), date(1999, 1, 1)], TODAY)
    assert "FIRST_DAY" not in never
    assert early.endswith("set DARKROOM_FIRST_DAY=1999-01-01.")
