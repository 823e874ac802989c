"""The nightly comparison of the uploads bucket with the ledger, which finds what listing and queue have missed."""

import time
from dataclasses import asdict

import dagster as dg

from pipeline_assets.ingestion.keys import UPLOADS_PREFIX
from resources.database.contract import Database
from resources.database.reconciliation import Totals, reconcile
from resources.objects.resource import Objects
from sensors.uploads import upload_day

LOG_EVERY_S = 10.0


@dg.op(retry_policy=dg.RetryPolicy(max_retries=3, delay=60, backoff=dg.Backoff.EXPONENTIAL))
def walk_bucket(context: dg.OpExecutionContext, database: Database, uploads: Objects) -> None:
    """Compare every version in the bucket with the ledger: enter missing ones, record overwrites and deletions.

    A retry continues where the walk stopped.
    """
    logged_at = time.monotonic()

    def log_progress(totals: Totals) -> None:
        nonlocal logged_at
        if time.monotonic() - logged_at > LOG_EVERY_S:
            logged_at = time.monotonic()
            context.log.info(str(totals))

    totals = reconcile(database, uploads, UPLOADS_PREFIX, upload_day, tell=log_progress)
    context.log.info(str(totals))
    context.add_output_metadata(asdict(totals))


@dg.job(description="Compares all versions in the uploads bucket with the ledger: misses, overwrites, deletions.")
def reconcile_uploads() -> None:
    """One walk."""
    walk_bucket()


@dg.schedule(
    job=reconcile_uploads,
    cron_schedule="0 1 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="At 01:00 UTC, before the night's tables: finds what the upload sensor has missed.",
)
def reconcile_nightly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """One walk a night."""
    return dg.RunRequest(run_key=context.scheduled_execution_time.date().isoformat())
