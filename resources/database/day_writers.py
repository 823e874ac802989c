"""Claims of runs on days of a table: the latest claim wins, so that commits and ledger entries of a day have one order.

A run claims the days that it will replace, commits only days that it still owns (`Lake.commit` checks after it has read the
table, so that a commit in between is a conflict), and records only those. Hence an entry names the version of its own
commit, and a day's newest entry has its highest version, whenever a run is killed. Of two concurrent runs of a day the one
that claims it later wins; the other one reports the day as left to it.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType

from resources.database import ledger
from resources.database.contract import Database, Transaction
from resources.database.ledger import Materialization

WRITER_LOCK = 0x6461726D
"""Key of the transaction lock under which days are claimed and recorded."""


@dataclass(frozen=True)
class Claim:
    """The days of a table that a run has claimed; the token identifies the claim."""

    database: Database
    asset: str
    token: str
    days: tuple[date, ...]

    def owned_days(self) -> set[date]:
        """The days that no other run has claimed since."""
        with self.database.connect() as transaction:
            return _owned_days(transaction, self)


NONE_UNCHANGED: Mapping[date, int | None] = MappingProxyType({})


def claim(
    database: Database,
    asset: str,
    days: Sequence[date],
    replaced: Iterable[date],
    run_id: str,
    unchanged: Mapping[date, int | None] = NONE_UNCHANGED,
) -> Claim:
    """Claim days, and mark those to be `replaced` in the ledger if they have an entry: they are not current until recorded.

    unchanged: as in `record`; a day with a newer entry is not claimed, so that the rejects that another run wrote stay.

    Without the mark, a run killed between its commit and `record` would leave new rows under an old entry, which would
    count as current again once inputs or code return to their former state.
    """
    claimed = Claim(database, asset, secrets.token_hex(16), tuple(sorted(set(days))))
    if not claimed.days:
        return claimed
    with database.connect() as transaction:
        transaction.hold(WRITER_LOCK)
        newest = _newest(transaction, asset, claimed.days)
        transaction.insert(
            "insert into day_writers (asset, day, token) values %s on conflict (asset, day) do update set token = "
            "excluded.token",
            [(asset, d, claimed.token) for d in claimed.days if d not in unchanged or newest.get(d) == unchanged[d]],
        )
        ledger.begin_in(transaction, asset, [day for day in sorted(set(replaced)) if day in newest], run_id)
    return claimed


def record(claimed: Claim, entries: Sequence[Materialization], unchanged: Mapping[date, int | None]) -> set[date]:
    """Record the claimed days in the ledger in one transaction, and release the claim. Returns the recorded days.

    Days that another run has claimed since are skipped. unchanged: days whose rows did not change, with the id of the entry
    that has them; a day with a newer entry is skipped.
    """
    if not claimed.days:
        return set()
    with claimed.database.connect() as transaction:
        transaction.hold(WRITER_LOCK)
        owned, newest = _owned_days(transaction, claimed), _newest(transaction, claimed.asset, claimed.days)
        newer = {day for day, entry_id in unchanged.items() if newest.get(day) != entry_id}
        valid = [entry for entry in entries if entry.day in owned - newer]
        ledger.record_in(transaction, valid)
        transaction.execute("delete from day_writers where asset = %s and token = %s", (claimed.asset, claimed.token))
    return {entry.day for entry in valid}


def _owned_days(transaction: Transaction, claimed: Claim) -> set[date]:
    rows = transaction.rows("select day from day_writers where asset = %s and token = %s", (claimed.asset, claimed.token))
    return {day for (day,) in rows}


def _newest(transaction: Transaction, asset: str, days: Sequence[date]) -> dict[date, int]:
    """The id of the newest entry of each day that has one."""
    return dict(
        transaction.rows(
            "select day, max(id) from materializations where asset = %s and day >= %s and day <= %s group by day",
            (asset, min(days), max(days)),
        )
    )
