"""The two ledgers in PostgreSQL: which object versions were seen, and what was computed from what.

Both are facts about the past: rows are added, never changed.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import polars as pl

from resources.errors import NotFound, ObjectError
from resources.objects import ObjectInfo, Objects, ObjectStore
from resources.postgres import Postgres

HEADS_AT_ONCE = 16


@dataclass(frozen=True)
class SeenObject:
    """One object version of a bucket; `version_id` is `etag-...` where the bucket keeps no versions."""

    bucket: str
    key: str
    version_id: str
    etag: str
    size_bytes: int
    last_modified: datetime
    day: date


@dataclass(frozen=True)
class Materialization:
    """One day of an asset as it was computed. `inputs`: what it read, as {asset: digest of its days}."""

    asset: str
    day: date
    digest: str
    rows: int
    rejected: int
    code_version: str
    inputs_digest: str
    inputs: Mapping[str, str]
    delta_version: int
    git_commit: str | None
    run_id: str


def add_objects(postgres: Postgres, objects: Iterable[SeenObject]) -> list[tuple[str, str, date]]:
    """Enter object versions into the ledger; those already there are left. Returns (key, version_id, day) of the new."""
    rows = [(o.bucket, o.key, o.version_id, o.etag, o.size_bytes, o.last_modified, o.day) for o in objects]
    if not rows:
        return []
    returned = postgres.insert(
        "insert into objects (bucket, key, version_id, etag, size_bytes, last_modified, day) values %s "
        "on conflict do nothing returning key, version_id, day",
        rows,
    )
    return [(key, version_id, day) for key, version_id, day in returned]


def unknown(postgres: Postgres, bucket: str, found: Sequence[ObjectInfo]) -> list[ObjectInfo]:
    """Those of a listing whose (key, etag) the ledger has not seen."""
    if not found:
        return []
    pairs = json.dumps([{"key": info.key, "etag": info.etag or ""} for info in found])
    known = postgres.read(
        "select o.key, o.etag from objects o join json_to_recordset($1::json) as f(key text, etag text) "
        "on o.key = f.key and o.etag = f.etag where o.bucket = $2",
        (pairs, bucket),
    )
    seen = set(known.iter_rows())
    return [info for info in found if (info.key, info.etag or "") not in seen]


def enter(
    postgres: Postgres, uploads: Objects, found: Sequence[ObjectInfo], day_of: Callable[[ObjectInfo], date]
) -> list[tuple[str, str, date]]:
    """Enter what a listing found into the ledger. Returns (key, version_id, day) of the new.

    Only what is new costs a request: its version id is asked for. One that is gone by then is left for the next listing.
    """
    new = unknown(postgres, uploads.bucket, found)
    with ThreadPoolExecutor(HEADS_AT_ONCE) as pool:
        heads = pool.map(lambda info: _head(uploads.store, info), new)
        seen = [
            SeenObject(
                bucket=uploads.bucket,
                key=info.key,
                version_id=version_of(info),
                etag=info.etag or "",
                size_bytes=info.size,
                last_modified=info.last_modified,
                day=day_of(info),
            )
            for info in heads
            if info is not None
        ]
    return add_objects(postgres, seen)


def version_of(info: ObjectInfo) -> str:
    """What tells this content of the key from an earlier one: the version id, else `etag-` and the ETag."""
    return info.version_id if info.version_id not in (None, "", "null") else f"etag-{info.etag}"


def readable_version(version_id: str) -> str | None:
    """The version id to read with; None where the bucket keeps no versions."""
    return None if version_id.startswith("etag-") else version_id


def _head(store: ObjectStore, info: ObjectInfo) -> ObjectInfo | None:
    try:
        return store.head(info.key)
    except NotFound:
        return None
    except ObjectError:
        return info  # listed, but it can't be asked for: its row will say why


def pending_objects(postgres: Postgres, bucket: str, within: timedelta) -> pl.DataFrame:
    """Objects of the days that got some of late which no materialization of raw_uploads has seen: key, version_id, day."""
    return postgres.read(_PENDING, (bucket, within.total_seconds()))


def objects_of_days(postgres: Postgres, bucket: str, days: Sequence[date]) -> pl.DataFrame:
    """The ledger's object versions of these days: key, version_id, etag, size_bytes, last_modified (UTC), day."""
    return postgres.read(
        "select day, bucket, key, version_id, etag, size_bytes, last_modified from objects "
        "where bucket = $1 and day >= $2 and day <= $3 order by key, version_id",
        (bucket, min(days), max(days)),
    ).filter(pl.col("day").is_in(list(days)))


_DAY_DIGESTS = """
select day, count(*) as objects,
    md5(string_agg(key || chr(10) || version_id, chr(10) order by key, version_id)) as digest
from objects where bucket = $1
"""

_PENDING = f"""
with recent as (
    select distinct day from objects where bucket = $1 and seen_at > now() - $2 * interval '1 second'
)
select o.key, o.version_id, o.day from objects o
join ({_DAY_DIGESTS} and day in (select day from recent) group by day) d using (day)
where o.bucket = $1 and d.digest is distinct from (
    select m.inputs ->> 'outside' from materializations m
    where m.asset = 'raw_uploads' and m.day = d.day order by m.id desc limit 1
)
"""  # noqa: S608  a constant of this file


def object_days(postgres: Postgres, bucket: str) -> pl.DataFrame:
    """For each day with uploads: day, objects (count) and digest of its (key, version_id) set."""
    return postgres.read(f"{_DAY_DIGESTS} group by day order by day", (bucket,))


def record(postgres: Postgres, entries: Sequence[Materialization]) -> None:
    """Enter computed days into the ledger, all or none."""
    postgres.insert(
        "insert into materializations (asset, day, digest, rows, rejected, code_version, inputs_digest, inputs, "
        "delta_version, git_commit, run_id) values %s",
        [
            (
                e.asset,
                e.day,
                e.digest,
                e.rows,
                e.rejected,
                e.code_version,
                e.inputs_digest,
                json.dumps(dict(e.inputs), sort_keys=True),
                e.delta_version,
                e.git_commit,
                e.run_id,
            )
            for e in entries
        ],
    )


def begin(postgres: Postgres, asset: str, days: Sequence[date], run_id: str) -> None:
    """Enter that these days are about to be replaced, so that none counts as current until it is recorded.

    Without it, a run killed between its commit and `record` would leave rows that the ledger takes for those before, as
    soon as inputs or code go back to what they were.
    """
    unknown_yet = [Materialization(asset, day, "", 0, 0, "", "", {}, -1, None, run_id) for day in days]
    if unknown_yet:
        record(postgres, unknown_yet)


def latest(postgres: Postgres, assets: Sequence[str], first: date, last: date) -> pl.DataFrame:
    """The newest entry of each (asset, day) in a range of days: asset, day, digest, rows, rejected, code_version,
    inputs_digest, delta_version, git_commit, run_id, materialized_at.
    """
    return postgres.read(
        "select distinct on (asset, day) asset, day, digest, rows, rejected, code_version, inputs_digest, "
        "delta_version, git_commit, run_id, materialized_at from materializations "
        "where asset in (select json_array_elements_text($1::json)) and day >= $2 and day <= $3 "
        "order by asset, day, id desc",
        (json.dumps(list(assets)), first, last),
    )


def digest_of(parts: Iterable[str]) -> str:
    """SHA-256 over parts, each ended by a newline: 32 hex digits of it."""
    return hashlib.sha256("".join(f"{part}\n" for part in parts).encode()).hexdigest()[:32]
