"""Which days are asked for: each state of a day once, and again after a run that came to nothing."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensors.run_requests import Decision, PastRun, Patience, PendingDay, decide_requests

DAY = date(2026, 3, 10)
OTHER = date(2026, 3, 9)
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
PENDING = PendingDay(DAY, 3, "3:77")
FAILED = PastRun(DAY, PENDING.state, True, NOON)
PATIENCE = Patience()
MINUTE = timedelta(minutes=1)


def decide(*runs: PastRun, now: datetime = NOON, pending: tuple[PendingDay, ...] = (PENDING,)) -> Decision:
    return decide_requests(pending, runs, now, PATIENCE)


def keys(decision: Decision) -> list[str]:
    return [request.run_key for request in decision.requests]


def test_each_pending_day_is_asked_for_once_by_the_name_of_its_objects() -> None:
    found = decide(pending=(PENDING, PendingDay(OTHER, 1, "1:5")))
    assert keys(found) == ["2026-03-10:3:77", "2026-03-09:1:5"]
    assert [(request.day, request.objects) for request in found.requests] == [(DAY, 3), (OTHER, 1)]
    assert decide(pending=()) == Decision(())


def test_a_day_with_a_run_under_way_waits_for_it_whatever_that_was_asked_to_see() -> None:
    for state in (PENDING.state, "2026-03-10:2:1", ""):
        found = decide(PastRun(DAY, state, False, NOON))
        assert (found.requests, found.waiting) == ((), (DAY,))
    assert keys(decide(PastRun(OTHER, "", False, NOON))) == ["2026-03-10:3:77"]


def test_a_run_that_failed_is_followed_by_another_after_a_rest() -> None:
    assert decide(FAILED, now=NOON + MINUTE / 2).waiting == (DAY,)
    assert keys(decide(FAILED, now=NOON + MINUTE)) == ["2026-03-10:3:77:after-20260310T120000.000000"]


def test_rests_grow_to_six_hours_and_no_day_is_ever_given_up() -> None:
    for tried, minutes in ((1, 1), (2, 5), (3, 25), (4, 125), (5, 360), (6, 360), (1_000, 360)):
        runs = [FAILED] * tried
        assert decide(*runs, now=NOON + minutes * MINUTE - timedelta(seconds=1)).waiting == (DAY,)
        assert [request.day for request in decide(*runs, now=NOON + minutes * MINUTE).requests] == [DAY]


def test_a_day_that_failed_four_times_is_told_while_it_rests_and_while_it_is_asked_for() -> None:
    assert decide(*[FAILED] * 3).failing == ()
    assert decide(*[FAILED] * 4).failing == (DAY,)
    asked = decide(*[FAILED] * 4, now=NOON + timedelta(days=1))
    assert (len(asked.requests), asked.failing) == (1, (DAY,))


def test_no_two_attempts_have_one_name_however_few_of_the_past_runs_are_still_read() -> None:
    """Dagster drops a request whose name it has had, without a word."""
    names = set()
    at = NOON
    for _ in range(20):
        (name,) = keys(decide(replace(FAILED, at=at), now=at + timedelta(hours=6)))
        names.add(name)
        at += timedelta(hours=6, minutes=1)
    assert len(names) == 20


def test_a_day_that_failed_is_asked_for_at_once_when_something_is_added() -> None:
    found = decide(*[FAILED] * 4, pending=(PendingDay(DAY, 4, "4:78"),))
    assert keys(found) == ["2026-03-10:4:78"]


def written_over(arrivals: list[int], every: timedelta) -> tuple[int, int, timedelta]:
    """Objects written, objects there in the end, and the longest that one waited, where runs take no time."""
    objects = written = 0
    computed_at: datetime | None = None
    waiting: list[datetime] = []
    longest = timedelta(0)
    now, step = NOON, timedelta(minutes=5)
    until = NOON + every * len(arrivals) + PATIENCE.gather + step
    coming = [(NOON + every * n, count) for n, count in enumerate(arrivals)]
    while now < until:
        while coming and coming[0][0] <= now:
            objects += coming[0][1]
            waiting.append(coming.pop(0)[0])
        if waiting and decide(now=now, pending=(PendingDay(DAY, objects, str(objects), written, computed_at),)).requests:
            written, computed_at = written + objects, now
            longest = max(longest, now - min(waiting))
            waiting.clear()
        now += step
    assert not waiting
    return written, objects, longest


def test_arrivals_all_over_a_day_are_written_a_few_times_and_not_once_for_each() -> None:
    """Each alone would write 12.5 times the final objects with 24 arrivals, and 144.5 times with 288."""
    for count, every in ((24, timedelta(hours=1)), (288, timedelta(minutes=5))):
        written, objects, longest = written_over([10] * count, every)
        assert written / objects < 4.3, count
        assert longest <= PATIENCE.gather


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.sampled_from([5, 20, 60]))
def test_what_is_written_of_a_growing_day_is_bounded_and_no_object_waits_longer_than_told(
    arrivals: list[int], minutes: int
) -> None:
    every = timedelta(minutes=minutes)
    written, objects, longest = written_over(arrivals, every)
    assert longest <= PATIENCE.gather
    assert written <= objects * (PATIENCE.times_written + every * len(arrivals) / PATIENCE.gather + 1)


def test_a_late_upload_of_a_day_that_is_done_is_asked_for_at_once() -> None:
    done = PendingDay(DAY, 10_001, "10001:5", 10_000, NOON - MINUTE)
    assert len(decide(pending=(done,)).requests) == 1


def test_a_day_that_grows_too_often_gathers_and_is_asked_for_once_the_time_is_over() -> None:
    growing = PendingDay(DAY, 10_004, "10004:5", 30_000, NOON)
    assert decide(pending=(growing,)).gathering == (DAY,)
    assert len(decide(pending=(growing,), now=NOON + PATIENCE.gather).requests) == 1


def test_a_run_that_never_ended_is_taken_for_lost_after_two_hours() -> None:
    lost = replace(FAILED, is_over=False)
    assert decide(lost, now=NOON + timedelta(hours=2) - MINUTE).waiting == (DAY,)
    assert keys(decide(lost, now=NOON + timedelta(hours=2))) == ["2026-03-10:3:77:after-20260310T120000.000000"]


def test_a_tick_asks_for_a_bounded_number_of_days_the_newest_first() -> None:
    many = tuple(PendingDay(DAY - timedelta(days=n), 1, "1:1") for n in range(150))
    found = decide(pending=many)
    assert [request.day for request in found.requests] == [day.day for day in many[:100]]
    assert found.waiting == ()


@given(
    st.lists(st.tuples(st.sampled_from([DAY, OTHER]), st.sampled_from(["3:77", "9:9"]), st.booleans(), st.integers(0, 200))),
    st.integers(0, 300),
)
def test_each_pending_day_is_asked_for_or_waits_and_none_is_asked_for_twice_by_one_name(
    past: list[tuple[date, str, bool, int]], minutes: int
) -> None:
    runs = [PastRun(day, f"{day}:{digest}", over, NOON + MINUTE * at) for day, digest, over, at in past]
    found = decide(*runs, now=NOON + MINUTE * minutes, pending=(PENDING, PendingDay(OTHER, 9, "9:9")))
    days = [request.day for request in found.requests] + [*found.waiting, *found.gathering]
    assert sorted(days) == [OTHER, DAY]
    for request in found.requests:
        vain = [run.at for run in runs if run.state == request.state]
        after = f":after-{max(vain):%Y%m%dT%H%M%S.%f}" if vain else ""
        assert request.run_key == request.state + after


@pytest.mark.parametrize("tried", [1, 2, 3])
def test_the_rest_is_counted_from_the_last_attempt(tried: int) -> None:
    runs = [replace(FAILED, at=NOON - MINUTE * 100 * n) for n in range(tried)]
    assert decide(*runs, now=NOON + PATIENCE.wait(tried) - timedelta(seconds=1)).waiting == (DAY,)
