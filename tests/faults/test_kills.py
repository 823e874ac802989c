"""`darkroom run`, killed -9 once on each path of the framework, then run to its end: the same tables as never killed.

The proxy in front of S3 holds one request, and the run is killed while that request waits. The kill comes when a commit
has landed and the ledger does not have it, and, in assets that leave something behind before their commit, before that.
"""

from dataclasses import dataclass, field

import dagster as dg
import polars as pl
import pytest
from fault_proxy import Fault, FaultProxy, Hold
from polars.testing import assert_frame_equal
from world import NewWorld, World

from pipeline_assets.nightly.calendars import ASSETS

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
PATHS = {
    "raw_uploads": "plain, read from a bucket",
    "event_log": "computed day by day, with quarantined rows",
    "photo_classes": "spooled to disk, with results in the object store",
    "training_table": "joined from other tables",
    "photo_variants": "variants",
    "popularity_model": "a model of a night",
}
"""An asset of each path that a commit takes. All other assets take one of these."""
AFTER = {asset: Fault(Hold(forwarded=True), COMMIT.format(asset), "PUT") for asset in PATHS}


@dataclass
class Story:
    """A world whose runs were killed at all of these points, its rows at each of them, and a world that was never killed."""

    killed: World
    whole: World
    rows: dict[tuple[str, str], pl.DataFrame | None] = field(default_factory=dict)
    output: str = ""


@pytest.fixture(scope="module")
def story(new_world: NewWorld, computed: World, proxy: FaultProxy) -> Story:
    made = Story(new_world(), computed)
    points = [(asset, "inside") for asset in INSIDE] + [(asset, "after") for asset in AFTER]
    while points := [point for point in points if point not in made.rows]:
        # Inside first, whichever asset comes first.
        waiting = {asset: (asset, point) for asset, point in reversed(points)}
        faults = [(INSIDE if point == "inside" else AFTER)[asset] for asset, point in waiting.values()]
        asset, point = list(waiting.values())[made.killed.kill_at(proxy, *faults)]
        made.rows[asset, point] = made.killed.rows(asset) if made.killed.lake.exists(asset) else None
    run = made.killed.run()
    assert run.status == 0, run.output
    made.output = made.killed.run().output
    return made


@pytest.mark.parametrize("asset", INSIDE)
def test_a_run_killed_before_its_commit_leaves_no_row_of_it(story: Story, asset: str) -> None:
    rows = story.rows[asset, "inside"]
    assert rows is None or rows.is_empty()


@pytest.mark.parametrize("asset", AFTER)
def test_a_run_killed_after_its_commit_leaves_all_rows_of_it(story: Story, asset: str) -> None:
    rows = story.rows[asset, "after"]
    assert rows is not None
    assert_frame_equal(rows, story.whole.rows(asset))


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
    assert "Nothing has changed: every asset is current" in story.output


def test_runs_that_were_killed_do_not_count_as_running(story: Story) -> None:
    """They would hold a place in the queue and their pools."""
    with story.killed.instance() as instance:
        statuses = [run.status for run in instance.get_runs()]
    assert statuses.count(dg.DagsterRunStatus.FAILURE) == len(story.rows)
    assert set(statuses) == {dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS}


def test_killed_runs_cost_one_equal_commit_each_and_no_more(story: Story) -> None:
    versions = {name: story.killed.lake.version(name) - story.whole.lake.version(name) for name in ASSETS}
    assert versions == {name: int(name in AFTER) for name in ASSETS}


def test_photos_that_a_killed_run_classified_are_not_classified_again_once_their_chunk_is_known(story: Story) -> None:
    counts = "select kind, count(*) as n, count(distinct key) as keys from results group by kind order by kind"
    assert story.killed.postgres.read(counts).equals(story.whole.postgres.read(counts))
