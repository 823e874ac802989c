"""Summaries of values: what they promise, whatever the order and the batches that the values come in."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.exploration.profiles.sketch import BINS, Distinct, Histogram, Numbers, Values

finite = st.floats(allow_nan=False, allow_infinity=False)
lists = st.lists(st.one_of(finite, st.integers(-4000, 4000).map(float)), min_size=1, max_size=60)


def numbers_of(*batches: list[float] | np.ndarray) -> Numbers:
    numbers = Numbers()
    for batch in batches:
        numbers.add(np.array(batch, dtype=np.float64))
    return numbers


def bins(numbers: Numbers) -> list[tuple[float, float, int]]:
    histogram = numbers.histogram()
    return list(zip(histogram.low.tolist(), histogram.high.tolist(), histogram.rows.tolist(), strict=True))


@settings(max_examples=40)
@given(lists, st.data())
def test_neither_the_order_nor_the_batches_change_a_histogram(values: list[float], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(values))
    cut = data.draw(st.integers(0, len(values)))
    assert bins(numbers_of(values)) == bins(numbers_of(shuffled[:cut], shuffled[cut:]))


@settings(max_examples=40)
@given(lists)
def test_a_histogram_has_every_value_once_in_bins_that_do_not_overlap(values: list[float]) -> None:
    histogram = numbers_of(values).histogram()
    assert histogram.total == len(values)
    assert (histogram.low <= histogram.high).all()
    assert (histogram.high[:-1] < histogram.low[1:]).all()


@settings(max_examples=40)
@given(st.lists(st.integers(-4000, 4000), min_size=1, max_size=60))
def test_whole_numbers_come_back_as_they_are(values: list[int]) -> None:
    found = {low: rows for low, _, rows in bins(numbers_of([float(value) for value in values]))}
    assert found == {float(value): values.count(value) for value in values}


def test_few_values_far_from_zero_are_told_apart() -> None:
    values = 1e6 + np.random.default_rng(0).standard_normal(100_000)
    histogram = numbers_of(values).histogram()
    assert np.abs(histogram.quantiles(np.array([0.25, 0.5, 0.75])) - np.quantile(values, [0.25, 0.5, 0.75])).max() < 0.01


def test_a_large_day_has_bins_of_equal_shares_and_a_frequent_value_has_its_own() -> None:
    generator = np.random.default_rng(0)
    values = np.concatenate([generator.standard_normal(150_000), np.full(50_000, 0.5)])
    numbers = numbers_of(*np.array_split(values, 7))
    histogram = numbers.histogram()
    own = np.flatnonzero((histogram.low == 0.5) & (histogram.high == 0.5))
    assert histogram.rows[own[0]] >= 50_000
    assert np.delete(histogram.rows, own).max() <= 2 * len(values) / BINS
    assert len(histogram.rows) <= BINS + 3
    found = histogram.quantiles(np.array([0.01, 0.3, 0.7, 0.99]))
    assert np.abs(found - np.quantile(values, [0.01, 0.3, 0.7, 0.99])).max() < 0.02
    assert histogram.share_up_to(np.array([-10.0, 0.4999, 0.5, 10.0])).round(3).tolist() == pytest.approx(
        [0.0, (values <= 0.4999).mean(), (values <= 0.5).mean(), 1.0], abs=0.005
    )


@settings(max_examples=40)
@given(lists, lists)
def test_moments_of_batches_are_those_of_all_values(first: list[float], second: list[float]) -> None:
    first, second = ([value for value in values if abs(value) < 1e100] for values in (first, second))
    numbers, values = numbers_of(first, second), np.array(first + second)
    assert numbers.rows == len(values)
    mean, std = numbers.moments()
    if len(values):
        assert (numbers.smallest, numbers.largest) == (values.min(), values.max())
        assert mean == pytest.approx(values.mean(), rel=1e-9, abs=1e-9 * np.abs(values).max() + 1e-150)
    if len(values) > 1:
        assert std == pytest.approx(values.std(ddof=1), rel=1e-6, abs=1e-6 * np.abs(values).max() + 1e-150)


@settings(max_examples=100)
@given(st.one_of(lists, st.tuples(finite, st.integers(1, 60)).map(lambda repeated: [repeated[0]] * repeated[1])), st.data())
def test_neither_the_order_nor_the_batches_change_moments(values: list[float], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(values))
    first, second = sorted(data.draw(st.tuples(*[st.integers(0, len(values))] * 2)))
    assert numbers_of(values).moments() == numbers_of(shuffled[:first], shuffled[first:second], shuffled[second:]).moments()


@pytest.mark.parametrize("cut", [0, 1, 3, 10, 29])
def test_a_constant_has_no_deviation_and_is_its_own_mean(cut: int) -> None:
    values = [0.1234567890123] * 30
    assert numbers_of(values[:cut], values[cut:]).moments() == (values[0], 0.0)


def test_a_mean_that_is_zero_but_for_noise_is_zero() -> None:
    assert numbers_of([0.1, 0.2, -0.3]).moments()[0] == 0.0
    assert numbers_of([0.3, -0.1], [-0.2]).moments()[0] == 0.0


def test_a_mean_halfway_between_two_rounded_ones_goes_one_way() -> None:
    """1 / 2^10 has ten decimals, and ends in 5."""
    values = [1.0] + [0.0] * 1023
    means = {numbers_of(values[::-1][:cut], values[::-1][cut:]).moments()[0] for cut in range(0, 1024, 31)}
    assert means == {0.000976563}


def test_numbers_beyond_all_measure_have_no_moments_and_break_nothing() -> None:
    numbers = numbers_of([1.7e308, -1.7e308, 5e-324, 0.0, -0.0])
    assert numbers.rows == 5
    assert numbers.moments() == (None, None)
    assert [rows for _, _, rows in bins(numbers)] == [1, 3, 1]


def test_no_number_has_no_moments_and_one_has_no_deviation() -> None:
    assert Numbers().moments() == (None, None)
    assert numbers_of([0.5]).moments() == (0.5, None)


def test_no_values_have_no_quantiles() -> None:
    histogram = Numbers().histogram()
    assert histogram.total == 0
    assert math.isnan(histogram.quantiles(np.array([0.5]))[0])
    assert Histogram.empty().share_up_to(np.array([1.0])).tolist() == [0.0]


def test_few_distinct_values_are_counted_and_a_million_are_estimated() -> None:
    few = Distinct()
    for _ in range(3):
        few.add(pl.Series(["a", "b", "c"] * 50_000))
    assert few.count() == (3, True)
    many = Distinct()
    for start in range(0, 1_000_000, 250_000):
        many.add(pl.Series(range(start, start + 250_000)))
    count, is_exact = many.count()
    assert not is_exact
    assert count == pytest.approx(1_000_000, rel=0.1)


@settings(max_examples=40)
@given(st.lists(st.integers(), max_size=40), st.data())
def test_distinct_values_are_the_same_of_any_batches(values: list[int], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(values)))
    distinct = Distinct()
    for batch in (values[:cut], values[cut:]):
        distinct.add(pl.Series([str(value) for value in batch], dtype=pl.String))
    assert distinct.count() == (len(set(values)), True)


def test_the_most_frequent_values_come_first_and_ties_in_their_order() -> None:
    values = Values()
    values.add(pl.Series(["b", "a", "c", "b"]))
    values.add(pl.Series(["c", "d"]))
    assert values.count == 4
    assert values.most(3) == (["b", "c", "a"], [2, 2, 1])
    assert Values().most(3) == ([], [])
