"""Two `darkroom run` at once over the same days: both end, and each table holds one run's rows."""

import pytest
from fault_proxy import Fault, FaultProxy, Wait
from polars.testing import assert_frame_equal
from world import TIMEOUT_S, World

pytestmark = pytest.mark.slow

COMMITS = "/tables/(event_log|photo_metadata|user_features)/_delta_log/[0-9]+\\.json"


def test_two_runs_of_the_same_days_at_once_leave_the_rows_of_one(world: World, computed: World, proxy: FaultProxy) -> None:
    """Each waits before it commits, so that both have read the same version and one of them loses the race."""
    world.uncompute("event_log", "photo_metadata", "user_features")
    before = world.lake.version("event_log")
    with proxy.faulty(Fault(Wait(2.5), COMMITS, "PUT", times=2)) as met:
        first, second = world.start(), world.start()
        said = [process.communicate(timeout=TIMEOUT_S)[0] for process in (first, second)]
        assert met() == [2]
    assert (first.returncode, second.returncode) == (0, 0), said
    assert world.lake.version("event_log") == before + 2
    for name in ("event_log", "photo_metadata", "user_features"):
        assert_frame_equal(world.rows(name), computed.rows(name))
    assert world.current() == computed.current()
