"""S3 that answers errors, cuts, waits, loses its answers or hangs: retried while it passes, told plainly while it stays."""

from datetime import date

import polars as pl
import pytest
from fault_proxy import Answer, Cut, Fault, FaultProxy, Hold, LoseAnswer, Wait
from polars.testing import assert_frame_equal
from world import World

from resources.errors import StoreUnavailable
from resources.lake.lake import Lake
from resources.objects.store import ObjectStore

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated"),
    pytest.mark.filterwarnings("ignore:Asset job .* materializes assets with varying BackfillPolicies"),
]

COMMIT = "/tables/{}/_delta_log/[0-9]+\\.json"
UPLOAD = r"/uploads/.*\.jpg"
PASSING = [
    Fault(Answer(503), UPLOAD, "GET", times=3),
    Fault(Answer(500), "/events/.*gz", "GET", times=2),
    Fault(Cut(), UPLOAD, "GET", first=5, times=3),
    Fault(Cut(), "/events/.*gz", "GET", first=4, times=2),
    Fault(Wait(1.0), UPLOAD, "GET", first=12),
    Fault(Answer(503), "list-type=2", "GET", times=2),
    Fault(Answer(503), r"/tables/event_log/day.*\.parquet", "PUT", times=2),
    Fault(Answer(500), COMMIT.format("event_log"), "PUT", times=2),
    Fault(LoseAnswer(), COMMIT.format("raw_uploads"), "PUT"),
    Fault(Cut(), r"/tables/event_log/day.*\.parquet", "GET", times=2),
]


def test_a_run_through_errors_cuts_delays_and_lost_answers_ends_as_an_undisturbed_one(
    world: World, computed: World, proxy: FaultProxy
) -> None:
    world.uncompute("raw_uploads", "event_log", "user_features")
    with proxy.faulty(*PASSING) as met:
        assert world.execute("event_log") == {}
        assert world.execute("raw_uploads", "user_features") == {}
        assert all(met())
    for name in ("raw_uploads", "event_log", "user_features"):
        assert_frame_equal(world.rows(name), computed.rows(name))


STAYING = {
    "raw_uploads": Fault(Answer(503), UPLOAD, "GET", times=None),
    "event_log": Fault(Cut(), "/events/.*gz", "GET", times=None),
    "photo_metadata": Fault(Answer(500), COMMIT.format("photo_metadata"), "PUT", times=None),
    "user_features": Fault(Answer(500), r"/tables/event_log/day.*\.parquet", "GET", times=None),
}


@pytest.mark.parametrize("asset", STAYING)
def test_a_store_that_goes_on_failing_fails_the_run_plainly_and_the_next_one_completes(
    world: World, computed: World, proxy: FaultProxy, asset: str
) -> None:
    world.uncompute(asset)
    with proxy.faulty(STAYING[asset]):
        failed = world.execute(asset)
    assert list(failed) == [asset]
    assert "StoreUnavailable" in failed[asset]
    assert "run again" in failed[asset]
    assert_frame_equal(world.rows(asset), computed.rows(asset))
    assert not world.current()[asset]
    assert world.execute(asset) == {}
    assert_frame_equal(world.rows(asset), computed.rows(asset))
    assert world.current() == computed.current()


def test_a_body_that_is_always_cut_is_an_error_and_never_half_an_object(world: World, proxy: FaultProxy) -> None:
    store = through(proxy, world)
    store.put("whole", bytes(range(256)) * 64)
    with proxy.faulty(Fault(Cut(0.9), "/whole", "GET", times=None)), pytest.raises(StoreUnavailable, match="run again"):
        store.get("whole")
    assert store.get("whole") == bytes(range(256)) * 64


@pytest.mark.timeout(60)
def test_a_store_that_never_answers_is_given_up(world: World, proxy: FaultProxy) -> None:
    """In a few times the given seconds, by each of the libraries that reach it."""
    store = through(proxy, world)
    lake = Lake(url=world.settings["DARKROOM_LAKE_URL"], **{**world.s3, "endpoint": proxy.endpoint}, timeout_s=0.3)
    rows = pl.DataFrame({"day": [date(2026, 1, 1)], "n": [1]})
    with proxy.faulty(Fault(Hold(forwarded=False), ".", times=None)):
        for reach in (
            lambda: store.get("nothing"),
            lambda: list(store.list("nothing")),
            lambda: lake.exists("photo_metadata"),
            lambda: lake.table("photo_metadata"),
            lambda: lake.replace("new", [date(2026, 1, 1)], rows),
        ):
            with pytest.raises(StoreUnavailable, match="run again"):
                reach()
    scan = lake.scan("photo_metadata")
    with (
        proxy.faulty(Fault(Hold(forwarded=False), r"\.parquet", times=None)),
        pytest.raises(StoreUnavailable),
        lake.reached(),
    ):
        scan.collect()


def through(proxy: FaultProxy, world: World) -> ObjectStore:
    """A store of its own behind the proxy, that waits no longer than 0.3 s for an answer."""
    return ObjectStore.open(
        f"{world.settings['DARKROOM_LAKE_URL']}/own", **{**world.s3, "endpoint": proxy.endpoint}, timeout_s=0.3
    )
