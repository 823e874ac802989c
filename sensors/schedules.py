"""The nightly job: at 02:00 UTC yesterday's tables and every label that has matured, then the night's model."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta

import dagster as dg
import polars as pl

from pipeline_assets.framework.partitions import DECLARED, daily, existing
from pipeline_assets.ingestion.logs.log_days import complete_days, outside_of
from pipeline_assets.training import relatives
from pipeline_assets.training.observation import Observation, first_day_of_night
from resources.dagster_private import UnresolvedAssetJobDefinition
from resources.database import ledger
from resources.database.contract import Database
from resources.lake.lake import Lake
from resources.lake.lake_io import DAYS_NOT_WRITTEN

INGESTED = ("raw_uploads", "photo_metadata")
NOT_STARTED = "The embedded servers do not run: start them with `darkroom up`, then reload this code location."
"""Why nothing is done where no database is named: Dagster was started without Darkroom's own command."""


def _current(names: Sequence[str]) -> dg.AssetSelection:
    """The checks `current` of these assets: they cover all days, so jobs that compute a few days leave them out."""
    return dg.AssetSelection.checks(*(dg.AssetCheckKey(dg.AssetKey(name), "current") for name in names))


ingest_uploads = dg.define_asset_job(
    "ingest_uploads",
    selection=dg.AssetSelection.assets(*INGESTED) - _current(INGESTED),
    description="The days with new objects, as the upload sensor requests them. All other assets follow by automation.",
)


@dataclass(frozen=True)
class Nights:
    """The jobs of a night and what starts them: `at_night` starts `tables`; the two sensors start `model` after it."""

    tables: UnresolvedAssetJobDefinition
    model: UnresolvedAssetJobDefinition
    check_current: UnresolvedAssetJobDefinition
    at_night: dg.ScheduleDefinition
    model_after_tables: dg.SensorDefinition
    model_after_failed_days: dg.SensorDefinition


def nights(tables: Sequence[str], model: Sequence[str]) -> Nights:
    """Build the nightly jobs, their schedule and sensors. tables: assets of days; model: assets of the night."""
    nightly_tables = dg.define_asset_job(
        "nightly_tables",
        selection=dg.AssetSelection.assets(*tables) - _current(tables),
        description="All tables of the days that last night's log can change; unchanged days cost a look-up.",
    )
    nightly_model = dg.define_asset_job(
        "nightly_model",
        selection=dg.AssetSelection.assets(*model) - _current(model),
        description="The night's states for serving, its training set, pinned and staged, and the model trained on it.",
    )
    check_current = dg.define_asset_job(
        "check_current",
        selection=_current([*tables, *model]),
        description="Reports for every asset how many days are not current, and why. Runs each night by automation.",
    )
    at_night = dg.schedule(
        name="nightly",
        job=nightly_tables,
        cron_schedule="0 2 * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="At 02:00 UTC: yesterday, and the days whose labels mature, after missed nights, too.",
    )(nightly)
    after = dg.run_status_sensor(
        run_status=dg.DagsterRunStatus.SUCCESS,
        monitored_jobs=[nightly_tables],
        request_job=nightly_model,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="When the night's tables are ready, train the night's model.",
    )(model_after_tables)
    after_failed_days = dg.run_status_sensor(
        run_status=dg.DagsterRunStatus.FAILURE,
        monitored_jobs=[nightly_tables],
        request_job=nightly_model,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="When some days of the night's tables have failed, train the night's model on the others.",
    )(model_after_failed_days)
    return Nights(nightly_tables, nightly_model, check_current, at_night, after, after_failed_days)


def nightly(context: dg.ScheduleEvaluationContext, database: Database, lake: Lake) -> dg.RunRequest | dg.SkipReason:
    """One run over the partitions from the first day whose labels the log can still change up to yesterday.

    These are ten days, plus one for each missed night. The run starts earlier if a photo in the model's training window has
    a new relative in another split.
    """
    if not database.url:
        return dg.SkipReason(NOT_STARTED)
    now = context.scheduled_execution_time.astimezone(UTC)
    yesterday = now.date() - timedelta(days=1)
    entries = ledger.latest(database, ["event_log", "training_table"], daily.start.date(), yesterday)
    logs, rows = (entries.filter(pl.col("asset") == name) for name in ("event_log", "training_table"))
    observation = Observation(complete_days(logs, now))
    recorded = {day: text for day, inputs in rows.select("day", "inputs").iter_rows() if (text := outside_of(inputs))}
    training_days = sorted(day for day in recorded if 0 <= (yesterday - day).days < DECLARED.training_window_days)
    raw_uploads = lake.scan("raw_uploads") if training_days and lake.exists("raw_uploads") else None
    families = (
        {}
        if raw_uploads is None
        else relatives.source_texts(relatives.leaking_photos(raw_uploads, training_days), training_days)
    )
    first = first_day_of_night(yesterday, observation, recorded, families)
    days = existing((first + timedelta(days=n) for n in range((yesterday - first).days + 1)), yesterday)
    if not days:
        return dg.SkipReason(f"{yesterday} is before the first partition (DARKROOM_FIRST_DAY)")
    return dg.RunRequest(
        run_key=yesterday.isoformat(),
        tags={
            "dagster/asset_partition_range_start": days[0].isoformat(),
            "dagster/asset_partition_range_end": yesterday.isoformat(),
        },
    )


def model_after_tables(context: dg.RunStatusSensorContext) -> dg.RunRequest | dg.SkipReason:
    """Request the night's model after each run of its tables."""
    return _model_of(context.dagster_run)


def _model_of(run: dg.DagsterRun) -> dg.RunRequest | dg.SkipReason:
    night = run.tags.get("dagster/asset_partition_range_end")
    if night is None:
        return dg.SkipReason("the run was not the schedule's: it names no range of days")
    return dg.RunRequest(run_key=f"model-{night}-{run.run_id}", partition_key=night)


def model_after_failed_days(context: dg.RunStatusSensorContext) -> dg.RunRequest | dg.SkipReason:
    """Request the model although some days failed; not if the run ended before it wrote its good days."""
    entries = context.instance.all_logs(context.dagster_run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    failures = [entry.get_dagster_event().step_failure_data.user_failure_data for entry in entries]
    if not failures or not all(data is not None and DAYS_NOT_WRITTEN in data.metadata for data in failures):
        return dg.SkipReason("the run failed before all of its good days were written")
    return _model_of(context.dagster_run)


automation = dg.AutomationConditionSensorDefinition(
    "automation",
    target=dg.AssetSelection.all(),
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=30,
    use_user_code_server=True,
    description="Classifies, computes features and joins whatever day's inputs have changed.",
)
