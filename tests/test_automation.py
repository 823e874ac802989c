"""Declarative automation: what a changed day sets in motion, asked of Dagster's own evaluator."""

import dagster as dg
import pytest

from pipeline_assets.definitions import defs

DAY = "2026-02-10"


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
    assert {name: DAY in days for name, days in requested(after).items()} == {
        "annotations": True,
        "photo_classes": True,
        "photo_styles": True,
        "user_features": True,
        "training_table": True,
        "photo_variants": True,
        "speech_variants": True,
        "video_variants": True,
        "text_variants": True,
        "table_variants": True,
        "training_variants": True,
    }


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
