"""The ingestion assets: what was uploaded, what the database says of it, what the logs saw."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import chain, takewhile
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from pipeline_assets.errors import BadUpload
from pipeline_assets.framework.code_version import Part
from pipeline_assets.framework.declaration import RunOfDays, Table
from pipeline_assets.framework.partitions import daily
from pipeline_assets.framework.schemas import Rejected
from pipeline_assets.framework.table_asset import table_asset
from pipeline_assets.ingestion import checks, duplicates, keys, photo_rows
from pipeline_assets.ingestion import uploads as read
from pipeline_assets.ingestion.logs import event_lines, events, log_days, log_files
from pipeline_assets.ingestion.media import (
    boxes,
    coded_sizes,
    containers,
    exif,
    heif_items,
    inspection,
    limited,
    limited_process,
    media_types,
    orientation,
    sounds,
    still,
    tiff_container,
    video_tables,
    videos,
)
from pipeline_assets.ingestion.schemas import EventLog, PhotoMetadata, RawUploads
from pipeline_assets.runtime import strict_json
from pipeline_assets.runtime.blobs import HEAD_BYTES
from pipeline_assets.runtime.transfer import temporary
from resources.database import fixed_form, ledger, seen_objects, unread
from resources.database.contract import Database, Twin
from resources.errors import (
    AccessDenied,
    BadCredentials,
    InvalidRange,
    NotFound,
    ObjectError,
    Overwritten,
    Unreadable,
)
from resources.objects.resource import Objects
from resources.objects.store import ObjectStore

_PHOTOS = Twin(
    postgres=(Path(__file__).parent / "photo_metadata.sql").read_text(),
    sqlite=(Path(__file__).parent / "photo_metadata.sqlite.sql").read_text(),
)
PHOTO_METADATA_SQL = fixed_form.rows(_PHOTOS, photo_rows.COLUMNS)
PHOTOS_BY_DAY_SQL = fixed_form.digests(_PHOTOS, photo_rows.COLUMNS)
READ_AHEAD = 32
"""Objects fetched at once while earlier ones are inspected."""


def _seen_uploads(days: Sequence[date], database: Database, uploads: Objects) -> Mapping[date, str]:
    return dict(seen_objects.object_days(database, uploads.bucket).select("day", "digest").iter_rows())


@table_asset(
    schema=RawUploads,
    group="ingestion",
    sources=_seen_uploads,
    code=[
        read,
        inspection,
        limited,
        limited_process,
        keys,
        exif,
        boxes,
        containers,
        heif_items,
        coded_sizes,
        media_types,
        orientation,
        sounds,
        still,
        tiff_container,
        videos,
        video_tables,
        duplicates,
    ],
    checks=[checks.EVERY_OBJECT_HAS_ONE_ROW, checks.QUARANTINED_SHARE, checks.BUCKET_KEEPS_VERSIONS],
    kinds={"s3", "polars"},
    pool="s3",
    days_per_run=30,
    freshness=dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=48), warn_window=timedelta(hours=30)),
    day_metadata=checks.count_verdicts,
)
def raw_uploads(run: RunOfDays, database: Database, uploads: Objects) -> pl.DataFrame:
    """Every object that users uploaded, each version once: what its bytes are, and whether they can be used.

    Each new object is read once: SHA-256, media type sniffed from the bytes, size, EXIF time and orientation, perceptual
    hash. What can't be used is quarantined with its reason in `verdict`, never dropped. GPS and other personal EXIF stay
    in this table. Duplicates of the same day are marked.
    """
    listed_objects = seen_objects.objects_of_days(database, uploads.bucket, run.days)
    identity = ["bucket", "key", "version_id"]
    previous_rows = run.previous().filter(~pl.col("verdict").is_in(read.TRIED_AGAIN))
    unchanged_rows = previous_rows.select(read.COLUMNS).join(listed_objects, on=identity, how="semi")
    to_read, rows = read.without_reading(listed_objects.join(unchanged_rows, on=identity, how="anti").iter_rows(named=True))
    large = [item for item in to_read if read.is_large(item)]
    fetched = uploads.store.get_many(
        [item for item in to_read if not read.is_large(item)],
        key=lambda item: item["key"],
        version_id=lambda item: item["version_id"],
        concurrency=READ_AHEAD,
    )
    with limited.inspecting() as inspect:
        small = read.inspect_all(((item, _bytes_or_reason(found)) for item, found in fetched), inspect)
        rows_read = chain(small, (of_large(item, uploads.store, inspect) for item in large))
        inspected = run.progress(rows_read, len(to_read), "uploads")
        fresh = pl.concat([read.frame(rows), *read.frames(inspected)])
    _settle(database, run, fresh)
    return duplicates.mark_duplicates(pl.concat([unchanged_rows, fresh]).sort("day", *identity))


def _settle(database: Database, run: RunOfDays, fresh: pl.DataFrame) -> None:
    """Enter which objects are to be tried again, and which contents have a new place."""
    missed = fresh.filter(pl.col("verdict").is_in(read.TRIED_AGAIN))
    unread.settle(
        database, run.asset, run.days, missed.select("day", pl.format("{} {}", "key", "version_id"), "verdict").rows()
    )
    unread.hint(database, fresh["sha256"].drop_nulls().unique())


def of_large(item: Mapping[str, Any], store: ObjectStore, inspect: limited.Inspect) -> dict[str, Any]:
    """The row of an object that is not held: sound and video come into a temporary file, of all else the first bytes."""
    key, version_id = item["key"], item["version_id"]
    try:
        if not read.is_streamed(bytes(store.get_range(key, 0, HEAD_BYTES, version_id=version_id))):
            return read.too_large(item)
        return read.inspected(item, temporary(store, key, version_id, item["size_bytes"]), inspect)
    except ObjectError as error:
        return read.inspected(item, _reason(error), inspect)


def _bytes_or_reason(data: bytes | ObjectError) -> bytes | BadUpload:
    return _reason(data) if isinstance(data, ObjectError) else data


def _reason(error: ObjectError) -> BadUpload:
    """Why an object can't be read: the same words each time that it is tried. Raises what says nothing of the object."""
    match error:
        case BadCredentials():
            raise error
        case Overwritten():
            return BadUpload("gone", "it was overwritten before it could be read: what is there now has a row of its own")
        case NotFound() | InvalidRange():  # or, in a store without ETags, a shorter object has its key by now
            return BadUpload("gone", "it was deleted before it could be read")
        case AccessDenied():
            return BadUpload("unreadable", "access is denied: allow it in the policy of the bucket, or of the object's key")
        case Unreadable():
            return BadUpload("unreadable", str(error))
    return BadUpload("unreadable", f"the store does not give it ({type(error).__name__})")


def _photos_changed(days: Sequence[date], database: Database) -> Mapping[date, str]:
    return fixed_form.day_digests(database, PHOTOS_BY_DAY_SQL, days)


@table_asset(
    schema=PhotoMetadata,
    group="ingestion",
    sources=_photos_changed,
    code=[
        photo_rows,
        Part("code", "photo_metadata.sql", PHOTO_METADATA_SQL.postgres),
        Part("code", "photo_metadata.sqlite.sql", PHOTO_METADATA_SQL.sqlite),
    ],
    quarantines=True,
    kinds={"sql", "polars"},
    pool="database",
)
def photo_metadata(run: RunOfDays, database: Database) -> Table:
    """What the application's database knows of each photo: owner, time, title, location, details.

    Read through Arrow, by the photo's upload day. A row that can't be used (no such user, a time that is none, followers
    out of range, details that are no object ...) is kept aside in `photo_metadata_rejected` with its reason.
    """
    rows, rejected = photo_rows.judge(database.read(PHOTO_METADATA_SQL, (run.days[0], run.days[-1])))
    of_the_run = pl.col("day").is_in(pl.Series(run.days, dtype=pl.Date).implode())
    return Table(rows.filter(of_the_run).sort("day", "photo_id"), rejected=rejected.filter(of_the_run))


def _log_files(lake_bucket: Objects, days: Sequence[date], today: date) -> log_days.Filed[Any]:
    """The log files of these days, from one listing over their range, and those of days that have not come, from another."""
    last = f"events/{days[-1]}/\U0010ffff"
    of_days = takewhile(lambda info: info.key <= last, lake_bucket.store.list("events/", start_after=f"events/{days[0]}/"))
    early = lake_bucket.store.list("events/", start_after=f"events/{max(days[-1], today)}/\U0010ffff")
    files_by_day = log_days.file_by_day(chain(of_days, early), today, daily.start.date())
    day_set = set(days)
    return log_days.Filed(
        *({day: files[day] for day in files if day in day_set} for files in (files_by_day.read, files_by_day.early))
    )


def _logs_changed(days: Sequence[date], lake_bucket: Objects, database: Database) -> Mapping[date, str]:
    """What each day's files are now; of an older day that is not listed this time, what was read of it."""
    now = datetime.now(UTC)
    known_digests = log_days.known_digests(ledger.latest(database, ["event_log"], days[0], days[-1]), now)
    days_to_list = log_days.days_to_list(days, known_digests, now.date())
    digests = {day: known_digests[day] for day in days if day in known_digests}
    for first, last in log_days.stretches(days_to_list):
        stretch = [day for day in days_to_list if first <= day <= last]
        logs = _log_files(lake_bucket, stretch, now.date())
        for day in stretch:
            files = [*logs.read.get(day, ()), *logs.early.get(day, ())]
            state = log_days.state_of(day, day in logs.read, now)
            digests[day] = ledger.digest_of(f"{info.key} {info.etag}" for info in files) + state
    return digests


@table_asset(
    schema=EventLog,
    group="ingestion",
    sources=_logs_changed,
    code=[events, event_lines, log_files, log_days, strict_json],
    quarantines=True,
    checks=[checks.REJECTED_SHARE],
    kinds={"s3", "polars"},
    pool="s3",
    days_per_run=100,
    days="logs",
    freshness=dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=48), warn_window=timedelta(hours=30)),
)
def event_log(run: RunOfDays, lake_bucket: Objects) -> Iterator[Table]:
    """The service's events (logins, views, likes, posts, feedback) by the day that their log file arrived.

    Gzip JSON-lines under `events/{day}/`. A malformed line is kept aside in `event_log_rejected` with its reason, as is one
    that has not arrived yet by the clock, and a file in the folder of a day that has not come; a field that is new is
    carried in `extra_json`. `at` is when it happened, `arrived_at` when anything could know of it.
    """
    now = datetime.now(UTC)
    logs = _log_files(lake_bucket, run.days, now.date())
    for day in run.progress(run.days, len(run.days), "days of logs"):
        fetched = lake_bucket.store.get_many(logs.read.get(day, ()), key=lambda info: info.key)
        yield _events_of(day, fetched, logs.early.get(day, ()), now)


def _events_of(day: date, files: Iterable[tuple[Any, bytes | ObjectError]], early: Iterable[Any], now: datetime) -> Table:
    """The events of a day of the log, and what is kept aside of its files. files: each with its bytes."""
    parsed = []
    for info, data in files:
        if isinstance(data, Exception):
            raise data
        parsed.append(events.parse_log(data, info.key, day))
    day_events = pl.concat([EventLog.create_empty(), *(log.events for log in parsed)], how="vertical_relaxed")
    arrived, unarrived = log_days.arrived_by(day_events, now)
    rows, repeated = events.drop_duplicate_events(arrived)
    aside = [log_days.early_files({day: early}), unarrived, repeated, *(log.rejected for log in parsed)]
    return Table(rows, rejected=pl.concat([Rejected.create_empty(), *aside], how="vertical_relaxed"))
