"""The ledger of all object versions that were ever listed or announced. Rows are added, never changed."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl

from resources.database.contract import Database, Transaction, Twin
from resources.database.rejects import storable
from resources.database.unread import TRIES
from resources.objects.resource import Objects
from resources.objects.store import BY_ETAG, ObjectInfo
from resources.objects.version_ids import with_versions

WRITER_LOCK = 0x6461726C
"""Key of the transaction lock under which object versions are added."""


@dataclass(frozen=True)
class SeenObject:
    """One object version of a bucket; version_id: `etag-...` in a bucket without versions."""

    bucket: str
    key: str
    version_id: str
    etag: str
    size_bytes: int
    last_modified: datetime
    day: date


def add_objects(database: Database, objects: Iterable[SeenObject]) -> list[tuple[str, str, date]]:
    """Add object versions to the ledger; existing ones are skipped. Returns (key, version_id, day) of the new ones."""
    with database.connect() as transaction:
        return add_in(transaction, objects)


def add_in(transaction: Transaction, objects: Iterable[SeenObject]) -> list[tuple[str, str, date]]:
    """The same in an open transaction."""
    rows = [(o.bucket, o.key, o.version_id, o.etag, o.size_bytes, o.last_modified, o.day) for o in objects]
    if not rows:
        return []
    # Without the lock, writers that add the same days in another order could deadlock.
    transaction.hold(WRITER_LOCK)
    returned = transaction.insert(
        "insert into objects (bucket, key, version_id, etag, size_bytes, last_modified, day) values %s "
        "on conflict do nothing returning key, version_id, day",
        rows,
    )
    return [(key, version_id, day) for key, version_id, day in returned]


def unknown(database: Database, bucket: str, objects: Sequence[ObjectInfo]) -> list[ObjectInfo]:
    """The listed objects whose content the ledger does not have under their key, or only with an earlier time.

    With an earlier time, the key was overwritten, and then again with its former content. In a bucket without versions that
    counts as the same content.
    """
    if not objects:
        return []
    objects_json = json.dumps([{"key": i.key, "etag": i.etag or "", "at": i.last_modified.isoformat()} for i in objects])
    known = set(database.rows(_KNOWN, (objects_json, bucket)))
    return [info for info in objects if (info.key, info.etag or "") not in known]


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
    database: Database, uploads: Objects, objects: Sequence[ObjectInfo], day_of: Callable[[ObjectInfo], date]
) -> list[tuple[str, str, date]]:
    """Add listed objects to the ledger. Returns (key, version_id, day) of the new ones.

    Only new objects cost requests, for their version ids. One that no longer exists is left to the next listing. An object
    whose key no database can store becomes a reject: see `rejects`.
    """
    new = with_versions(uploads.store, unknown(database, uploads.bucket, storable(database, uploads.bucket, objects)))
    return add_objects(database, [seen_object(uploads.bucket, info, day_of(info)) for info in new])


def seen_object(bucket: str, info: ObjectInfo, day: date) -> SeenObject:
    """The ledger's row of an object."""
    return SeenObject(bucket, info.key, version_of(info), info.etag or "", info.size, info.last_modified, day)


def version_of(info: ObjectInfo) -> str:
    """Identifies this content among those of the same key: the version id, else `etag-` and the ETag."""
    return info.version_id if info.version_id not in (None, "", "null") else f"{BY_ETAG}{info.etag}"


def pending_days(database: Database, bucket: str) -> list[tuple[date, int, str, int, datetime | None]]:
    """Days with objects that no materialization of raw_uploads has read, newest first: (day, objects, digest, written, at).

    written: the distinct numbers of objects at earlier computations of the day, summed; at: the time of the last one, if
    any. The cost does not depend on the number of objects.
    """
    return [
        (day, objects, digest, int(written), at) for day, objects, digest, written, at in database.rows(_PENDING, (bucket,))
    ]


def objects_of_days(database: Database, bucket: str, days: Sequence[date]) -> pl.DataFrame:
    """The ledger's object versions of these days: key, version_id, etag, size_bytes, last_modified (UTC), day."""
    return database.read(
        "select day, bucket, key, version_id, etag, size_bytes, last_modified from objects "
        "where bucket = $1 and day >= $2 and day <= $3 order by key, version_id",
        (bucket, min(days), max(days)),
    ).filter(pl.col("day").is_in(list(days)))


_DAYS_OF = (
    "select d.day, d.objects, d.objects || ':' || d.checksum || coalesce(':' || nullif(t.tries, 0), '') as digest "
    "from object_days d left join {} t on t.asset = 'raw_uploads' and t.day = d.day where d.objects > 0"
)


_DAYS = Twin(_DAYS_OF.format(TRIES.postgres), _DAYS_OF.format(TRIES.sqlite))
"""Days with a digest of their objects and of the number of due tries of unreadable ones."""


_PENDING = Twin(
    postgres=f"""
select d.day, d.objects, d.digest,
    coalesce((
        select sum(cast(s.objects as bigint)) from (
            select distinct split_part(m.inputs ->> 'outside', ':', 1) as objects from materializations m
            where m.asset = 'raw_uploads' and m.day = d.day and m.digest <> ''
        ) s where s.objects ~ '^[0-9]+$'
    ), 0),
    (select max(m.materialized_at) from materializations m
     where m.asset = 'raw_uploads' and m.day = d.day and m.digest <> '')
from ({_DAYS.postgres} and bucket = %s) d
where d.digest is distinct from (
    select m.inputs ->> 'outside' from materializations m
    where m.asset = 'raw_uploads' and m.day = d.day order by m.id desc limit 1
)
order by d.day desc
""",  # noqa: S608  a constant of this file
    sqlite=f"""
select d.day, d.objects, d.digest,
    coalesce((
        select sum(s.objects) from (
            select distinct cast(json_extract(m.inputs, '$.outside') as integer) as objects from materializations m
            where m.asset = 'raw_uploads' and m.day = d.day and m.digest <> ''
        ) s
    ), 0),
    (select max(m.materialized_at) from materializations m
     where m.asset = 'raw_uploads' and m.day = d.day and m.digest <> '') as "at [timestamptz]"
from ({_DAYS.sqlite} and bucket = %s) d
where d.digest is not (
    select json_extract(m.inputs, '$.outside') from materializations m
    where m.asset = 'raw_uploads' and m.day = d.day order by m.id desc limit 1
)
order by d.day desc
""",  # noqa: S608
)


def object_days(database: Database, bucket: str) -> pl.DataFrame:
    """For each day with uploads: day, objects (count) and digest of its (key, version_id) set."""
    query = Twin(*(f"{days} and bucket = $1 order by d.day" for days in (_DAYS.postgres, _DAYS.sqlite)))
    return database.read(query, (bucket,))


def upload_days(database: Database, bucket: str) -> list[date]:
    """Days with uploads, ascending."""
    return [
        day
        for (day,) in database.rows("select day from object_days where objects > 0 and bucket = %s order by day", (bucket,))
    ]
