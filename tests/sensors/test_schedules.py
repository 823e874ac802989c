"""The nightly schedule: which days it asks for, and when."""

from datetime import UTC, datetime

import dagster as dg
import pytest

from sensors.schedules import TABLES, model_after_tables, nightly, nightly_tables


@pytest.mark.parametrize(
    ("at", "first", "last"),
    [
        (datetime(2026, 2, 20, 2, tzinfo=UTC), "2026-02-11", "2026-02-19"),
        (datetime(2026, 3, 1, 2, tzinfo=UTC), "2026-02-20", "2026-02-28"),
    ],
)
def test_the_night_covers_yesterday_and_the_days_whose_labels_it_can_change(at: datetime, first: str, last: str) -> None:
    request = nightly(dg.build_schedule_context(scheduled_execution_time=at))
    assert isinstance(request, dg.RunRequest)
    assert request.run_key == last
    assert request.tags["dagster/asset_partition_range_start"] == first
    assert request.tags["dagster/asset_partition_range_end"] == last


def test_the_schedule_fires_at_two_in_the_morning_utc() -> None:
    ticks = nightly.execution_timezone, nightly.cron_schedule
    assert ticks == ("UTC", "0 2 * * *")
    assert nightly.default_status is dg.DefaultScheduleStatus.RUNNING
    assert nightly.job_name == nightly_tables.name == "nightly_tables"


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
    assert len(TABLES) == 15
    with dg.DagsterInstance.ephemeral() as instance:
        request = model_after_tables(run_of(instance, {"dagster/asset_partition_range_end": "2026-02-19"}))
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == "2026-02-19"


def test_a_run_that_names_no_range_of_days_starts_no_model() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert isinstance(model_after_tables(run_of(instance, {})), dg.SkipReason)
