"""Which log files are of which day, and which days of the log are complete. Pure: the listing and the clock are arguments.

A day of the log is complete once it has ended, has at least one file (an empty one says that nothing happened), and was
read after its end. How a day stood when it was read is told by the digest of what was read, which the ledger keeps: a day
that was read before its end is read again after it, also when no file has come.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Generic, Protocol, TypeVar

import polars as pl

from pipeline_assets.framework.schemas import Rejected
from pipeline_assets.ingestion.logs.events import MAX_RAW_CHARACTERS, day_of_log
from pipeline_assets.ingestion.schemas import EventLog

RECENT_DAYS = 60
"""The files of so many days are listed each time, and of as many as are asked for by themselves."""
ROUND_DAYS = 30
"""In so many days the files of every older day are listed once, a part of them each day."""
NO_LOG = " no log"
UNFINISHED = " unfinished"
_DAY = timedelta(days=1)


class Stored(Protocol):
    """A log file as the store lists it."""

    @property
    def key(self) -> str: ...  # noqa: D102

    @property
    def last_modified(self) -> datetime: ...  # noqa: D102


T = TypeVar("T", bound=Stored)


@dataclass(frozen=True)
class Filed(Generic[T]):
    """Log files by day. read: those in the folder of their day; early: those of days that have not come, by arrival."""

    read: Mapping[date, list[T]]
    early: Mapping[date, list[T]]

    @property
    def days(self) -> list[date]:
        """Every day that has a file, ascending."""
        return sorted({*self.read, *self.early})


def file_by_day(files: Iterable[T], today: date, first: date = date.min) -> Filed[T]:
    """Log files by day. Keys that name no day, or one before `first`, are left out.

    A file in a folder of a day after `today` is not read yet, and is filed under the day on which it was stored, at most
    today.
    """
    by_day: dict[date, list[T]] = {}
    early: dict[date, list[T]] = {}
    for info in files:
        day = day_of_log(info.key)
        if day is None or day < first:
            continue
        if day > today:
            stored_day = min(max(info.last_modified.astimezone(UTC).date(), first), today)
            early.setdefault(stored_day, []).append(info)
        else:
            by_day.setdefault(day, []).append(info)
    return Filed(by_day, early)


def days_to_list(days: Sequence[date], known_days: Collection[date], today: date) -> list[date]:
    """Those of these days (ascending) whose files are listed to see whether they have changed.

    known_days: complete days as they were read. All are listed where few are asked for; else the recent ones, those that are
    not known, and today's part of the others: so that the whole history is not listed each time.
    """
    if len(days) <= RECENT_DAYS:
        return list(days)
    old = [day for day in days if day in known_days and day < today - timedelta(days=RECENT_DAYS)]
    turn = today.toordinal() % ROUND_DAYS
    left = {*old[: len(old) * turn // ROUND_DAYS], *old[len(old) * (turn + 1) // ROUND_DAYS :]}
    return [day for day in days if day not in left]


def stretches(days: Sequence[date]) -> list[tuple[date, date]]:
    """First and last day of each listing that days (ascending) need: days that lie close are listed in one."""
    spans: list[tuple[date, date]] = []
    for day in days:
        if spans and day - spans[-1][1] <= ROUND_DAYS * _DAY:
            spans[-1] = (spans[-1][0], day)
        else:
            spans.append((day, day))
    return spans


def early_files(early: Mapping[date, Iterable[Stored]]) -> pl.DataFrame:
    """Rows of `Rejected` for files in folders of days that have not come, by the days under which they are filed."""
    rows = [
        (day, info.key, f"the folder is of {day_of_log(info.key)}, which has not come yet", None)
        for day, infos in sorted(early.items())
        for info in infos
    ]
    schema = {name: kind for name, kind in Rejected.create_empty().schema.items() if name != "reason"}
    files = pl.DataFrame(rows, schema=schema, orient="row")
    return files.with_columns(reason=pl.lit("log_of_a_later_day")).select(Rejected.column_names())


def arrived_by(events: pl.DataFrame, now: datetime) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The events that had arrived by `now`, in their order; and the others as `arrives_in_the_future` rejections.

    They can only be of the day that has not ended, which is read again once it has.
    """
    is_there = pl.col("arrived_at") <= pl.lit(now)
    future_events = events.filter(~is_there).select(
        "day",
        source="event_id",
        reason=pl.lit("arrives_in_the_future"),
        detail=pl.format("it arrives at {}, which has not come yet", "arrived_at"),
        raw=pl.struct(EventLog.column_names()).struct.json_encode().str.head(MAX_RAW_CHARACTERS),
    )
    return events.filter(is_there), future_events


def state_of(day: date, has_files: bool, now: datetime) -> str:
    """How a day of the log stands: unfinished, without a log, or nothing to add. It ends the digest of what is read."""
    return UNFINISHED if end_of(day) > now else "" if has_files else NO_LOG


def complete_days(entries: pl.DataFrame, now: datetime) -> frozenset[date]:
    """The complete days among the ledger's newest entries of `event_log`, whatever the order.

    entries: day, digest, inputs (JSON). A day that ends after `now` is none, whatever a clock said before; nor is one that
    a run is replacing.
    """
    digested = entries.filter(pl.col("digest") != "").select("day", "inputs")
    return frozenset(day for day, inputs in digested.iter_rows() if end_of(day) <= now and _was_complete(inputs))


def known_digests(entries: pl.DataFrame, now: datetime) -> dict[date, str]:
    """What the ledger's newest entries say was read of the complete days: day, digest, inputs (JSON) as `complete_days`."""
    complete = complete_days(entries, now)
    return {
        day: digest
        for day, inputs in entries.select("day", "inputs").iter_rows()
        if day in complete and (digest := outside_of(inputs)) is not None
    }


def _was_complete(inputs: str) -> bool:
    outside = outside_of(inputs)
    return outside is not None and not outside.endswith((NO_LOG, UNFINISHED))


def outside_of(inputs: str) -> str | None:
    """What an entry of the ledger says that its asset read outside the lake; None for one that says nothing of it."""
    read = json.loads(inputs).get("outside")
    return None if read is None else str(read)


def end_of(day: date) -> datetime:
    """The moment at which a UTC day ends."""
    return datetime.combine(day, time(), UTC) + _DAY
