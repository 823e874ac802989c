"""The two ledgers in PostgreSQL: which object versions were seen, and what was computed from what.

Both are facts about the past: rows are added, never changed.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl

from resources.postgres import Postgres


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


def objects_of_days(postgres: Postgres, bucket: str, days: Sequence[date]) -> pl.DataFrame:
    """The ledger's object versions of these days: key, version_id, etag, size_bytes, last_modified (UTC), day."""
    return postgres.read(
        "select day, bucket, key, version_id, etag, size_bytes, last_modified from objects "
        "where bucket = $1 and day >= $2 and day <= $3 order by key, version_id",
        (bucket, min(days), max(days)),
    ).filter(pl.col("day").is_in(list(days)))


def object_days(postgres: Postgres, bucket: str) -> pl.DataFrame:
    """For each day with uploads: day, objects (count) and digest of its (key, version_id) set."""
    return postgres.read(
        "select day, count(*) as objects, md5(string_agg(key || chr(10) || version_id, chr(10) order by key, version_id)) "
        "as digest from objects where bucket = $1 group by day order by day",
        (bucket,),
    )


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
