"""Items that days need and could not read from their store: they are listed here, and tried again.

The number of due tries of a day grows with time, at growing intervals. It is part of the digest of the day's inputs, so that
a day becomes stale when the next try is due. Once an item has been read, its number stays.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime

from resources.database.contract import Database, Twin

GONE = "gone"
"""The reason of deleted items. They rarely come back, by a restore or another copy."""
FIRST_S = 300
"""Seconds until the second try is due; each further interval is twice as long."""
DAY_S = 86_400
_DOUBLINGS_OF_A_DAY = 8
_DOUBLINGS = 20
Unread = tuple[date, str, str]
"""Day, item, reason."""


def _tries(waited_s: str) -> str:
    """A table (asset, day, tries) as SQL. waited_s: whole seconds since the first failed read of an item, as SQL."""

    def doubled(times: int) -> str:
        return " + ".join(f"case when waited >= {FIRST_S * (2**n - 1)} then 1 else 0 end" for n in range(1, times + 1))

    return (
        f"(select asset, day, sum(hints + case when reason = '{GONE}' then {doubled(_DOUBLINGS)} "  # noqa: S608  constants
        f"else {doubled(_DOUBLINGS_OF_A_DAY)} + waited / {DAY_S} end) as tries "
        f"from (select asset, day, reason, hints, {waited_s} as waited from unread) w group by asset, day)"
    )


TRIES = Twin(
    postgres=_tries("cast(floor(extract(epoch from coalesce(read_at, now()) - since)) as bigint)"),
    sqlite=_tries("cast((julianday(coalesce(read_at, 'now')) - julianday(since)) * 86400 as integer)"),
)
"""The number of due tries of each day's items: a subquery (asset, day, tries) in parentheses."""


def tries(database: Database, asset: str, days: Sequence[date]) -> dict[date, int]:
    """The number of due tries by day, for days of an asset that have or had unreadable items."""
    question = "select day, tries from {} t where asset = %s and day >= %s and day <= %s"
    query = Twin(question.format(TRIES.postgres), question.format(TRIES.sqlite))
    rows = database.rows(query, (asset, min(days), max(days))) if days else []
    return {day: int(count) for day, count in rows}


def settle(database: Database, asset: str, days: Sequence[date], unread: Iterable[Unread]) -> None:
    """Record the unreadable items of these days; other items that waited there count as read."""
    if not days:
        return
    now = datetime.now(UTC)
    unread_now = {(day, item): reason for day, item, reason in unread}
    with database.connect() as transaction:
        rows = transaction.rows(
            "select day, item, reason, since from unread where asset = %s and day >= %s and day <= %s and read_at is null",
            (asset, min(days), max(days)),
        )
        waiting = {(day, item): (reason, since) for day, item, reason, since in rows if day in set(days)}
        new = {key: (reason, now, None) for key, reason in unread_now.items() if key not in waiting}
        read_now = {key: (reason, since, now) for key, (reason, since) in waiting.items() if key not in unread_now}
        still_unread = {key: (unread_now[key], waiting[key][1], None) for key in unread_now.keys() & waiting.keys()}
        changed = {key: entry for key, entry in still_unread.items() if entry[0] != waiting[key][0]}
        transaction.insert(
            "insert into unread (asset, day, item, reason, since, read_at) values %s on conflict (asset, day, item) "
            "do update set reason = excluded.reason, since = excluded.since, read_at = excluded.read_at",
            [(asset, *key, *entry) for key, entry in sorted({**new, **read_now, **changed}.items())],
        )


def hint(database: Database, items: Iterable[str]) -> None:
    """Make a new try due for the days that wait for one of these items, because it has a new place."""
    waiting = {item for (item,) in database.rows("select distinct item from unread where read_at is null")}
    for item in sorted(waiting & set(items)):
        database.execute("update unread set hints = hints + 1 where item = %s and read_at is null", (item,))
