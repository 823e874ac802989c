"""A clock that is wrong or set back: of this machine, of the store, or between two ticks of the sensor."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from polars.testing import assert_frame_equal
from world import World

from pipeline_assets.definitions import build_defs
from resources.database import ledger, seen_objects
from resources.database.postgres import Postgres
from resources.objects.resource import Objects
from resources.objects.upload_queue import UploadQueue
from resources.settings import Settings
from sensors.uploads import new_uploads
from sensors.uploads_decision import Cursor

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated"),
    pytest.mark.filterwarnings("ignore:Asset job .* materializes assets with varying BackfillPolicies"),
]

NOW = datetime.now(UTC)


def shifted(by: str) -> dict[str, str]:
    """The environment of a process whose clock differs by so much."""
    faketime = shutil.which("faketime")
    libraries = list(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if faketime is None or not libraries:
        pytest.skip("no faketime here: install it with `apt-get install faketime`")
    return {"LD_PRELOAD": str(libraries[0]), "FAKETIME": by, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def a_little_back() -> str:
    """Ten minutes, or less where that would be yesterday, which has other work."""
    now = datetime.now(UTC)
    today_s = (now - now.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds()
    return f"-{int(min(600, today_s / 2))}s"


def test_a_run_whose_clock_was_set_back_a_little_computes_the_same_and_the_newest_entry_still_counts(
    world: World, computed: World
) -> None:
    world.uncompute("event_log", "photo_metadata")
    said = world.run(**shifted(a_little_back()))
    assert said.status == 0, said.output
    for name in ("event_log", "photo_metadata"):
        assert_frame_equal(world.rows(name), computed.rows(name))
    assert world.current() == computed.current()
    assert world.execute("event_log", "photo_metadata") == {}
    assert world.lake.version("event_log") == computed.lake.version("event_log") + 1


def test_a_clock_that_is_days_off_is_named_as_the_cause(world: World) -> None:
    said = world.run(**shifted("-3d"))
    assert said.status == 1
    assert "StoreUnavailable: The store refuses requests because this machine's clock" in said.output
    assert "Traceback" not in said.output
    assert world.execute("event_log", "photo_metadata") == {}


def test_uploads_older_than_a_watermark_of_the_future_are_all_found(
    bucket: str, s3_options: dict[str, str], postgres_url: str
) -> None:
    """The store's clock ran a month ahead, was then set back, and uploads go on."""
    uploads, postgres = Objects(url=f"s3://{bucket}", **s3_options), Postgres(url=postgres_url)
    postgres.migrate()
    ahead = NOW + timedelta(days=30)
    cursor = Cursor(newest=ahead, pass_began_at=ahead, last_pass_began_at=ahead).to_json()
    keys = [f"uploads/{NOW.date() - timedelta(days=days)}/1/{days}.jpg" for days in (0, 1, 5, 60)]
    repository = build_defs(Settings()).get_repository_def()
    with dg.DagsterInstance.ephemeral() as instance:
        for key in keys:
            uploads.store.put(key, key.encode())
            found: Any = new_uploads.evaluate_tick(
                dg.build_sensor_context(
                    instance=instance,
                    cursor=cursor,
                    repository_def=repository,
                    resources={"uploads": uploads, "database": postgres, "upload_queue": UploadQueue()},
                )
            )
            cursor = found.cursor
    days = seen_objects.object_days(postgres, bucket)
    assert days["objects"].to_list() == [1] * len(keys)
    assert len(found.run_requests) == len(keys)


def test_a_days_newest_entry_is_the_last_that_was_entered_whatever_the_clock_said(postgres_url: str) -> None:
    postgres = Postgres(url=postgres_url)
    postgres.migrate()
    columns = (
        "asset, day, digest, rows, rejected, code_version, inputs_digest, inputs, delta_version, run_id, materialized_at"
    )
    for digest, at in (("first", NOW), ("second", NOW - timedelta(days=2))):
        postgres.execute(
            f"insert into materializations ({columns}) values ('notes', %s, %s, 1, 0, 'c', 'i', '{{}}', 1, 'r', %s)",  # noqa: S608
            (NOW.date(), digest, at),
        )
    assert ledger.latest(postgres, ["notes"], NOW.date(), NOW.date())["digest"].to_list() == ["second"]
