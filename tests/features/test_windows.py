"""Counts and sums at moments against a plain loop, also where a place needs more than 64 bits."""

from datetime import UTC, datetime, timedelta

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import given, settings

from pipeline_assets.features.windows import Count, Timeline, Total

START = datetime(2025, 3, 1, tzinfo=UTC)
TIME = pl.Datetime("us", "UTC")
MANY = 2**30
"""Users enough that no span of days leaves room for them in 64 bits."""

times = st.integers(-5, 25).map(lambda count: START + timedelta(microseconds=count))
users = st.integers(0, 2)
spans = st.tuples(users, times, st.integers(0, 9), st.sampled_from([1, 1, 1, -1]))
asked = st.lists(st.tuples(users, st.integers(0, 20)), min_size=1, max_size=8)
numbers_of_users = st.sampled_from([3, MANY])


def timeline(count: int, span: timedelta = timedelta(microseconds=20)) -> Timeline:
    return Timeline(START, START + (timedelta(days=400) if count == MANY else span), count)


def places(line: Timeline, questions: list[tuple[int, int]]) -> pl.Series:
    rows = [(user, START + timedelta(microseconds=at)) for user, at in sorted(questions)]
    frame = pl.DataFrame(rows, schema={"user": pl.UInt32, "time": TIME}, orient="row")
    return frame.select(line.place(pl.col("user"), pl.col("time"))).to_series()


@settings(max_examples=100, deadline=None)
@given(st.lists(spans, max_size=30), asked, numbers_of_users)
def test_a_count_is_of_what_began_strictly_before_and_had_not_ended_before(events, questions, count):
    rows = [(user, at, at + timedelta(microseconds=length), weight) for user, at, length, weight in events]
    frame = pl.DataFrame(rows, schema={"user": pl.UInt32, "known": TIME, "end": TIME, "weight": pl.Int32}, orient="row")
    line = timeline(count)
    found = Count.of(line, frame, pl.col("known"), pl.col("end")).at(places(line, questions))
    assert found.dtype == pl.Int32
    assert found.to_list() == [
        sum(
            weight
            for owner, known, end, weight in rows
            if owner == user and known < START + timedelta(microseconds=at) <= end
        )
        for user, at in sorted(questions)
    ]


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.lists(spans, max_size=30), asked, numbers_of_users)
def test_a_total_is_of_the_values_that_have_started_and_not_stopped(values, questions, count):
    rows = [(user, at, at + timedelta(microseconds=length), 7 * length + 1) for user, at, length, _ in values]
    frame = pl.DataFrame(rows, schema={"user": pl.UInt32, "start": TIME, "stop": TIME, "value": pl.Int64}, orient="row")
    line = timeline(count)
    sums, numbers = Total.of(line, frame, pl.col("start"), pl.col("stop")).at(places(line, questions))
    inside = [
        [value for owner, start, stop, value in rows if owner == user and start < START + timedelta(microseconds=at) <= stop]
        for user, at in sorted(questions)
    ]
    assert sums.to_list() == [sum(held) for held in inside]
    assert numbers.to_list() == [len(held) for held in inside]


def test_places_take_64_bits_where_they_fit_and_128_where_they_do_not():
    assert places(timeline(3), [(0, 0)]).dtype == pl.Int64
    assert places(timeline(200_000, timedelta(days=365)), [(0, 0)]).dtype == pl.Int64
    assert places(timeline(MANY), [(0, 0)]).dtype == pl.Int128
    line = timeline(MANY)
    last = pl.select(line.place(pl.lit(MANY - 1), pl.lit(line.last, TIME))).item()
    assert last > 2**63
