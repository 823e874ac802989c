"""The nightly schedule: which days it asks for, and when."""

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from pipeline_assets.definitions import night
from pipeline_assets.framework.partitions import daily
from pipeline_assets.ingestion.schemas import RawUploads
from pipeline_assets.training.observation import DAYS_AFTER, Observation
from pipeline_assets.training.split import split_of
from resources.database import ledger
from resources.database.sqlite import Sqlite
from resources.lake.lake import Lake
from resources.lake.lake_io import DAYS_NOT_WRITTEN


@pytest.fixture
def ledgers(tmp_path: Path) -> Sqlite:
    """A database in which nothing was computed."""
    made = Sqlite(url=f"sqlite:///{tmp_path / 'darkroom.db'}")
    made.migrate()
    return made


def asked(database: Sqlite, at: datetime) -> dg.RunRequest | dg.SkipReason:
    """What the schedule asks for at a moment."""
    context = dg.build_schedule_context(scheduled_execution_time=at)
    return night.at_night(context, database=database, lake=lake_beside(database))  # type: ignore[return-value]


def lake_beside(database: Sqlite) -> Lake:
    """The lake in the folder of a database."""
    return Lake(url=str(Path(database.url.removeprefix("sqlite:///")).parent / "lake"))


def first_asked(database: Sqlite, at: datetime) -> date:
    request = asked(database, at)
    assert isinstance(request, dg.RunRequest)
    return date.fromisoformat(request.tags["dagster/asset_partition_range_start"])


def enter(database: Sqlite, asset: str, days: list[date], outside: dict[date, str]) -> None:
    """Days as computed, from what was outside."""
    ledger.record(
        database,
        [
            ledger.Materialization(asset, day, "digest", 1, 0, "code", "inputs", {"outside": outside[day]}, 1, None, "run")
            for day in days
        ],
    )


def upload_of(day: date, split: str) -> pl.DataFrame:
    """One photo, of always the same bytes, by a user of a split."""
    users = pl.DataFrame({"user_id": range(1, 200)}).with_columns(split=split_of(pl.col("user_id")))
    row = dict.fromkeys(RawUploads.column_names()) | {
        "day": day,
        "bucket": "b",
        "key": f"k{day}",
        "version_id": "v",
        "user_id": users.filter(split=split)["user_id"][0],
        "uploaded_at": NIGHT,
        "size_bytes": 1,
        "sha256": "a" * 64,
        "verdict": "ok",
        "media_type": "image/png",
    }
    return pl.DataFrame([row], schema=RawUploads.create_empty().schema)


NIGHT = datetime(2026, 6, 20, 2, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize("missed", [0, 1, 6, 30])
def test_a_night_after_missed_ones_covers_the_days_that_they_would_have_matured(missed: int, ledgers: Sqlite) -> None:
    last_read = NIGHT.date() - (2 + missed) * DAY
    logs = [last_read - n * DAY for n in range(40)]
    enter(ledgers, "event_log", logs, dict.fromkeys(logs, "files"))
    assert first_asked(ledgers, NIGHT) == last_read + DAY - DAYS_AFTER * DAY


def test_a_night_covers_days_whose_rows_were_computed_from_less_than_the_log_has(ledgers: Sqlite) -> None:
    logs = [NIGHT.date() - n * DAY for n in range(2, 60)]
    observed = Observation.of(logs)
    uploads = [NIGHT.date() - n * DAY for n in range(2, 40)]
    told = {day: observed.source_text(day) for day in uploads}
    enter(ledgers, "event_log", logs, dict.fromkeys(logs, "files"))
    enter(ledgers, "training_table", uploads, told)
    assert first_asked(ledgers, NIGHT) == NIGHT.date() - DAY - DAYS_AFTER * DAY
    enter(ledgers, "training_table", uploads[30:31], {uploads[30]: "+++++------"})
    assert first_asked(ledgers, NIGHT) == uploads[30]


def test_a_night_covers_an_older_day_that_the_model_learns_from_if_a_photo_got_a_relative_in_another_split(
    ledgers: Sqlite,
) -> None:
    logs = [NIGHT.date() - n * DAY for n in range(2, 60)]
    days = [NIGHT.date() - n * DAY for n in range(2, 40)]
    observed = Observation.of(logs)
    enter(ledgers, "event_log", logs, dict.fromkeys(logs, "files"))
    enter(ledgers, "training_table", days, {day: observed.source_text(day) for day in days})
    old, new = days[30], days[0]
    lake = lake_beside(ledgers)
    lake.replace("raw_uploads", [old], upload_of(old, "train"))
    assert first_asked(ledgers, NIGHT) == NIGHT.date() - DAY - DAYS_AFTER * DAY
    lake.replace("raw_uploads", [new], upload_of(new, "test"))
    assert first_asked(ledgers, NIGHT) == old


@pytest.mark.parametrize(
    ("at", "first", "last"),
    [
        (datetime(2026, 2, 20, 2, tzinfo=UTC), "2026-02-10", "2026-02-19"),
        (datetime(2026, 3, 1, 2, tzinfo=UTC), "2026-02-19", "2026-02-28"),
    ],
)
def test_the_night_covers_yesterday_and_the_days_whose_labels_it_can_change(
    at: datetime, first: str, last: str, ledgers: Sqlite
) -> None:
    request = asked(ledgers, at)
    assert isinstance(request, dg.RunRequest)
    assert request.run_key == last
    assert request.tags["dagster/asset_partition_range_start"] == first
    assert request.tags["dagster/asset_partition_range_end"] == last


@pytest.mark.parametrize(("days_ago", "count"), [(0, 0), (1, 1), (3, 3), (9, 9), (10, 10), (20, 10)])
def test_a_first_day_of_less_than_ten_days_ago_makes_the_night_shorter(days_ago: int, count: int, ledgers: Sqlite) -> None:
    at = datetime.combine(daily.start.date() + timedelta(days=days_ago), time(2), UTC)
    request = asked(ledgers, at)
    if not count:
        assert isinstance(request, dg.SkipReason)
        return
    assert isinstance(request, dg.RunRequest)
    first, last = (date.fromisoformat(request.tags[f"dagster/asset_partition_range_{end}"]) for end in ("start", "end"))
    assert (last - first).days + 1 == count
    assert first >= daily.start.date()


def test_the_schedule_fires_at_two_in_the_morning_utc() -> None:
    ticks = night.at_night.execution_timezone, night.at_night.cron_schedule
    assert ticks == ("UTC", "0 2 * * *")
    assert night.at_night.default_status is dg.DefaultScheduleStatus.RUNNING
    assert night.at_night.job_name == night.tables.name == "nightly_tables"


def run_of(instance: dg.DagsterInstance, tags: dict[str, str]) -> dg.RunStatusSensorContext:
    """The context of the sensor after a real run that succeeded."""

    @dg.op
    def work() -> None:
        pass

    @dg.job
    def tables() -> None:
        work()

    result = tables.execute_in_process(instance=instance, tags=tags)
    return dg.build_run_status_sensor_context(
        sensor_name="model_after_tables",
        dagster_instance=instance,
        dagster_run=result.dagster_run,
        dagster_event=result.get_run_success_event(),
    )


def test_the_nights_model_follows_the_nights_tables() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        request = night.model_after_tables(run_of(instance, {"dagster/asset_partition_range_end": "2026-02-19"}))
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == "2026-02-19"


def test_a_run_that_names_no_range_of_days_starts_no_model() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert isinstance(night.model_after_tables(run_of(instance, {})), dg.SkipReason)


@pytest.mark.parametrize(
    ("error", "has_model"),
    [
        (dg.Failure("2 of 9 days were not written", metadata={DAYS_NOT_WRITTEN: 2}), True),
        (dg.Failure("DarkroomError: all of it"), False),
        (RuntimeError("the store is gone"), False),
    ],
)
def test_a_night_of_which_days_failed_has_its_model_and_one_that_broke_off_has_none(
    error: Exception, has_model: bool
) -> None:
    @dg.op
    def work() -> None:
        raise error

    @dg.job
    def tables() -> None:
        work()

    with dg.DagsterInstance.ephemeral() as instance:
        days = {"dagster/asset_partition_range_end": "2026-02-19"}
        result = tables.execute_in_process(instance=instance, tags=days, raise_on_error=False)
        context = dg.build_run_status_sensor_context(
            sensor_name="model_after_failed_days",
            dagster_instance=instance,
            dagster_run=result.dagster_run,
            dagster_event=result.get_run_failure_event(),
        )
        asked = night.model_after_failed_days(context)
    assert isinstance(asked, dg.RunRequest if has_model else dg.SkipReason)
