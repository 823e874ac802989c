"""The uploads bucket compared with the ledger: new, overwritten and deleted objects."""

import time
from itertools import islice

from pipeline_assets.ingestion.keys import UPLOADS_PREFIX
from pipeline_assets.runtime.progress import REPORT_EVERY_S
from pipeline_assets.runtime.terminal import Terminal
from resources.assembly import resolve
from resources.database import reconciliation, seen_objects
from resources.database.contract import Database
from resources.objects.resource import Objects
from resources.settings import Settings
from sensors.uploads import upload_day

LEDGER_BATCH = 5_000


def discover(database: Database, uploads: Objects) -> int:
    """List the whole uploads bucket into the ledger, in batches. Returns the number of new object versions."""
    listing = uploads.store.list("uploads/")
    new = 0
    while batch := list(islice(listing, LEDGER_BATCH)):
        new += len(seen_objects.enter(database, uploads, batch, upload_day))
    return new


def reconcile_bucket(settings: Settings, dry_run: bool, console: Terminal) -> None:
    """Compare all versions in the uploads bucket with the ledger, and print the differences."""
    resources = resolve(settings)
    started_at = shown_at = time.monotonic()

    def show_progress(totals: reconciliation.Totals) -> None:
        nonlocal shown_at
        if time.monotonic() - shown_at > REPORT_EVERY_S:
            shown_at = time.monotonic()
            console.print(f"  {totals}, {totals.listed / (shown_at - started_at):,.0f}/s")

    console.print(f"Walking all versions of {settings.uploads_url} ...")
    totals = reconciliation.reconcile(
        resources["database"], resources["uploads"], UPLOADS_PREFIX, upload_day, dry_run=dry_run, tell=show_progress
    )
    console.print(f"{totals}.")
    if dry_run:
        console.print("Nothing was changed: this was a dry run.")
    elif totals.entered:
        console.print("`darkroom run`, or the sensor under `darkroom ui`, computes the days of what entered.")
