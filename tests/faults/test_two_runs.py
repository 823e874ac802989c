"""Two runs at once over the same days: commands take turns, and whatever does not leaves one run's rows in each table."""

import sys
import time

import pytest
from fault_proxy import Fault, FaultProxy, HoldBack
from polars.testing import assert_frame_equal
from world import TIMEOUT_S, World

from resources.database import claims
from tests.processes import lines_of, started

pytestmark = pytest.mark.slow

ASSETS = ("event_log", "photo_metadata", "user_features")
COMMITS = "/tables/(event_log|photo_metadata|user_features)/_delta_log/[0-9]+\\.json"
WAITING = "Waiting: days of these tables are being computed by darkroom run"
RUNS = """
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pipeline_assets import definitions
from pipeline_assets.nightly import night, dagster_runs
from resources.database import seen_objects
from resources.assembly import resolve
from resources.servers.dagster_instance import open_instance
from resources.settings import load_settings

settings = load_settings()
found = resolve(settings)
days = seen_objects.upload_days(found["database"], found["uploads"].bucket)
today = datetime.now(UTC).date()
with open_instance(settings) as instance:
    for launch in night.launches(days, night.log_days(found["lake_bucket"], today), today):
        if wanted := tuple(name for name in launch.assets if name in sys.argv[1:]):
            assert dagster_runs.execute(definitions.defs, instance, replace(launch, assets=wanted)).success
"""
"""What `darkroom run` does for some assets, without a claim: as two people may do from the UI, or two machines."""


def test_two_runs_of_the_same_days_at_once_leave_the_rows_of_one(world: World, computed: World, proxy: FaultProxy) -> None:
    """Each is held before it commits, so that both have read the same version and one of them loses the race.

    The loser commits too if it is the one that began later to write.
    """
    world.uncompute(*ASSETS)
    before = world.lake.version("event_log")
    command = [sys.executable, "-c", RUNS, *ASSETS]
    with started(command, world.environment) as first, started(command, world.environment) as second:
        with proxy.faulty(Fault(HoldBack(), COMMITS, "PUT", times=2)) as held:
            while held() != [2]:
                assert first.poll() is second.poll() is None
                time.sleep(0.05)
        said = [process.communicate(timeout=TIMEOUT_S)[0] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), said
    assert world.lake.version("event_log") in (before + 1, before + 2)
    for name in ASSETS:
        assert_frame_equal(world.rows(name), computed.rows(name))
    assert world.current() == computed.current()


def test_of_two_commands_the_second_waits_and_computes_nothing_twice(
    world: World, computed: World, proxy: FaultProxy
) -> None:
    """They take turns by runs, so that the first one may wait later on, too."""
    world.uncompute(*ASSETS)
    before = {name: world.lake.version(name) for name in ASSETS}
    with world.started() as first, world.started() as second:
        said = [lines_of(first), lines_of(second)]
        with proxy.faulty(Fault(HoldBack(), COMMITS, "PUT", times=1)) as held:
            while held() != [1] or not any(WAITING in line for lines in said for line in lines):
                assert first.poll() is second.poll() is None, said
                time.sleep(0.05)
        assert (first.wait(TIMEOUT_S), second.wait(TIMEOUT_S)) == (0, 0), said
    assert {name: world.lake.version(name) - before[name] for name in ASSETS} == dict.fromkeys(ASSETS, 1)
    assert claims.live(world.postgres) == []
    assert world.current() == computed.current()
