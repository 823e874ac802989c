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
    assert decide(pending=()) == Decision((), (), ())


def test_a_day_with_a_run_under_way_waits_for_it_whatever_that_was_asked_to_see() -> None:
    for state in (PENDING.state, "2026-03-10:2:1", ""):
        found = decide(PastRun(DAY, state, False, NOON))
        assert (found.requests, found.waiting) == ((), (DAY,))
    assert keys(decide(PastRun(OTHER, "", False, NOON))) == ["2026-03-10:3:77"]


def test_a_run_that_failed_is_followed_by_another_after_a_rest() -> None:
    assert decide(FAILED, now=NOON + MINUTE / 2).waiting == (DAY,)
    assert keys(decide(FAILED, now=NOON + MINUTE)) == ["2026-03-10:3:77:attempt-2"]


def test_rests_grow_and_end_in_giving_up() -> None:
    for tried, minutes in ((1, 1), (2, 5), (3, 25)):
        runs = [FAILED] * tried
        assert decide(*runs, now=NOON + minutes * MINUTE - timedelta(seconds=1)).waiting == (DAY,)
        assert keys(decide(*runs, now=NOON + minutes * MINUTE)) == [f"2026-03-10:3:77:attempt-{tried + 1}"]
    found = decide(*[FAILED] * 4, now=NOON + timedelta(days=1))
    assert found == Decision((), (), (DAY,))


def test_a_day_that_was_given_up_is_asked_for_when_something_is_added() -> None:
    found = decide(*[FAILED] * 4, pending=(PendingDay(DAY, 4, "4:78"),))
    assert keys(found) == ["2026-03-10:4:78"]


def test_a_run_that_never_ended_is_taken_for_lost_after_two_hours() -> None:
    lost = replace(FAILED, is_over=False)
    assert decide(lost, now=NOON + timedelta(hours=2) - MINUTE).waiting == (DAY,)
    assert keys(decide(lost, now=NOON + timedelta(hours=2))) == ["2026-03-10:3:77:attempt-2"]


def test_a_tick_asks_for_a_bounded_number_of_days_the_newest_first() -> None:
    many = tuple(PendingDay(DAY - timedelta(days=n), 1, "1:1") for n in range(150))
    found = decide(pending=many)
    assert [request.day for request in found.requests] == [day.day for day in many[:100]]
    assert found.waiting == ()


@given(
    st.lists(st.tuples(st.sampled_from([DAY, OTHER]), st.sampled_from(["3:77", "9:9"]), st.booleans(), st.integers(0, 200))),
    st.integers(0, 300),
)
def test_no_state_is_asked_for_more_often_than_patience_allows_and_none_twice_by_one_name(
    past: list[tuple[date, str, bool, int]], minutes: int
) -> None:
    runs = [PastRun(day, f"{day}:{digest}", over, NOON + MINUTE * at) for day, digest, over, at in past]
    found = decide(*runs, now=NOON + MINUTE * minutes, pending=(PENDING, PendingDay(OTHER, 9, "9:9")))
    days = [request.day for request in found.requests] + [*found.waiting, *found.given_up]
    assert sorted(days) == [OTHER, DAY]
    for request in found.requests:
        tried = sum(run.state == request.state for run in runs)
        assert tried < PATIENCE.attempts
        assert request.run_key == (f"{request.state}:attempt-{tried + 1}" if tried else request.state)


@pytest.mark.parametrize("tried", [1, 2, 3])
def test_the_rest_is_counted_from_the_last_attempt(tried: int) -> None:
    runs = [replace(FAILED, at=NOON - MINUTE * 100 * n) for n in range(tried)]
    assert decide(*runs, now=NOON + PATIENCE.wait(tried) - timedelta(seconds=1)).waiting == (DAY,)
