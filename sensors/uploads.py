"""The upload sensor: finds new objects by listing or from the queue, keeps the ledger, asks for runs.

What it decides is in `uploads_decision.py` (listing), `queue_messages.py` and `run_requests.py`.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice

import dagster as dg

from pipeline_assets.partitions import daily
from resources import ledger
from resources.database import Database
from resources.errors import ResourceError
from resources.object_store import ObjectInfo
from resources.objects import Objects
from resources.upload_queue import UploadQueue
from sensors.queue_intake import take_messages
from sensors.run_requests import Decision, PastRun, Patience, PendingDay, decide_requests
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
)

LIMITS = Limits()
PATIENCE = Patience()
TICK_S = 20.0
"""How long a tick goes on while it finds new objects. Dagster ends a tick after 60 s."""
REMEMBER = timedelta(days=3)
"""How long the sensor goes on asking for a day whose objects no run has seen; then the nightly job is left to find it."""
STATE_TAG = "darkroom/uploads"
UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
OVER = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
MAX_RUNS_READ = 2_000


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


@dataclass(frozen=True)
class ListingIntake:
    """What a tick found by listing, and where the next goes on. failure: why it stopped early, if it did."""

    cursor: Cursor
    listed: int
    entered: int
    failure: str | None = None


def list_uploads(
    uploads: Objects, postgres: Database, cursor: Cursor, today: date, limits: Limits, until: float
) -> ListingIntake:
    """One round, and more as long as what they list is new and the clock (`time.monotonic`) has not passed `until`.

    Each round is committed to the ledger before the cursor moves beyond it. A failure keeps what earlier rounds had.
    """
    listed = entered = 0
    with_pass = True
    while True:
        round_ = decide_tick(cursor, today, lambda request: list_page(uploads, request), limits, with_pass=with_pass)
        offered = [ObjectInfo(o.key, o.size_bytes, o.etag, o.version_id, o.last_modified) for o in round_.offered]
        try:
            new = ledger.enter(postgres, uploads, offered, upload_day)
        except ResourceError as error:
            return ListingIntake(cursor, listed, entered, str(error))
        cursor, listed, entered = round_.cursor, listed + round_.listed, entered + len(new)
        with_pass = cursor.pass_day is not None
        if round_.failure or not new or time.monotonic() >= until:
            return ListingIntake(cursor, listed, entered, round_.failure)


def past_runs(instance: dg.DagsterInstance, pending: list[PendingDay]) -> list[PastRun]:
    """Runs of `ingest_uploads` that have not ended, and those that were asked for the present states of these days."""
    if not pending:
        return []
    name = ingest_uploads.name
    states = [day.state for day in pending]
    found = [
        *instance.get_run_records(dg.RunsFilter(job_name=name, statuses=UNDER_WAY), limit=MAX_RUNS_READ),
        *instance.get_run_records(
            dg.RunsFilter(job_name=name, statuses=OVER, tags={STATE_TAG: states}), limit=MAX_RUNS_READ
        ),
    ]
    return [_past_run(record) for record in found if "dagster/partition" in record.dagster_run.tags]


def _past_run(record: dg.RunRecord) -> PastRun:
    run = record.dagster_run
    heard = record.update_timestamp.replace(tzinfo=record.update_timestamp.tzinfo or UTC)
    queued = run.status is dg.DagsterRunStatus.QUEUED
    return PastRun(
        day=date.fromisoformat(run.tags["dagster/partition"]),
        state=run.tags.get(STATE_TAG, ""),
        is_over=run.is_finished,
        at=datetime.now(UTC) if queued else heard,  # the queue forgets none: it is never lost
    )


def _told(decision: Decision) -> str:
    """What is not asked for, and why; empty if that is nothing."""
    told = []
    if decision.waiting:
        told.append(f"{len(decision.waiting)} days have a run already, or rest after one that failed")
    if decision.given_up:
        days = ", ".join(map(str, decision.given_up[:5]))
        told.append(
            f"{len(decision.given_up)} days failed {PATIENCE.attempts} times and are left to the nightly job: {days}"
        )
    return "".join(f"; {text}" for text in told)


@dg.sensor(
    job=ingest_uploads,
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=15,
    description="Finds new objects of the uploads bucket by listing it, or from the queue that DARKROOM_UPLOADS_QUEUE_URL "
    "names; enters them into the ledger, and asks for one run per day.",
)
def new_uploads(
    context: dg.SensorEvaluationContext, uploads: Objects, postgres: Database, upload_queue: UploadQueue
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """The ledger is committed before the cursor moves and before a message is deleted: a crash between loses nothing."""
    until = time.monotonic() + TICK_S
    if upload_queue.is_set:
        taken = take_messages(upload_queue, uploads, postgres, upload_day, until)
        failure = taken.failure and f"queue failed: {taken.failure}"
        told, entered = f"{taken.messages:,} messages ({taken.rejected:,} not understood)", taken.entered
    else:
        today = datetime.now(UTC).date()
        found = list_uploads(uploads, postgres, Cursor.from_json(context.cursor), today, LIMITS, until)
        context.update_cursor(found.cursor.to_json())
        failure = found.failure and f"listing failed: {found.failure}"
        told, entered = f"{found.listed:,} listed objects", found.entered
    if failure:
        context.log.warning(f"What could not be read is left as it was: {failure}")
    pending = [PendingDay(*row) for row in ledger.pending_days(postgres, uploads.bucket, REMEMBER)]
    decision = decide_requests(pending, past_runs(context.instance, pending), datetime.now(UTC), PATIENCE)
    if decision.given_up:
        context.log.warning(_told(decision).removeprefix("; "))
    for wanted in decision.requests:
        yield dg.RunRequest(
            run_key=wanted.run_key,
            partition_key=wanted.day.isoformat(),
            tags={"darkroom/objects": str(wanted.objects), STATE_TAG: wanted.state},
        )
    if not decision.requests:
        yield dg.SkipReason(f"{failure or f'nothing new among {told}'}; {entered} entered the ledger{_told(decision)}")
