"""The nightly job from the command line: which days are not current, and the Dagster runs that make them so.

The schedule and sensors do the same under the daemon; this is for `darkroom run`, in one process, with progress shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import dagster as dg

from pipeline_assets.execution import plan_days
from pipeline_assets.importing import MATURITY_DAYS
from pipeline_assets.ingestion.events import day_of_log
from pipeline_assets.table_asset import DECLARATIONS
from resources.database import Database
from resources.objects import Objects
from resources.run_processes import process_tags

LOGS = ("event_log",)
PHOTOS = (
    "raw_uploads",
    "photo_metadata",
    "annotations",
    "photo_classes",
    "photo_styles",
    "user_features",
    "training_table",
)
VARIANTS = (
    "photo_variants",
    "text_variants",
    "table_variants",
    "speech_variants",
    "video_variants",
    "receipt_renders",
    "training_variants",
)
MODEL = ("training_pin", "staged_training_set", "popularity_model")
ASSETS = (*PHOTOS[:2], *LOGS, *PHOTOS[2:], *VARIANTS, *MODEL)


@dataclass(frozen=True)
class Launch:
    """One Dagster run: these assets over this range of days."""

    assets: tuple[str, ...]
    first: date
    last: date

    def days(self) -> list[date]:
        """Each day of the range."""
        return [self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1)]


def launches(upload_days: Sequence[date], log_days: Sequence[date], today: date) -> list[Launch]:
    """The runs that make a set of upload days current: logs, photos to training rows, variants, one night's model.

    The model is that of the night on which the last mature photos' labels were ready; none where no photo is mature.
    """
    found = []
    if log_days:
        found.append(Launch(LOGS, min(log_days), max(log_days)))
    if upload_days:
        found.append(Launch(PHOTOS, min(upload_days), max(upload_days)))
        found.append(Launch(VARIANTS, min(upload_days), max(upload_days)))
    ready = [night for day in upload_days if (night := day + timedelta(days=MATURITY_DAYS)) < today]
    if ready:
        found.append(Launch(MODEL, max(ready), max(ready)))
    return found


def stale(postgres: Database, resources: Mapping[str, object], launch: Launch) -> dict[str, dict[date, str]]:
    """The days of each asset that a run would compute, with the reason: new, data, code or waiting."""
    found: dict[str, dict[date, str]] = {}
    for name in launch.assets:
        asset = DECLARATIONS[name]
        plan = plan_days(asset, postgres, launch.days(), resources)
        if plan.reasons:
            found[name] = dict(plan.reasons)
    return found


def execute(
    defs: dg.Definitions, instance: dg.DagsterInstance, launch: Launch, launched_by: str = "darkroom run"
) -> dg.ExecuteInProcessResult:
    """One launch as a real Dagster run in this process. Failures are in the result, not raised.

    Checks that the assets do not make themselves are left out: they are of all days, and are asked once a night.
    """
    whole = defs.resolve_implicit_global_asset_job_def()
    keys = {dg.AssetKey(name) for name in launch.assets}
    checks = {check for node in whole.asset_layer.asset_graph.assets_defs_for_keys(keys) for check in node.check_keys}
    return whole.get_subset(asset_selection=keys, asset_check_selection=checks).execute_in_process(
        instance=instance,
        tags={
            "dagster/asset_partition_range_start": launch.first.isoformat(),
            "dagster/asset_partition_range_end": launch.last.isoformat(),
            "darkroom/launched_by": launched_by,
            **process_tags(),
        },
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        raise_on_error=False,
    )


def failures(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """The steps that failed, each with its error's own words; `resources` where the run ended before its first step."""
    found = {}
    for event in result.all_events:
        if event.event_type is dg.DagsterEventType.RESOURCE_INIT_FAILURE and event.engine_event_data.error:
            found["resources"] = event.engine_event_data.error.message.strip()
        if event.is_step_failure and event.step_key:
            error = event.step_failure_data.error
            told = event.step_failure_data.user_failure_data
            cause = error.cause if error and error.cause else error
            found[event.step_key] = (told.description if told else None) or (cause.message.strip() if cause else "failed")
    return found


def log_days(lake_bucket: Objects) -> list[date]:
    """Days that have log files."""
    return sorted({day for info in lake_bucket.store.list("events/") if (day := day_of_log(info.key))})


def durations(result: dg.ExecuteInProcessResult) -> dict[str, float]:
    """Seconds that each step took."""
    return {
        event.step_key: event.step_success_data.duration_ms / 1000
        for event in result.all_events
        if event.is_step_success and event.step_key
    }


def facts(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, float]:
    """The numbers that an asset's run says of itself, from its first newly computed day."""
    for event in result.all_events:
        if event.is_step_materialization and event.asset_key == dg.AssetKey(asset):
            told = event.step_materialization_data.materialization
            if told.partition and "unchanged" in told.metadata and not told.metadata["unchanged"].value:
                return {name: v.value for name, v in told.metadata.items() if isinstance(v.value, int | float)}
    return {}
