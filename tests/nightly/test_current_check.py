"""The check `current`: asked once a night for all days, never by a run that makes a few of them."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from pipeline_assets.definitions import defs, night
from pipeline_assets.framework.staleness import ENTRY, VERDICT
from pipeline_assets.nightly import calendars
from pipeline_assets.nightly.current_check import current_days, result
from pipeline_assets.nightly.survey import Survey
from resources.campaigns import CampaignFiles
from resources.classifier import ClassifierChoice
from resources.database import seen_objects
from resources.database.postgres import Postgres
from resources.lake.lake import Lake
from resources.objects.resource import Objects
from resources.pseudo_labels import PseudoLabelPolicy
from resources.variant_policy import VariantPolicy

# Jobs whose assets are backfilled in chunks of different sizes.
pytestmark = pytest.mark.filterwarnings("ignore:Asset job .* materializes assets with varying")

KEYS = {dg.AssetCheckKey(dg.AssetKey(name), "current") for name in calendars.ASSETS}


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


@pytest.mark.slow
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


def test_the_check_asks_the_ledger_and_the_sources_when_it_is_run(
    instance: dg.DagsterInstance, postgres_url: str, tmp_path: Path
) -> None:
    postgres, uploads = Postgres(url=postgres_url), Objects(url=(tmp_path / "uploads").as_uri())
    postgres.migrate()
    at = datetime(2026, 1, 5, tzinfo=UTC)
    seen = seen_objects.SeenObject(uploads.bucket, "uploads/2026-01-05/1/a.jpg", "v1", "e", 1, at, at.date())
    seen_objects.add_objects(postgres, [seen])
    lake_bucket = Objects(url=(tmp_path / "lake").as_uri())
    made = dg.Definitions(
        asset_checks=[current_days],
        jobs=[night.check_current],
        resources={
            "database": postgres,
            "uploads": uploads,
            "lake": Lake(url=(tmp_path / "lake").as_uri()),
            "lake_bucket": lake_bucket,
            "variant_policy": VariantPolicy(),
            "pseudo_label_policy": PseudoLabelPolicy(),
            "classifier": ClassifierChoice(cache=""),
            "campaigns": CampaignFiles(folder=str(tmp_path / "campaigns")),
        },
    )
    ran = made.resolve_job_def("check_current").execute_in_process(instance=instance)
    told = {found.asset_key.to_user_string(): found for found in ran.get_asset_check_evaluations()}
    assert set(told) == set(calendars.ASSETS)
    assert not told["raw_uploads"].passed
    assert told["raw_uploads"].severity is dg.AssetCheckSeverity.WARN
    assert "raw_uploads 2026-01-05: new (never computed)" in (told["raw_uploads"].description or "")
    assert "photo_classes 2026-01-05: upstream (needs raw_uploads of this day, computed first)" in (
        told["photo_classes"].description or ""
    )
    assert told["event_log"].passed
