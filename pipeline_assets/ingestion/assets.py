"""The ingestion assets: what was uploaded, what the database says of it, what the logs saw."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from pipeline_assets.held import HEAD_BYTES
from pipeline_assets.ingestion import (
    checks,
    containers,
    duplicates,
    event_lines,
    events,
    exif,
    inspection,
    keys,
    log_files,
    media_types,
    sounds,
    videos,
)
from pipeline_assets.ingestion import uploads as read
from pipeline_assets.ingestion.schemas import EventLog, PhotoMetadata, RawUploads, Rejected
from pipeline_assets.table_asset import RunOfDays, Table, table_asset
from pipeline_assets.transfer import temporary
from pipeline_assets.versioning.code import Part
from resources import ledger
from resources.database import Database, Twin
from resources.errors import InvalidRange, NotFound, ObjectError
from resources.object_store import ObjectStore
from resources.objects import Objects

PHOTO_METADATA_SQL = Twin(
    postgres=(Path(__file__).parent / "photo_metadata.sql").read_text(),
    sqlite=(Path(__file__).parent / "photo_metadata.sqlite.sql").read_text(),
)
PHOTOS_BY_DAY_SQL = Twin(
    postgres="select p.day, count(*)::text || ' ' || sum(hashtextextended(p::text || u::text, 0)::numeric)::text as digest "
    "from photos p join users u using (user_id) where p.day between $1 and $2 group by p.day",
    sqlite="select p.day, count(*) || ' ' || hash_sum(json_array(p.photo_id, p.user_id, p.key, p.day, p.posted_at, p.title, "
    "p.location, p.details, u.joined_at, u.name, u.followers)) as digest "
    "from photos p join users u using (user_id) where p.day between $1 and $2 group by p.day",
)
READ_AHEAD = 32
"""Objects fetched at once while earlier ones are inspected."""


def _seen_uploads(days: Sequence[date], postgres: Database, uploads: Objects) -> Mapping[date, str]:
    return dict(ledger.object_days(postgres, uploads.bucket).select("day", "digest").iter_rows())


@table_asset(
    schema=RawUploads,
    group="ingestion",
    sources=_seen_uploads,
    code=[read, inspection, keys, exif, containers, media_types, sounds, videos, duplicates],
    checks=[checks.EVERY_OBJECT_HAS_ONE_ROW, checks.QUARANTINED_SHARE, checks.BUCKET_KEEPS_VERSIONS],
    kinds={"s3", "polars"},
    pool="s3",
    days_per_run=30,
    freshness=dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=48), warn_window=timedelta(hours=30)),
    day_metadata=checks.count_verdicts,
)
def raw_uploads(run: RunOfDays, postgres: Database, uploads: Objects) -> pl.DataFrame:
    """Every object that users uploaded, each version once: what its bytes are, and whether they can be used.

    Each new object is read once: SHA-256, media type sniffed from the bytes, size, EXIF time and orientation, perceptual
    hash. What can't be used is quarantined with its reason in `verdict`, never dropped. GPS and other personal EXIF stay
    in this table. Duplicates of the same day are marked.
    """
    listed = ledger.objects_of_days(postgres, uploads.bucket, run.days)
    identity = ["bucket", "key", "version_id"]
    done = run.previous().select(read.COLUMNS).join(listed, on=identity, how="semi")
    to_read, rows = read.without_reading(listed.join(done, on=identity, how="anti").iter_rows(named=True))
    large = [item for item in to_read if read.is_large(item)]
    fetched = uploads.store.get_many(
        [item for item in to_read if not read.is_large(item)],
        key=lambda item: item["key"],
        version_id=lambda item: ledger.readable_version(item["version_id"]),
        concurrency=READ_AHEAD,
    )
    rows_read = chain(read.inspect_all(map(_gone_or_raise, fetched)), (of_large(item, uploads.store) for item in large))
    inspected = run.progress(rows_read, len(to_read), "uploads")
    frames = [done, read.frame(rows), *read.frames(inspected)]
    return duplicates.mark_duplicates(pl.concat(frames).sort("day", *identity))


def of_large(item: Mapping[str, Any], store: ObjectStore) -> dict[str, Any]:
    """The row of an object that is not held: sound and video come into a temporary file, of all else the first bytes."""
    version_id = ledger.readable_version(item["version_id"])
    try:
        if not read.is_streamed(bytes(store.get_range(item["key"], 0, HEAD_BYTES, version_id=version_id))):
            return read.too_large(item)
        return read.inspected(item, temporary(store, item["key"], version_id, item["size_bytes"]))
    except (NotFound, InvalidRange) as gone:  # or, in a bucket without versions, a shorter object has its key by now
        return read.inspected(item, gone)


def _gone_or_raise(fetched: tuple[Any, bytes | ObjectError]) -> tuple[Any, bytes | ObjectError]:
    """An object that was deleted since it was listed is a row; one that may not be read is no fact about it."""
    if isinstance(fetched[1], ObjectError) and not isinstance(fetched[1], NotFound):
        raise fetched[1]
    return fetched


def _photos_changed(days: Sequence[date], postgres: Database) -> Mapping[date, str]:
    found = postgres.read(PHOTOS_BY_DAY_SQL, (days[0], days[-1]))
    return dict(found.iter_rows())


@table_asset(
    schema=PhotoMetadata,
    group="ingestion",
    sources=_photos_changed,
    code=[
        Part("code", "photo_metadata.sql", PHOTO_METADATA_SQL.postgres),
        Part("code", "photo_metadata.sqlite.sql", PHOTO_METADATA_SQL.sqlite),
    ],
    quarantines=True,
    kinds={"postgres", "polars"},
    pool="postgres",
)
def photo_metadata(run: RunOfDays, postgres: Database) -> pl.DataFrame:
    """What the application's database knows of each photo: owner, time, title, location, details.

    Read through Arrow, by the photo's upload day. A row that breaks the schema is kept aside in `photo_metadata_rejected`.
    """
    rows = postgres.read(PHOTO_METADATA_SQL, (run.days[0], run.days[-1]))
    return rows.filter(pl.col("day").is_in(pl.Series(run.days, dtype=pl.Date).implode()))


def _log_objects(lake_bucket: Objects, days: Sequence[date]) -> dict[date, list[Any]]:
    """The log files of these days, by day, from one listing over their range."""
    found: dict[date, list[Any]] = {day: [] for day in days}
    last = f"events/{days[-1]}/\U0010ffff"
    for info in lake_bucket.store.list("events/", start_after=f"events/{days[0]}/"):
        if info.key > last:
            break
        day = events.day_of_log(info.key)
        if day in found:
            found[day].append(info)
    return found


def _logs_changed(days: Sequence[date], lake_bucket: Objects) -> Mapping[date, str]:
    logs = _log_objects(lake_bucket, days)
    return {day: ledger.digest_of(f"{info.key} {info.etag}" for info in infos) for day, infos in logs.items()}


@table_asset(
    schema=EventLog,
    group="ingestion",
    sources=_logs_changed,
    code=[events, event_lines, log_files],
    quarantines=True,
    checks=[checks.REJECTED_SHARE],
    kinds={"s3", "polars"},
    pool="s3",
    days_per_run=100,
    freshness=dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=48), warn_window=timedelta(hours=30)),
)
def event_log(run: RunOfDays, lake_bucket: Objects) -> Table:
    """The service's events (logins, views, likes, posts) by the day that their log file arrived.

    Gzip JSON-lines under `events/{day}/`. A malformed line is kept aside in `event_log_rejected` with its reason; a field
    that is new is carried in `extra_json`. `at` is when it happened, `arrived_at` when anything could know of it.
    """
    files = [(day, info) for day, infos in _log_objects(lake_bucket, run.days).items() for info in infos]
    parsed = []
    fetched = lake_bucket.store.get_many(files, key=lambda file: file[1].key)
    for (day, info), data in run.progress(fetched, len(files), "log files"):
        if isinstance(data, Exception):
            raise data
        parsed.append(events.parse_log(data, info.key, day))
    rows, repeated = events.drop_duplicate_events(
        pl.concat([EventLog.create_empty(), *(log.events for log in parsed)], how="vertical_relaxed")
    )
    rejected = pl.concat([Rejected.create_empty(), repeated, *(log.rejected for log in parsed)], how="vertical_relaxed")
    return Table(rows, rejected=rejected)
