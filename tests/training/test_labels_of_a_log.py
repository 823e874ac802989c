"""Labels from real runs: what the log lacks, what has not come yet and what the clock says leave them null, never zero."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from log_world import DAY, LogWorld, at, in_folder, posted, view

from pipeline_assets.framework.declaration import RunOfDays
from pipeline_assets.framework.staleness import VERDICT
from pipeline_assets.nightly.survey import log_gaps
from pipeline_assets.training.assets import photos_set_aside
from pipeline_assets.training.checks import LOG_IS_UNBROKEN
from pipeline_assets.training.split import split_of
from resources.database import ledger

# Dagster's own call, for a resource (the lake) inside another (its IO manager).
pytestmark = pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated")

TODAY = datetime.now(UTC).date()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[LogWorld]:
    with in_folder(tmp_path) as made:
        yield made


def run_all(world: LogWorld, first: date, last: date) -> None:
    world.run("user_features", first, last)
    world.run("training_table", first, last)


def labels(world: LogWorld) -> list[int | None]:
    return world.rows()["views_7d"].to_list()


def gaps(world: LogWorld) -> tuple[date, ...]:
    """The days without a log that `darkroom status` names."""
    newest = ledger.latest(world.database, ["event_log", "training_table"], date.min, date.max)
    return log_gaps(pl.DataFrame(schema=VERDICT), newest, datetime.now(UTC))


def told_by_the_check(world: LogWorld, day: date) -> tuple[bool, str]:
    known = ledger.latest(world.database, ["event_log"], date.min, date.max)
    run = RunOfDays("training_table", (day,), "", "", None, entries=known)
    verdict = LOG_IS_UNBROKEN.judge(day, pl.DataFrame(), pl.DataFrame(), run)
    return verdict.passed, verdict.description


@pytest.mark.slow
def test_a_log_of_a_day_that_has_not_come_is_set_aside_and_matures_no_label(world: LogWorld) -> None:
    world.write_photos([posted(1, TODAY - DAY, 1)])
    world.write_log(TODAY - DAY, view(1, at(TODAY - DAY, 2)))
    world.write_log(TODAY + 7 * DAY, view(1, at(TODAY + 7 * DAY, 1)))
    world.run("event_log", TODAY - DAY, TODAY)
    run_all(world, TODAY - DAY, TODAY - DAY)
    assert labels(world) == [None]
    aside = world.rows("event_log_rejected")
    assert aside.select("day", "source", "reason").rows() == [
        (TODAY, f"events/{TODAY + 7 * DAY}/log.jsonl", "log_of_a_later_day")
    ]


@pytest.mark.slow
def test_a_day_without_a_log_is_no_day_without_views(world: LogWorld) -> None:
    day = TODAY - 20 * DAY
    world.write_photos([posted(1, day)])
    for n in range(9):
        if n != 3:
            world.write_log(day + n * DAY, view(1, at(day + n * DAY, 13)))
    world.run("event_log", day, day + 8 * DAY)  # the range has the gap, too
    run_all(world, day, day)
    assert labels(world) == [None]
    assert gaps(world) == (day + 3 * DAY,)
    assert told_by_the_check(world, day) == (
        False,
        f"no complete log of {day + 3 * DAY}: labels that count these days wait for it",
    )
    world.write_log(day + 3 * DAY)  # an empty file says that nothing happened
    world.run("event_log", day, day + 8 * DAY)
    assert world.stale("training_table", [day]) == [day]
    run_all(world, day, day)
    assert labels(world) == [6]
    assert gaps(world) == ()
    assert told_by_the_check(world, day)[0]


@pytest.mark.slow
def test_without_any_log_each_day_has_its_rows_in_a_range_and_alone_and_no_label(world: LogWorld) -> None:
    first = TODAY - 30 * DAY
    days = [first + n * DAY for n in range(4)]
    world.write_photos([posted(n * 10 + k, day) for n, day in enumerate(days, start=1) for k in range(5)])
    run_all(world, days[0], days[-1])
    whole = world.rows()
    assert whole.group_by("day").len().sort("day").rows() == [(day, 5) for day in days]
    assert labels(world) == [None] * 20


@pytest.mark.slow
def test_a_day_that_was_read_before_its_end_is_read_again_and_only_then_matures_a_label(world: LogWorld) -> None:
    day = TODAY - 8 * DAY
    world.write_photos([posted(1, day)])
    logged = [day + n * DAY for n in range(8)]
    for one in logged:
        world.write_log(one, view(1, at(one, 12)))
    world.run("event_log", day, logged[-1])
    early = ledger.latest(world.database, ["event_log"], logged[-1], logged[-1]).row(0, named=True)
    half = ledger.Materialization(
        **{name: early[name] for name in ("asset", "day", "digest", "rows", "code_version", "delta_version", "git_commit")},
        rejected=0,
        inputs_digest="as it was at noon",
        inputs={"outside": "digest unfinished"},
        run_id="at noon",
    )
    ledger.record(world.database, [half])
    run_all(world, day, day)
    assert labels(world) == [None]
    assert world.stale("event_log", logged) == [logged[-1]]
    world.run("event_log", day, logged[-1])
    assert world.stale("training_table", [day]) == [day]  # although the log has the same rows as before
    run_all(world, day, day)
    assert labels(world) == [7]


def test_a_line_that_arrives_later_than_now_is_set_aside(world: LogWorld) -> None:
    last = at(TODAY, 23.999)
    if datetime.now(UTC) > last - timedelta(minutes=5):
        pytest.skip("the day is over in a moment")
    world.write_log(TODAY, view(1, at(TODAY)), view(1, last))
    world.run("event_log", TODAY, TODAY)
    assert world.rows("event_log").height == 1
    assert world.rows("event_log_rejected")["reason"].to_list() == ["arrives_in_the_future"]


@pytest.mark.slow
def test_a_photo_posted_far_from_its_upload_is_set_aside_with_its_reason_and_has_no_wrong_label(world: LogWorld) -> None:
    day = TODAY - 20 * DAY
    world.write_photos(
        [
            posted(1, day),
            posted(2, day, -60 * 24),
            posted(3, day, 24 + 72),
            posted(4, day, 24.5),
            posted(5, day, -1),
        ]
    )
    for n in range(-61, 13):
        one = day + n * DAY
        world.write_log(one, *(view(photo, at(one, hours)) for photo in range(1, 6) for hours in (0.75, 23.25)))
    world.run("event_log", day - 61 * DAY, day + 12 * DAY)
    run_all(world, day, day)
    assert world.rows().select("photo_id", "views_7d").rows() == [(1, 14), (4, 14), (5, 14)]
    assert world.rows("training_table_rejected").select("source", "reason").rows() == [
        ("photo 2", "posted_far_from_upload"),
        ("photo 3", "posted_far_from_upload"),
    ]


@pytest.mark.slow
def test_a_family_in_two_splits_is_in_none_but_the_last_and_the_others_are_listed(world: LogWorld) -> None:
    users = pl.DataFrame({"user_id": range(200)}).with_columns(split=split_of(pl.col("user_id")))
    train, test = (users.filter(split=name)["user_id"][0] for name in ("train", "test"))
    day, later = TODAY - 20 * DAY, TODAY - 15 * DAY
    world.write_photos(
        [posted(1, day, user_id=train), posted(2, day, user_id=train), posted(3, later, user_id=test)], {3: 1}
    )
    run_all(world, day, day)
    run_all(world, later, later)
    assert world.rows().select("photo_id", "split").rows() == [(2, "train"), (3, "test")]
    assert world.rows("training_table_rejected").select("day", "source", "reason").rows() == [
        (day, "photo 1", "family_in_two_splits")
    ]
    assert photos_set_aside(later, world.lake) == 1  # what the model's row says
    assert photos_set_aside(day - DAY, world.lake) == 0
