"""The ledger of computed days and their inputs. The ledger of objects is in `seen_objects`.

Rows are added, never changed.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl

from resources.database.contract import Database, Transaction, Twin


@dataclass(frozen=True)
class Materialization:
    """One computed day of an asset. inputs: {asset: digest of the days that were read}.

    parts: of the code version, {kind: {name: digest or value}}. since_id: the earlier entry that first had these rows.
    seconds: the day's share of its run's duration. delta_version, commit_id: version and id of the commit with the rows.
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
    commit_id: str | None = None


def record(database: Database, entries: Sequence[Materialization]) -> None:
    """Add entries in one transaction."""
    with database.connect() as transaction:
        record_in(transaction, entries)


def record_in(transaction: Transaction, entries: Sequence[Materialization]) -> None:
    """The same in an open transaction."""
    transaction.insert(
        "insert into materializations (asset, day, digest, rows, rejected, code_version, inputs_digest, inputs, "
        "delta_version, git_commit, run_id, parts, since_id, seconds, commit_id) values %s",
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
                e.commit_id,
            )
            for e in entries
        ],
    )


def begin_in(transaction: Transaction, asset: str, days: Sequence[date], run_id: str) -> None:
    """Mark days as about to be replaced: see `day_writers.claim`."""
    record_in(transaction, [_without_rows(asset, day, run_id, {}) for day in days])


LOST = "lost"
"""The key in the inputs of an entry without rows whose value says why a day's rows are no longer in the table."""


def enter_lost(database: Database, lost: Mapping[str, Mapping[date, tuple[int, str]]], run_id: str) -> None:
    """Mark days as lost, so that they are computed again. lost: {asset: {day: (id of the entry of the rows, reason)}}.

    The mark stays when the table's versions reach the numbers of the lost ones again. Days with a newer entry are skipped.
    """
    with database.connect() as transaction:
        for asset, days in lost.items():
            newest = dict(
                transaction.rows("select day, max(id) from materializations where asset = %s group by day", (asset,))
            )
            still = {day: why for day, (entry, why) in days.items() if newest.get(day) == entry}
            record_in(transaction, [_without_rows(asset, day, run_id, {LOST: why}) for day, why in still.items()])


def _without_rows(asset: str, day: date, run_id: str, inputs: Mapping[str, str]) -> Materialization:
    return Materialization(asset, day, "", 0, 0, "", "", inputs, -1, None, run_id)


def latest(database: Database, assets: Sequence[str], first: date, last: date) -> pl.DataFrame:
    """The newest entry of each (asset, day) in a range of days: asset, day, id, since_id, digest, rows, rejected,
    code_version, parts and inputs (JSON), inputs_digest, delta_version, commit_id, git_commit, run_id, materialized_at,
    seconds.

    since_id: the first entry with these rows, which may be the entry itself.
    """
    return database.read(_LATEST, (json.dumps(list(assets)), first, last))


def newest_day(database: Database, asset: str) -> date | None:
    """The newest day of an asset that is computed. Its table may have no rows of that day."""
    entries = latest(database, [asset], date.min, date.max)
    newest: date | None = entries.filter(pl.col("digest") != "")["day"].max()  # type: ignore[assignment]
    return newest


_ENTRY = (
    "asset, day, id, digest, rows, rejected, code_version, inputs_digest, delta_version, commit_id, git_commit, run_id, "
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


def as_of(database: Database, asset: str, version: int, until: datetime, first: date, last: date) -> pl.DataFrame:
    """The entries of an asset's days as of a Delta version of its table and a time; columns as in `latest`.

    The time matters for days without rows, whose entries have no new version.
    """
    return database.read(
        "select asset, day, digest, rows, rejected, code_version, inputs_digest, delta_version, git_commit, run_id, "
        "materialized_at, cast(inputs as text) as inputs from materializations "
        "where id in (select max(id) from materializations where asset = $1 and "
        "day >= $2 and day <= $3 and delta_version <= $4 and digest <> '' and materialized_at < $5 group by day) "
        "order by day",
        (asset, first, last, version, until),
    )


def digest_of(parts: Iterable[str]) -> str:
    """The first 32 hex digits of the SHA-256 over parts, each followed by a newline."""
    return hashlib.sha256("".join(f"{part}\n" for part in parts).encode()).hexdigest()[:32]
