"""The two ledgers in the database: which object versions were seen, and what was computed from what.

Both are facts about the past: rows are added, never changed.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import polars as pl

from resources.database import Database, Transaction, Twin
from resources.object_store import ObjectInfo
from resources.objects import Objects
from resources.version_ids import with_versions

WRITER_LOCK = 0x6461726C
"""Key of the lock under which object versions enter, for the length of a transaction."""


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
    """One day of an asset as it was computed. `inputs`: what it read, as {asset: digest of its days}.

    parts: what the code version was made of, {kind: {name: digest or value}}. since_id: the earlier entry with which
    these same rows came. seconds: the day's share of the time that its run took.
    """

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
    parts: Mapping[str, Mapping[str, str]] | None = None
    since_id: int | None = None
    seconds: float | None = None


def add_objects(postgres: Database, objects: Iterable[SeenObject]) -> list[tuple[str, str, date]]:
    """Enter object versions into the ledger; those already there are left. Returns (key, version_id, day) of the new."""
    with postgres.connect() as transaction:
        return add_in(transaction, objects)


def add_in(transaction: Transaction, objects: Iterable[SeenObject]) -> list[tuple[str, str, date]]:
    """The same in a transaction that is open."""
    rows = [(o.bucket, o.key, o.version_id, o.etag, o.size_bytes, o.last_modified, o.day) for o in objects]
    if not rows:
        return []
    # Writers that enter the same days in another order would wait for each other.
    transaction.hold(WRITER_LOCK)
    returned = transaction.insert(
        "insert into objects (bucket, key, version_id, etag, size_bytes, last_modified, day) values %s "
        "on conflict do nothing returning key, version_id, day",
        rows,
    )
    return [(key, version_id, day) for key, version_id, day in returned]


def unknown(postgres: Database, bucket: str, found: Sequence[ObjectInfo]) -> list[ObjectInfo]:
    """Those of a listing whose content the ledger has not seen under their key, or only from an earlier time.

    An earlier time: the key was overwritten, and then again with the content that it had before. Without versions, that
    is the same content as before.
    """
    if not found:
        return []
    listed = json.dumps([{"key": i.key, "etag": i.etag or "", "at": i.last_modified.isoformat()} for i in found])
    seen = set(postgres.rows(_KNOWN, (listed, bucket)))
    return [info for info in found if (info.key, info.etag or "") not in seen]


_KNOWN = Twin(
    postgres="""
select o.key, o.etag from json_to_recordset(%s::json) as f(key text, etag text, at timestamptz)
join objects o on o.bucket = %s and o.key = f.key and o.etag = f.etag
where o.version_id like 'etag-%%' or o.last_modified >= date_trunc('second', f.at)
""",
    sqlite="""
select o.key, o.etag from json_each(%s) f
join objects o on o.bucket = %s and o.key = json_extract(f.value, '$.key') and o.etag = json_extract(f.value, '$.etag')
where o.version_id glob 'etag-*' or o.last_modified >= strftime('%%Y-%%m-%%d %%H:%%M:%%S', json_extract(f.value, '$.at'))
""",
)


def enter(
    postgres: Database, uploads: Objects, found: Sequence[ObjectInfo], day_of: Callable[[ObjectInfo], date]
) -> list[tuple[str, str, date]]:
    """Enter what a listing found into the ledger. Returns (key, version_id, day) of the new.

    Only what is new costs requests: its version ids are asked for. One that is gone by then is left for the next listing.
    """
    new = with_versions(uploads.store, unknown(postgres, uploads.bucket, found))
    return add_objects(postgres, [seen_object(uploads.bucket, info, day_of(info)) for info in new])


def seen_object(bucket: str, info: ObjectInfo, day: date) -> SeenObject:
    """The ledger's row of an object as the store told it, with its version id."""
    return SeenObject(bucket, info.key, version_of(info), info.etag or "", info.size, info.last_modified, day)


def version_of(info: ObjectInfo) -> str:
    """What tells this content of the key from an earlier one: the version id, else `etag-` and the ETag."""
    return info.version_id if info.version_id not in (None, "", "null") else f"etag-{info.etag}"


def readable_version(version_id: str) -> str | None:
    """The version id to read with; None where the bucket keeps no versions."""
    return None if version_id.startswith("etag-") else version_id


def pending_days(postgres: Database, bucket: str, within: timedelta) -> list[tuple[date, int, str]]:
    """Days that got objects of late which no materialization of raw_uploads has seen: (day, objects, digest), newest first.

    It costs the same whether a day has ten objects or a million.
    """
    return [(day, objects, digest) for day, objects, digest in postgres.rows(_PENDING, (bucket, within))]


def objects_of_days(postgres: Database, bucket: str, days: Sequence[date]) -> pl.DataFrame:
    """The ledger's object versions of these days: key, version_id, etag, size_bytes, last_modified (UTC), day."""
    return postgres.read(
        "select day, bucket, key, version_id, etag, size_bytes, last_modified from objects "
        "where bucket = $1 and day >= $2 and day <= $3 order by key, version_id",
        (bucket, min(days), max(days)),
    ).filter(pl.col("day").is_in(list(days)))


_DAYS = "select day, objects, objects || ':' || checksum as digest from object_days where objects > 0"

_PENDING = Twin(
    postgres=f"""
select d.day, d.objects, d.digest from ({_DAYS} and bucket = %s and newest_at > now() - %s) d
where d.digest is distinct from (
    select m.inputs ->> 'outside' from materializations m
    where m.asset = 'raw_uploads' and m.day = d.day order by m.id desc limit 1
)
order by d.day desc
""",  # noqa: S608  a constant of this file
    sqlite=f"""
select d.day, d.objects, d.digest from ({_DAYS} and bucket = %s and newest_at > ago(%s)) d
where d.digest is not (
    select json_extract(m.inputs, '$.outside') from materializations m
    where m.asset = 'raw_uploads' and m.day = d.day order by m.id desc limit 1
)
order by d.day desc
""",  # noqa: S608
)


def object_days(postgres: Database, bucket: str) -> pl.DataFrame:
    """For each day with uploads: day, objects (count) and digest of its (key, version_id) set."""
    return postgres.read(f"{_DAYS} and bucket = $1 order by day", (bucket,))


def upload_days(postgres: Database, bucket: str) -> list[date]:
    """Days with uploads, ascending."""
    return [
        day
        for (day,) in postgres.rows("select day from object_days where objects > 0 and bucket = %s order by day", (bucket,))
    ]


def record(postgres: Database, entries: Sequence[Materialization]) -> None:
    """Enter computed days into the ledger, all or none."""
    postgres.insert(
        "insert into materializations (asset, day, digest, rows, rejected, code_version, inputs_digest, inputs, "
        "delta_version, git_commit, run_id, parts, since_id, seconds) values %s",
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
                None if e.parts is None else json.dumps(e.parts, sort_keys=True),
                e.since_id,
                e.seconds,
            )
            for e in entries
        ],
    )


def begin(postgres: Database, asset: str, days: Sequence[date], run_id: str) -> None:
    """Enter that these days are about to be replaced, so that none counts as current until it is recorded.

    Without it, a run killed between its commit and `record` would leave rows that the ledger takes for those before, as
    soon as inputs or code go back to what they were.
    """
    unknown_yet = [Materialization(asset, day, "", 0, 0, "", "", {}, -1, None, run_id) for day in days]
    if unknown_yet:
        record(postgres, unknown_yet)


def latest(postgres: Database, assets: Sequence[str], first: date, last: date) -> pl.DataFrame:
    """The newest entry of each (asset, day) in a range of days: asset, day, id, since_id, digest, rows, rejected,
    code_version, parts and inputs (JSON), inputs_digest, delta_version, git_commit, run_id, materialized_at, seconds.

    since_id: the entry with which these rows came, itself where no earlier one had them.
    """
    return postgres.read(_LATEST, (json.dumps(list(assets)), first, last))


_ENTRY = (
    "asset, day, id, digest, rows, rejected, code_version, inputs_digest, delta_version, git_commit, run_id, "
    "materialized_at, seconds"
)
_LATEST = Twin(
    postgres=f"select distinct on (asset, day) {_ENTRY}, coalesce(since_id, id) as since_id, "  # noqa: S608  constants
    "cast(parts as text) as parts, cast(inputs as text) as inputs from materializations "
    "where asset in (select json_array_elements_text($1::json)) and day >= $2 and day <= $3 order by asset, day, id desc",
    sqlite=f'select {_ENTRY}, coalesce(since_id, id) as "since_id [bigint]", parts, inputs '  # noqa: S608
    "from materializations where id in (select max(id) from materializations "
    "where asset in (select value from json_each($1)) and day >= $2 and day <= $3 group by asset, day) order by asset, day",
)


def as_of(postgres: Database, asset: str, version: int, until: datetime, first: date, last: date) -> pl.DataFrame:
    """The entries of an asset's days as they were at a Delta version of its table and a moment: columns as `latest`.

    The moment counts for days without rows, whose entries come without a new version.
    """
    return postgres.read(
        "select asset, day, digest, rows, rejected, code_version, inputs_digest, delta_version, git_commit, run_id, "
        "materialized_at from materializations where id in (select max(id) from materializations where asset = $1 and "
        "day >= $2 and day <= $3 and delta_version <= $4 and digest <> '' and materialized_at < $5 group by day) "
        "order by day",
        (asset, first, last, version, until),
    )


def digest_of(parts: Iterable[str]) -> str:
    """SHA-256 over parts, each ended by a newline: 32 hex digits of it."""
    return hashlib.sha256("".join(f"{part}\n" for part in parts).encode()).hexdigest()[:32]
