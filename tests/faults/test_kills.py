"""`darkroom run`, killed -9 in each of its nine assets, then run to its end: the same tables as never killed.

The proxy before S3 holds one request, and the run is killed while it waits: in each asset when its commit has landed and
the ledger does not know it, and in those that leave something behind before their commit, once before that.
"""

from dataclasses import dataclass, field

import dagster as dg
import polars as pl
import pytest
from fault_proxy import Fault, FaultProxy, Hold
from polars.testing import assert_frame_equal
from world import NewWorld, World

from pipeline_assets.nightly import ASSETS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

COMMIT = "/tables/{}/_delta_log/0*[1-9][0-9]*\\.json"
INSIDE = {
    # Every object is read and judged; the next request would commit.
    "raw_uploads": Fault(Hold(forwarded=False), COMMIT.format("raw_uploads"), "PUT"),
    # Rejected lines are committed, the events are not.
    "event_log": Fault(Hold(forwarded=True), COMMIT.format("event_log_rejected"), "PUT"),
    # A chunk of results is there, and the index does not know it.
    "photo_classes": Fault(Hold(forwarded=True), "/objects/sha256/", "PUT"),
    # The shards are on the disk, and no row names them.
    "staged_training_set": Fault(Hold(forwarded=False), COMMIT.format("staged_training_set"), "PUT"),
    # The weights are there, and no row names them.
    "popularity_model": Fault(Hold(forwarded=True), "/objects/sha256/", "PUT"),
}
WITHOUT_ROWS = {"speech_variants", "video_variants", "training_variants"}
"""The world has photos alone, and its policy has no model trained on variants; their days are committed all the same."""
AFTER = {asset: Fault(Hold(forwarded=True), COMMIT.format(asset), "PUT") for asset in ASSETS}


@dataclass
class Story:
    """A world whose runs were killed at all of these points, what its tables held then, and a world that never was."""

    killed: World
    whole: World
    seen: dict[tuple[str, str], pl.DataFrame | None] = field(default_factory=dict)
    said: str = ""


@pytest.fixture(scope="module")
def story(new_world: NewWorld, computed: World, proxy: FaultProxy) -> Story:
    told = Story(new_world(), computed)
    points = [(asset, "inside") for asset in INSIDE] + [(asset, "after") for asset in AFTER]
    while points := [point for point in points if point not in told.seen]:
        # Inside first, whichever asset comes first.
        waiting = {asset: (asset, point) for asset, point in reversed(points)}
        faults = [(INSIDE if point == "inside" else AFTER)[asset] for asset, point in waiting.values()]
        asset, point = list(waiting.values())[told.killed.kill_at(proxy, *faults)]
        told.seen[asset, point] = told.killed.rows(asset) if told.killed.lake.exists(asset) else None
    said = told.killed.run()
    assert said.status == 0, said.output
    told.said = told.killed.run().output
    return told


@pytest.mark.parametrize("asset", INSIDE)
def test_a_run_killed_before_its_commit_leaves_no_row_of_it(story: Story, asset: str) -> None:
    seen = story.seen[asset, "inside"]
    assert seen is None or seen.is_empty()


@pytest.mark.parametrize("asset", ASSETS)
def test_a_run_killed_after_its_commit_leaves_all_rows_of_it(story: Story, asset: str) -> None:
    seen = story.seen[asset, "after"]
    assert seen is not None
    assert_frame_equal(seen, story.whole.rows(asset))


@pytest.mark.parametrize("asset", ASSETS)
def test_after_a_kill_in_each_asset_the_tables_are_those_of_a_run_that_was_never_killed(story: Story, asset: str) -> None:
    assert story.whole.rows(asset).is_empty() == (asset in WITHOUT_ROWS)
    assert_frame_equal(story.killed.rows(asset), story.whole.rows(asset))


def test_what_was_set_aside_is_that_of_a_run_that_was_never_killed(story: Story) -> None:
    mine, theirs = (world.lake.scan("event_log_rejected").collect() for world in (story.killed, story.whole))
    assert_frame_equal(mine, theirs, check_row_order=False)
    assert not mine.is_empty()


def test_after_the_kills_the_ledger_and_dagster_know_the_same_days_as_never_killed(story: Story) -> None:
    assert story.killed.current() == story.whole.current()
    assert story.killed.reported() == story.whole.reported() == story.whole.current()


def test_after_the_kills_nothing_is_left_to_do(story: Story) -> None:
    assert "Nothing has changed: every asset is current" in story.said


def test_runs_that_were_killed_do_not_count_as_running(story: Story) -> None:
    """They would hold a place in the queue and their pools."""
    with story.killed.instance() as instance:
        statuses = [run.status for run in instance.get_runs()]
    assert statuses.count(dg.DagsterRunStatus.FAILURE) == len(story.seen)
    assert set(statuses) == {dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS}


def test_killed_runs_cost_one_equal_commit_each_and_no_more(story: Story) -> None:
    versions = {name: story.killed.lake.version(name) - story.whole.lake.version(name) for name in ASSETS}
    assert versions == dict.fromkeys(ASSETS, 1)


def test_photos_that_a_killed_run_classified_are_not_classified_again_once_their_chunk_is_known(story: Story) -> None:
    counts = "select kind, count(*) as n, count(distinct key) as keys from results group by kind order by kind"
    assert story.killed.postgres.read(counts).equals(story.whole.postgres.read(counts))
