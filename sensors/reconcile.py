"""The nightly walk through the uploads bucket, which finds what listing and queue have missed."""

import time
from dataclasses import asdict

import dagster as dg

from pipeline_assets.ingestion.keys import UPLOADS_PREFIX
from resources.database import Database
from resources.objects import Objects
from resources.reconciliation import Totals, reconcile
from sensors.uploads import upload_day

TELL_EVERY_S = 10.0


@dg.op(retry_policy=dg.RetryPolicy(max_retries=3, delay=60, backoff=dg.Backoff.EXPONENTIAL))
def walk_bucket(context: dg.OpExecutionContext, postgres: Database, uploads: Objects) -> None:
    """List every version of the bucket beside the ledger: enter misses, record overwrites and deletions.

    A retry goes on where the walk stopped.
    """
    told = time.monotonic()

    def tell(totals: Totals) -> None:
        nonlocal told
        if time.monotonic() - told > TELL_EVERY_S:
            told = time.monotonic()
            context.log.info(str(totals))

    found = reconcile(postgres, uploads, UPLOADS_PREFIX, upload_day, tell=tell)
    context.log.info(str(found))
    context.add_output_metadata(asdict(found))


@dg.job(description="Walks all versions of the uploads bucket beside the ledger: misses, overwrites, deletions.")
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
