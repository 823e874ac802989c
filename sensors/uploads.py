"""The upload sensor: finds new objects by listing or from the queue, enters them into the ledger, and requests runs.

Its decisions are in `uploads_decision.py` (listing), `queue_messages.py` and `run_requests.py`.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import islice

import dagster as dg

from pipeline_assets.framework.partitions import existing, set_aside
from resources.database import claims, seen_objects
from resources.database.claims import Span
from resources.database.contract import Database
from resources.errors import ResourceError
from resources.objects.resource import Objects
from resources.objects.store import ObjectInfo
from resources.objects.upload_queue import UploadQueue
from sensors.live_runs import MAX_RUNS_READ, days_between, days_of, heard_at, live_runs
from sensors.queue_intake import take_messages
from sensors.run_requests import Decision, PastRun, Patience, PendingDay, decide_requests
from sensors.schedules import NOT_STARTED, ingest_uploads
from sensors.uploads_decision import (
    Cursor,
    Limits,
    ListedObject,
    ListingFailed,
    ListingRequest,
    Page,
    day_of,
    decide_tick,
)

LIMITS = Limits()
PATIENCE = Patience()
TICK_S = 20.0
"""Duration of a tick that finds new objects, in seconds. Dagster ends a tick after 60 s."""
STATE_TAG = "darkroom/uploads"
OVER = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
INGESTED = "raw_uploads"
"""The asset for whose days the sensor requests runs."""


def list_page(uploads: Objects, request: ListingRequest) -> Page | ListingFailed:
    """List one page of the store. A failure is a `ListingFailed`, never an empty page."""
    try:
        listing = uploads.store.list(request.prefix, start_after=request.start_after)
        objects = list(islice(listing, request.max_keys))
    except ResourceError as error:
        return ListingFailed(str(error))
    is_full = len(objects) == request.max_keys
    return Page(tuple(map(_listed, objects)), objects[-1].key if is_full else None)


def _listed(info: ObjectInfo) -> ListedObject:
    return ListedObject(info.key, info.etag or "", info.size, info.last_modified)


def upload_day(info: ObjectInfo) -> date:
    """The ledger's day of a listed object: the day in its key, or the day of its arrival if the key is malformed.

    Uploaders choose keys, so the day may be no partition, or none yet: then the object waits in the ledger, and
    `darkroom status` and the sensor list the day as set aside.
    """
    return day_of(_listed(info))


@dataclass(frozen=True)
class ListingIntake:
    """The counts of one tick's listing, and the cursor of the next tick. failure: the reason for stopping early, if any."""

    cursor: Cursor
    listed: int
    entered: int
    failure: str | None = None


def list_uploads(
    uploads: Objects, database: Database, cursor: Cursor, today: date, limits: Limits, until: float
) -> ListingIntake:
    """List in rounds, until a round finds nothing new or the clock (`time.monotonic`) passes `until`; one round at least.

    Each round is committed to the ledger before the cursor moves past it. A failure keeps the results of earlier rounds.
    """
    listed = entered = 0
    with_pass = True
    while True:
        round_ = decide_tick(cursor, today, lambda request: list_page(uploads, request), limits, with_pass=with_pass)
        offered = [ObjectInfo(o.key, o.size_bytes, o.etag, o.version_id, o.last_modified) for o in round_.offered]
        try:
            new = seen_objects.enter(database, uploads, offered, upload_day)
        except ResourceError as error:
            return ListingIntake(cursor, listed, entered, str(error))
        cursor, listed, entered = round_.cursor, listed + round_.listed, entered + len(new)
        with_pass = cursor.pass_day is not None
        if round_.failure or not new or time.monotonic() >= until:
            return ListingIntake(cursor, listed, entered, round_.failure)


def past_runs(
    instance: dg.DagsterInstance, pending: list[PendingDay], claimed: Sequence[Span], now: datetime
) -> list[PastRun]:
    """Runs and commands that compute these days now, and ended runs that were requested for their present states.

    Runs of any job count: a backfill, the nightly job and `darkroom run` read a day's objects, too.
    """
    if not pending:
        return []
    states = [day.state for day in pending]
    ended_records = instance.get_run_records(
        dg.RunsFilter(job_name=ingest_uploads.name, statuses=OVER, tags={STATE_TAG: states}), limit=MAX_RUNS_READ
    )
    ended = [(record.dagster_run, heard_at(record)) for record in ended_records if days_of(record.dagster_run) is not None]
    under_way = [
        PastRun(day, live_run.run.tags.get(STATE_TAG, ""), is_over=False, at=live_run.heard_at)
        for live_run in live_runs(instance, now)
        for span in live_run.spans
        if span.asset == INGESTED
        for day in days_between(span)
    ]
    of_commands = [
        PastRun(day.day, "", is_over=False, at=now)
        for day in pending
        if any(span.asset == INGESTED and span.first <= day.day <= span.last for span in claimed)
    ]
    return [
        *under_way,
        *of_commands,
        *(PastRun(date.fromisoformat(run.tags["dagster/partition"]), run.tags[STATE_TAG], True, at) for run, at in ended),
    ]


def _not_requested(decision: Decision, outside: Sequence[str]) -> list[str]:
    """Sentences about pending days for which no run is requested."""
    sentences = []
    if decision.waiting:
        sentences.append(f"{len(decision.waiting)} days have a run already, or rest after one that failed")
    if decision.gathering:
        sentences.append(f"{len(decision.gathering)} days wait for more uploads, {PATIENCE.gather} at most")
    if decision.failing:
        days = ", ".join(map(str, decision.failing[:5]))
        sentences.append(
            f"{len(decision.failing)} days failed {PATIENCE.failing_from} times or more and are tried again every "
            f"{PATIENCE.longest_wait}: {days}"
        )
    return [*sentences, *outside]


@dg.sensor(
    job=ingest_uploads,
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=15,
    description="Finds new objects of the uploads bucket by listing it, or from the queue DARKROOM_UPLOADS_QUEUE_URL; "
    "enters them into the ledger, and requests one run per day.",
)
def new_uploads(
    context: dg.SensorEvaluationContext, uploads: Objects, database: Database, upload_queue: UploadQueue
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Commits to the ledger before the cursor moves and before a message is deleted: a crash in between loses nothing."""
    if not database.url:
        yield dg.SkipReason(NOT_STARTED)
        return
    until = time.monotonic() + TICK_S
    if upload_queue.is_set:
        intake = take_messages(upload_queue, uploads, database, upload_day, until)
        failure = intake.failure and f"queue failed: {intake.failure}"
        source = f"{intake.messages:,} messages ({intake.rejected:,} not understood)"
        entered = intake.entered
    else:
        today = datetime.now(UTC).date()
        listing = list_uploads(uploads, database, Cursor.from_json(context.cursor), today, LIMITS, until)
        context.update_cursor(listing.cursor.to_json())
        failure = listing.failure and f"listing failed: {listing.failure}"
        source, entered = f"{listing.listed:,} listed objects", listing.entered
    if failure:
        context.log.warning(f"What could not be read is left as it was: {failure}")
    now = datetime.now(UTC)
    all_pending = [PendingDay(*row) for row in seen_objects.pending_days(database, uploads.bucket)]
    in_reach = set(existing((day.day for day in all_pending), now.date()))
    pending = [day for day in all_pending if day.day in in_reach]
    outside = set_aside("uploads", [day.day for day in all_pending], now.date())
    claimed = [span for claim in claims.live(database) for span in claim.spans]
    decision = decide_requests(pending, past_runs(context.instance, pending, claimed, now), now, PATIENCE)
    if decision.failing or outside:
        context.log.warning("; ".join(_not_requested(decision, outside)))
    for request in decision.requests:
        yield dg.RunRequest(
            run_key=request.run_key,
            partition_key=request.day.isoformat(),
            tags={"darkroom/objects": str(request.objects), STATE_TAG: request.state},
        )
    if not decision.requests:
        counts = [failure or f"nothing new among {source}", f"{entered} entered the ledger"]
        yield dg.SkipReason("; ".join([*counts, *_not_requested(decision, outside)]))
