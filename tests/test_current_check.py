"""The check `current`: asked once a night for all days, never by a run that makes a few of them."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
import polars as pl
import pytest

from pipeline_assets import nightly
from pipeline_assets.currency import Survey
from pipeline_assets.current_check import result
from pipeline_assets.definitions import defs
from pipeline_assets.versioning.staleness import ENTRY, VERDICT

# Jobs whose assets are backfilled in chunks of different sizes.
pytestmark = pytest.mark.filterwarnings("ignore:Asset job .* materializes assets with varying")

KEYS = {dg.AssetCheckKey(dg.AssetKey(name), "current") for name in nightly.ASSETS}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


@pytest.mark.parametrize("job", ["ingest_uploads", "nightly_tables", "nightly_model"])
def test_a_job_that_makes_days_does_not_ask_for_all_of_them(job: str) -> None:
    nodes = {node.name for node in defs.resolve_job_def(job).nodes}
    assert nodes
    assert "current_days" not in nodes


def test_the_check_has_a_job_of_its_own_for_all_assets() -> None:
    job = defs.resolve_job_def("check_current")
    assert [node.name for node in job.nodes] == ["current_days"]
    assert set(job.asset_layer.asset_graph.asset_check_keys) == KEYS


def test_automation_asks_for_it_at_five_and_leaves_it_out_of_other_runs(instance: dg.DagsterInstance) -> None:
    def evaluated(hour: int, cursor: Any = None) -> dg.EvaluateAutomationConditionsResult:
        at = datetime(2026, 2, 10, hour, 30, tzinfo=UTC)
        return dg.evaluate_automation_conditions(defs, instance, cursor=cursor, evaluation_time=at)

    before = evaluated(3)
    for asset in ("raw_uploads", "photo_metadata"):
        instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition="2026-02-09"))
    day = evaluated(4, before.cursor)
    assert day.total_requested
    assert not {found.key for found in day.results if found.true_subset.size} & KEYS
    night = evaluated(5, day.cursor)
    assert {found.key for found in night.results if found.true_subset.size} >= KEYS


def test_a_warning_says_how_many_days_for_which_reasons_and_the_first_of_them() -> None:
    rows = [("event_log", date(2026, 1, number), "data", "what it reads outside changed") for number in (1, 2, 4)]
    rows += [("event_log", date(2026, 1, 9), "new", "never computed"), ("event_log", date(2026, 1, 10), None, None)]
    rows += [("photo_classes", date(2026, 1, 1), None, None)]
    judged = Survey(pl.DataFrame(rows, schema=VERDICT, orient="row"), pl.DataFrame(schema=ENTRY))
    told = result(judged, "event_log")
    assert not told.passed
    assert told.severity is dg.AssetCheckSeverity.WARN
    assert told.description
    assert told.description.splitlines() == [
        "1 days: new, 3 days: data; `darkroom refresh --asset event_log`",
        "  event_log 2026-01-01 to 2026-01-02: data (what it reads outside changed)",
        "  event_log 2026-01-04: data (what it reads outside changed)",
        "  event_log 2026-01-09: new (never computed)",
    ]
    assert {name: value.value for name, value in told.metadata.items()} == {"days": 5, "not_current": 4, "new": 1, "data": 3}
    assert result(judged, "photo_classes").passed
