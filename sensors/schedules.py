"""The nightly job: at 02:00 UTC yesterday's tables and every label that has matured, then the night's model."""

from datetime import timedelta

import dagster as dg

TABLES = (
    "raw_uploads",
    "photo_metadata",
    "annotations",
    "event_log",
    "photo_classes",
    "photo_styles",
    "user_features",
    "training_table",
    "photo_variants",
    "text_variants",
    "table_variants",
    "speech_variants",
    "video_variants",
    "receipt_renders",
    "training_variants",
)
MODEL = ("training_pin", "staged_training_set", "popularity_model")
LABEL_DAYS = 8
"""Yesterday's log can change the labels of photos up to this many days old."""

CURRENT = dg.AssetSelection.checks(*(dg.AssetCheckKey(dg.AssetKey(name), "current") for name in (*TABLES, *MODEL)))
"""The checks that look at all days: apart from what makes a few of them."""

ingest_uploads = dg.define_asset_job(
    "ingest_uploads",
    selection=dg.AssetSelection.assets("raw_uploads", "photo_metadata") - CURRENT,
    description="What the upload sensor asks for: the days that have new objects. The rest follows by automation.",
)

nightly_tables = dg.define_asset_job(
    "nightly_tables",
    selection=dg.AssetSelection.assets(*TABLES) - CURRENT,
    description="All tables of the days that last night's log can change; unchanged days cost a look-up.",
)

nightly_model = dg.define_asset_job(
    "nightly_model",
    selection=dg.AssetSelection.assets(*MODEL) - CURRENT,
    description="The night's pinned and staged training set, and the popularity model trained on it.",
)


check_current = dg.define_asset_job(
    "check_current",
    selection=CURRENT,
    description="Says of every asset how many of its days are not current, and why. Runs each night by automation.",
)


@dg.schedule(
    job=nightly_tables,
    cron_schedule="0 2 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="At 02:00 UTC: yesterday, and the days whose labels mature.",
)
def nightly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """One run over the days from `LABEL_DAYS` ago to yesterday."""
    yesterday = context.scheduled_execution_time.date() - timedelta(days=1)
    first = yesterday - timedelta(days=LABEL_DAYS)
    return dg.RunRequest(
        run_key=yesterday.isoformat(),
        tags={
            "dagster/asset_partition_range_start": first.isoformat(),
            "dagster/asset_partition_range_end": yesterday.isoformat(),
        },
    )


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    monitored_jobs=[nightly_tables],
    request_job=nightly_model,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="When the night's tables are ready, train the night's model.",
)
def model_after_tables(context: dg.RunStatusSensorContext) -> dg.RunRequest | dg.SkipReason:
    """One model a night, however often that night's tables were made."""
    night = context.dagster_run.tags.get("dagster/asset_partition_range_end")
    if night is None:
        return dg.SkipReason("the run was not the schedule's: it names no range of days")
    return dg.RunRequest(run_key=f"model-{night}-{context.dagster_run.run_id}", partition_key=night)


automation = dg.AutomationConditionSensorDefinition(
    "automation",
    target=dg.AssetSelection.all(),
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=30,
    description="Classifies, computes features and joins whatever day's inputs have changed.",
)
