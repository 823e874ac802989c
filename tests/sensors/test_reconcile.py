"""The nightly walk as Dagster runs it."""

from datetime import UTC, datetime

import dagster as dg
import pytest

from resources.database.contract import Database
from resources.objects.resource import Objects
from sensors.reconcile import reconcile_nightly, reconcile_uploads

TODAY = datetime.now(UTC).date()


@pytest.fixture
def resources(bucket: str, s3_options: dict[str, str], database: Database) -> dict[str, object]:
    return {"uploads": Objects(url=f"s3://{bucket}", **s3_options), "database": database}


def test_the_job_enters_what_was_missed_and_says_what_it_found(resources: dict[str, object]) -> None:
    uploads, postgres = resources["uploads"], resources["database"]
    assert isinstance(uploads, Objects)
    assert isinstance(postgres, Database)
    for data in (b"A", b"B"):
        uploads.store.put(f"uploads/{TODAY}/1/a.jpg", data)
    uploads.store.put("uploads/no-day/x.jpg", b"x")
    uploads.store.put("elsewhere/x.jpg", b"x")
    done = reconcile_uploads.execute_in_process(resources=resources)
    assert done.success
    (told,) = [event for event in done.all_events if event.is_successful_output]
    metadata = told.step_output_data.metadata
    assert {name: metadata[name].value for name in ("listed", "entered", "overwritten")} == {
        "listed": 3,
        "entered": 3,
        "overwritten": 1,
    }
    assert postgres.read("select day from objects")["day"].unique().to_list() == [TODAY]


def test_one_walk_a_night_is_asked_for_an_hour_before_the_tables() -> None:
    assert (reconcile_nightly.cron_schedule, reconcile_nightly.execution_timezone) == ("0 1 * * *", "UTC")
    assert reconcile_nightly.default_status is dg.DefaultScheduleStatus.RUNNING
    at = datetime(2026, 2, 20, 1, tzinfo=UTC)
    request = reconcile_nightly(dg.build_schedule_context(scheduled_execution_time=at))
    assert isinstance(request, dg.RunRequest)
    assert request.run_key == "2026-02-20"
