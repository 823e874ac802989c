"""Which days to request runs for, decided from plain data: the ledger's pending days, and earlier runs.

A run is requested once for each state of a day's objects, and again if it ended, or was lost, without having read them:
with growing waits, without limit. A day that keeps receiving uploads is not rewritten for each of them: they gather until
rewriting pays off, or a time limit has passed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta


@dataclass(frozen=True)
class PendingDay:
    """A day with objects that no materialization has read. digest: identifies the set of its objects.

    written: number of objects at each computation of the day, summed; computed_at: time of the last computation.
    """

    day: date
    objects: int
    digest: str
    written: int = 0
    computed_at: datetime | None = None

    @property
    def state(self) -> str:
        """Identifies the day with its present objects: what a requested run has to read."""
        return f"{self.day}:{self.digest}"


@dataclass(frozen=True)
class PastRun:
    """A run of a day. state: the state for which it was requested; at: its end, or the time of its last news."""

    day: date
    state: str
    is_over: bool
    at: datetime


@dataclass(frozen=True)
class Patience:
    """How often a day is requested: again after 1, 5, 25 and 125 minutes, and then every six hours.

    failing_from: number of failed attempts from which a day is reported as failing. lost_after: an unfinished run counts
    as lost after this time. A queued one does not: the queue keeps it. times_written: a growing day is rewritten while the
    objects of all its writes, this one included, are at most so many times its present objects; beyond that once per
    `gather`.
    """

    failing_from: int = 4
    first_wait: timedelta = timedelta(minutes=1)
    factor: int = 5
    longest_wait: timedelta = timedelta(hours=6)
    lost_after: timedelta = timedelta(hours=2)
    days_at_once: int = 100
    times_written: int = 3
    gather: timedelta = timedelta(hours=6)

    def wait(self, tried: int) -> timedelta:
        """The wait between the last of `tried` failed attempts and the next one."""
        return min(self.longest_wait, self.first_wait * self.factor ** min(tried - 1, 9))

    def gathers(self, pending: PendingDay, now: datetime) -> bool:
        """Whether a day waits for more objects before it is written again."""
        if pending.computed_at is None or pending.written + pending.objects <= self.times_written * pending.objects:
            return False
        return now - pending.computed_at < self.gather


@dataclass(frozen=True)
class DayRequest:
    """A run to request. run_key: the day, its objects and, from the second attempt on, the end of the previous one."""

    day: date
    state: str
    run_key: str
    objects: int


@dataclass(frozen=True)
class Decision:
    """requests: runs to request, newest day first; waiting: days with a run, or between attempts; gathering: growing days.

    failing: those of the first two with so many failed attempts that a person should look.
    """

    requests: tuple[DayRequest, ...]
    waiting: tuple[date, ...] = ()
    gathering: tuple[date, ...] = ()
    failing: tuple[date, ...] = ()


def decide_requests(pending: Sequence[PendingDay], runs: Sequence[PastRun], now: datetime, patience: Patience) -> Decision:
    """One request for each day with unread objects, unless a run is under way, or the day waits or gathers.

    runs: at least all unfinished runs of these days, and all that were requested for the present states.
    """
    by_day: dict[date, list[PastRun]] = {}
    for run in runs:
        by_day.setdefault(run.day, []).append(run)
    requests: list[DayRequest] = []
    waiting: list[date] = []
    gathering: list[date] = []
    failing: list[date] = []
    for candidate in pending:
        day_runs = by_day.get(candidate.day, [])
        under_way = [run for run in day_runs if not run.is_over and now - run.at < patience.lost_after]
        failed = [run for run in day_runs if run.state == candidate.state and run not in under_way]
        last = max((run.at for run in failed), default=None)
        if len(failed) >= patience.failing_from:
            failing.append(candidate.day)
        if under_way or (last is not None and now - last < patience.wait(len(failed))):
            waiting.append(candidate.day)
        elif not failed and patience.gathers(candidate, now):
            gathering.append(candidate.day)
        elif len(requests) < patience.days_at_once:
            again = "" if last is None else f":after-{last:%Y%m%dT%H%M%S.%f}"
            requests.append(DayRequest(candidate.day, candidate.state, candidate.state + again, candidate.objects))
    return Decision(tuple(requests), tuple(waiting), tuple(gathering), tuple(failing))
