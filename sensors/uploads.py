"""The upload sensor in listing mode: lists, keeps the ledger, asks for runs. What it decides is in `uploads_decision.py`."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice

import dagster as dg

from pipeline_assets.partitions import daily
from resources import ledger
from resources.errors import ResourceError
from resources.objects import ObjectInfo, Objects
from resources.postgres import Postgres
from sensors.schedules import ingest_uploads
from sensors.uploads_decision import (
    Cursor,
    Limits,
    ListedObject,
    ListingFailed,
    ListingRequest,
    Page,
    day_of,
    decide_tick,
    requests_by_day,
)

LIMITS = Limits()
REMEMBER = timedelta(days=3)
"""How long the sensor goes on asking for a day whose objects no run has seen; then the nightly job is left to find it."""


def list_page(uploads: Objects, request: ListingRequest) -> Page | ListingFailed:
    """One page of the store. A listing that fails says so; it is never an empty page."""
    try:
        listing = uploads.store.list(request.prefix, start_after=request.start_after)
        found = list(islice(listing, request.max_keys))
    except ResourceError as error:
        return ListingFailed(str(error))
    is_full = len(found) == request.max_keys
    return Page(tuple(map(_listed, found)), found[-1].key if is_full else None)


def _listed(info: ObjectInfo) -> ListedObject:
    return ListedObject(info.key, info.etag or "", info.size, info.last_modified)


def upload_day(info: ObjectInfo) -> date:
    """The partition of a listed object: its key's day, or its arrival's where the key names a day that is no partition yet.

    Anyone who may upload chooses the key: a request for a day in the future would fail each tick that makes it.
    """
    arrived = info.last_modified.astimezone(UTC).date()
    day = day_of(_listed(info))
    return day if daily.start.date() <= day <= arrived else arrived


@dg.sensor(
    job=ingest_uploads,
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=15,
    description="Lists the uploads bucket, enters new object versions into the ledger, and asks for one run per day.",
)
def new_uploads(
    context: dg.SensorEvaluationContext, uploads: Objects, postgres: Postgres
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """The ledger is committed before the cursor moves: a crash between the two lists a page again, and loses nothing."""
    today = datetime.now(UTC).date()
    tick = decide_tick(Cursor.from_json(context.cursor), today, lambda request: list_page(uploads, request), LIMITS)
    offered = [ObjectInfo(o.key, o.size_bytes, o.etag, o.version_id, o.last_modified) for o in tick.offered]
    new = ledger.enter(postgres, uploads, offered, upload_day)
    context.update_cursor(tick.cursor.to_json())
    if tick.failure:
        context.log.warning(f"The bucket could not be listed, so nothing moved: {tick.failure}")
    pending = requests_by_day(ledger.pending_objects(postgres, uploads.bucket, REMEMBER).iter_rows())
    for wanted in pending:
        yield dg.RunRequest(
            run_key=wanted.run_key,
            partition_key=wanted.day.isoformat(),
            tags={"darkroom/objects": str(wanted.objects)},
        )
    if not pending:
        why = f"listing failed: {tick.failure}" if tick.failure else f"nothing new among {tick.listed:,} listed objects"
        yield dg.SkipReason(f"{why}; {len(new)} entered the ledger")
