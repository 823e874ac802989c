"""Which days to ask runs for, decided from plain data: the ledger's pending days, and the runs that were asked for before.

A day is asked for once for each state of its objects, and again if the run ended, or was lost, without having seen them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta


@dataclass(frozen=True)
class PendingDay:
    """A day whose objects no materialization has seen. digest: names the set of them."""

    day: date
    objects: int
    digest: str

    @property
    def state(self) -> str:
        """What a run is asked to see: the day and its objects."""
        return f"{self.day}:{self.digest}"


@dataclass(frozen=True)
class PastRun:
    """A run of a day. state: what it was asked to see; at: when it ended, or else when it was last heard of."""

    day: date
    state: str
    is_over: bool
    at: datetime


@dataclass(frozen=True)
class Patience:
    """How often a day's state is asked for: again after a minute, five, twenty-five, and then no more.

    lost_after: a run that has not ended by then is taken for lost. A queued one is not: the queue remembers it.
    """

    attempts: int = 4
    first_wait: timedelta = timedelta(minutes=1)
    factor: int = 5
    lost_after: timedelta = timedelta(hours=2)
    days_at_once: int = 100

    def wait(self, tried: int) -> timedelta:
        """How long after the end of a number of vain attempts the next one may begin."""
        return self.first_wait * self.factor ** (tried - 1)


@dataclass(frozen=True)
class DayRequest:
    """A run to ask for. run_key names the day, its objects and, from the second on, the attempt."""

    day: date
    state: str
    run_key: str
    objects: int


@dataclass(frozen=True)
class Decision:
    """requests: runs to ask for, newest day first; waiting: days with a run, or resting; given_up: left to a person."""

    requests: tuple[DayRequest, ...]
    waiting: tuple[date, ...]
    given_up: tuple[date, ...]


def decide_requests(pending: Sequence[PendingDay], runs: Sequence[PastRun], now: datetime, patience: Patience) -> Decision:
    """One request a day whose objects no run has seen, unless a run is under way that will, or all attempts were vain.

    runs: of these days, at least all that have not ended, and those that were asked for the present states.
    """
    by_day: dict[date, list[PastRun]] = {}
    for run in runs:
        by_day.setdefault(run.day, []).append(run)
    requests: list[DayRequest] = []
    waiting: list[date] = []
    given_up: list[date] = []
    for wanted in pending:
        mine = by_day.get(wanted.day, [])
        under_way = [run for run in mine if not run.is_over and now - run.at < patience.lost_after]
        vain = [run for run in mine if run.state == wanted.state and run not in under_way]
        if not under_way and len(vain) >= patience.attempts:
            given_up.append(wanted.day)
        elif under_way or (vain and now - max(run.at for run in vain) < patience.wait(len(vain))):
            waiting.append(wanted.day)
        elif len(requests) < patience.days_at_once:
            run_key = f"{wanted.state}:attempt-{len(vain) + 1}" if vain else wanted.state
            requests.append(DayRequest(wanted.day, wanted.state, run_key, wanted.objects))
    return Decision(tuple(requests), tuple(waiting), tuple(given_up))
