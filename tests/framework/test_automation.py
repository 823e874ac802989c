"""Declarative automation: what a changed day sets in motion, asked of Dagster's own evaluator."""

import uuid
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest

from pipeline_assets.definitions import defs
from pipeline_assets.framework.declaration import DECLARATIONS
from pipeline_assets.framework.partitions import daily
from pipeline_assets.framework.planning import plan_days
from pipeline_assets.nightly.calendars import ASSETS, MODEL, VARIANTS
from resources.assembly import resolve
from resources.database import claims, ledger
from resources.database.claims import Span
from resources.database.ledger import Materialization
from resources.database.sqlite import Sqlite
from resources.settings import load_settings

pytestmark = pytest.mark.slow

DAY = "2026-02-10"
LABELS = ("label_tasks", "label_votes", "label_consensus", "label_agreement", "annotations")
ABOVE = ("raw_uploads", "photo_metadata", "photo_classes", "photo_styles", *LABELS, "user_features", "training_table")
LATER = ("annotator_quality", "weak_labels", "weak_functions", "feedback_labels", "table_profiles", "drift")
"""Of windows of weeks, or of all tables: the nightly job computes them."""


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def requested(result: dg.EvaluateAutomationConditionsResult) -> dict[str, set[str]]:
    names = [key.path[-1] for key in defs.resolve_asset_graph().materializable_asset_keys]
    found = {name: set(result.get_requested_partitions(dg.AssetKey(name))) for name in names}
    return {name: days for name, days in found.items() if days}


def materialize(instance: dg.DagsterInstance, *assets: str, day: str = DAY) -> None:
    for asset in assets:
        instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=day))


def test_nothing_is_asked_for_where_nothing_was_uploaded(instance):
    assert requested(dg.evaluate_automation_conditions(defs, instance)) == {}


def test_a_new_upload_sets_its_own_day_in_motion_down_to_the_training_table_even_if_it_is_an_old_day(instance):
    before = dg.evaluate_automation_conditions(defs, instance)
    materialize(instance, "raw_uploads", "photo_metadata")
    after = dg.evaluate_automation_conditions(defs, instance, cursor=before.cursor)
    asked = requested(after)
    assert {name for name, days in asked.items() if DAY in days} >= {
        *LABELS,
        "photo_classes",
        "photo_styles",
        "user_features",
        "training_table",
        "photo_variants",
        "speech_variants",
        "video_variants",
        "text_variants",
        "table_variants",
        "training_variants",
    }
    assert not {"event_log", "receipt_renders", *LATER, *MODEL} & set(asked)


def test_a_day_waits_for_its_own_inputs(instance):
    before = dg.evaluate_automation_conditions(defs, instance)
    materialize(instance, "photo_metadata")
    found = requested(dg.evaluate_automation_conditions(defs, instance, cursor=before.cursor))
    assert "training_table" not in found
    assert "photo_classes" not in found


def test_the_event_log_waits_for_the_nightly_job(instance):
    materialize(
        instance, "raw_uploads", "photo_metadata", "photo_classes", "photo_styles", "user_features", "training_table"
    )
    before = dg.evaluate_automation_conditions(defs, instance)
    materialize(instance, "event_log")
    assert requested(dg.evaluate_automation_conditions(defs, instance, cursor=before.cursor)) == {}


@pytest.fixture
def database(tmp_path, monkeypatch) -> Sqlite:
    """A project on a folder, named by the environment as for a code server."""
    monkeypatch.setenv("DARKROOM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DARKROOM_DATABASE_URL", f"sqlite:///{tmp_path / 'darkroom.db'}")
    monkeypatch.setenv("DARKROOM_UPLOADS_URL", (tmp_path / "uploads").as_uri())
    monkeypatch.setenv("DARKROOM_LAKE_URL", (tmp_path / "lake").as_uri())
    found = Sqlite(url=f"sqlite:///{tmp_path / 'darkroom.db'}")
    found.migrate()
    return found


def compute(database: Sqlite, *assets: str, rows: str = "1") -> None:
    """What a run leaves in lake and ledger: these assets of the day, without rows, made of what is there."""
    resources, day = resolve(load_settings()), date.fromisoformat(DAY)
    for name in assets:
        asset = DECLARATIONS[name]
        plan = plan_days(asset, resources["lake"], database, (day,), resources)
        version = resources["lake"].replace(name, [day], asset.schema.create_empty())
        made = Materialization(
            name,
            day,
            f"{name} {rows}",
            0,
            0,
            asset.code_version,
            plan.inputs_digest[day],
            dict(plan.inputs[day]),
            version,
            None,
            "run",
            asset.parts,
        )
        ledger.record(database, [made])


def test_what_the_ledger_calls_current_is_not_asked_for_although_its_inputs_were_materialized_again(database, instance):
    """As after a run over all days that had a few new ones: the others are reported too, unchanged."""
    compute(database, *(name for name in ASSETS if name != "event_log"))
    materialize(instance, *ASSETS)
    before = dg.evaluate_automation_conditions(defs, instance)
    materialize(instance, *ABOVE)
    after = dg.evaluate_automation_conditions(defs, instance, cursor=before.cursor)
    assert requested(after) == {}


def test_a_day_whose_inputs_have_other_rows_is_asked_for_with_all_below_it(database, instance):
    compute(database, *(name for name in ASSETS if name != "event_log"))
    materialize(instance, *ASSETS)
    before = dg.evaluate_automation_conditions(defs, instance)
    compute(database, "raw_uploads", rows="2")
    materialize(instance, "raw_uploads")
    after = requested(dg.evaluate_automation_conditions(defs, instance, cursor=before.cursor))
    assert all(days == {DAY} for days in after.values())
    assert {"photo_classes", "training_table", "photo_variants", "training_variants"} <= set(after)
    assert "text_variants" not in after or "annotations" in after


def test_a_day_that_a_command_computes_is_left_to_it_and_asked_for_if_the_command_ends_without_it(database, instance):
    """`darkroom run` materializes uploads in one run and variants in the next: automation does not step between."""
    compute(database, *(name for name in ASSETS if name != "event_log"))
    materialize(instance, *ASSETS)
    cursor = dg.evaluate_automation_conditions(defs, instance).cursor
    everything = [Span(asset, date.min, date.max) for asset in ASSETS]
    with claims.hold(database, "darkroom run", everything):
        compute(database, *ABOVE, rows="2")
        materialize(instance, *ABOVE)
        for _ in range(2):
            found = dg.evaluate_automation_conditions(defs, instance, cursor=cursor)
            cursor = found.cursor
            assert requested(found) == {}
        compute(database, "photo_variants", rows="2")
        materialize(instance, "photo_variants")
    found = dg.evaluate_automation_conditions(defs, instance, cursor=cursor)
    assert {"speech_variants", "video_variants"} <= set(requested(found))
    assert not {*ABOVE, "photo_variants"} & set(requested(found))


def test_a_day_that_any_unfinished_run_computes_is_left_to_it(database, instance):
    compute(database, *(name for name in ASSETS if name != "event_log"))
    materialize(instance, *ASSETS)
    before = dg.evaluate_automation_conditions(defs, instance)
    tags = {"dagster/asset_partition_range_start": "2026-02-01", "dagster/asset_partition_range_end": "2026-02-20"}
    run = dg.DagsterRun(
        job_name="backfill",
        run_id=str(uuid.uuid4()),
        status=dg.DagsterRunStatus.STARTED,
        tags=tags,
        asset_selection=frozenset(map(dg.AssetKey, VARIANTS)),
    )
    instance.add_run(run)
    compute(database, "raw_uploads", rows="2")
    materialize(instance, "raw_uploads")
    found = dg.evaluate_automation_conditions(defs, instance, cursor=before.cursor)
    assert "photo_classes" in requested(found)
    assert not set(VARIANTS) & set(requested(found))
    instance.report_run_failed(run, "killed")
    again = requested(dg.evaluate_automation_conditions(defs, instance, cursor=found.cursor))
    assert {"photo_variants", "speech_variants"} <= set(again)


def test_a_day_whose_run_failed_is_asked_for_again_within_six_hours_until_the_ledger_has_it(database, instance):
    @dg.asset(name="photo_classes", partitions_def=daily)
    def failing() -> None:
        raise ZeroDivisionError

    compute(database, *(name for name in ASSETS if name != "event_log"))
    materialize(instance, *ASSETS)
    compute(database, "raw_uploads", rows="2")
    assert not dg.materialize([failing], instance=instance, partition_key=DAY, raise_on_error=False).success
    at = datetime.now(UTC)
    found = dg.evaluate_automation_conditions(defs, instance, evaluation_time=at)
    for hours in (7, 14):
        found = dg.evaluate_automation_conditions(
            defs, instance, evaluation_time=at + timedelta(hours=hours), cursor=found.cursor
        )
        assert requested(found)["photo_classes"] == {DAY}
        found = dg.evaluate_automation_conditions(
            defs, instance, evaluation_time=at + timedelta(hours=hours, minutes=1), cursor=found.cursor
        )
        assert requested(found) == {}
    compute(database, "photo_classes", rows="2")
    found = dg.evaluate_automation_conditions(defs, instance, evaluation_time=at + timedelta(hours=21), cursor=found.cursor)
    assert "photo_classes" not in requested(found)
