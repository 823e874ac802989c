"""Drift: hand-worked values, and the same statistics by their plain definitions."""

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.versioning.diff.drift import FLOOR, OTHERS, ColumnMove, edges, ks, of_categories, of_numbers, psi


def ascending(values: list[float]) -> Any:
    return np.sort(np.array(values, dtype=np.float64))


def test_psi_of_two_bins_worked_by_hand() -> None:
    # shares 0.5, 0.5 and 0.25, 0.75: -0.25 ln 0.5 + 0.25 ln 1.5
    assert psi([5, 5], [1, 3]) == pytest.approx(0.25 * math.log(3))


def test_psi_of_equal_shares_is_zero_whatever_the_counts() -> None:
    assert psi([1, 3], [100, 300]) == 0


def test_psi_counts_an_empty_bin_as_the_floor() -> None:
    assert psi([1, 1], [2, 0]) == pytest.approx(0.5 * math.log(2) + (FLOOR - 0.5) * math.log(FLOOR / 0.5))


def test_ks_worked_by_hand() -> None:
    # before 1 2 3 4, after 3 4 5 6: at 2 one has half of its values, and the other none.
    assert ks(ascending([1, 2, 3, 4]), ascending([1, 2]), ascending([5, 6])) == 0.5


def test_ks_sees_a_distance_just_below_a_value() -> None:
    # before 0 0 1, after 0 1: below 1 the shares are 2/3 and 1/2.
    assert ks(ascending([0, 0, 1]), ascending([0]), ascending([])) == pytest.approx(2 / 3 - 1 / 2)


numbers = st.integers(-4, 4).map(float)


def share_up_to(sample: list[float], value: float) -> float:
    return sum(one <= value for one in sample) / len(sample)


@settings(deadline=None)
@given(st.data(), st.lists(numbers, min_size=1, max_size=30), st.lists(numbers, max_size=10))
def test_ks_from_what_has_moved_is_that_of_both_samples(data: Any, before: list[float], come: list[float]) -> None:
    gone = data.draw(st.lists(st.sampled_from(range(len(before))), unique=True, max_size=len(before) - (not come)))
    after = [value for number, value in enumerate(before) if number not in gone] + come
    found = ks(ascending(before), ascending([before[number] for number in gone]), ascending(come))
    distances = [abs(share_up_to(before, value) - share_up_to(after, value)) for value in {*before, *after}]
    assert found == pytest.approx(max(distances))


def test_the_bins_are_deciles_with_their_edges_inside() -> None:
    assert edges(ascending(list(range(1, 101)))).tolist() == [10, 20, 30, 40, 50, 60, 70, 80, 90]


def test_a_few_distinct_values_have_a_bin_each_and_one_on_either_side() -> None:
    constant = pl.Series("x", [3.0] * 10)
    none = constant.clear()
    assert of_numbers("x", ColumnMove(constant, none, none)).psi == 0
    for other in (2.0, 4.0):
        moved = of_numbers("x", ColumnMove(constant, constant, pl.Series("x", [other] * 10)))
        assert moved.psi > 10
        assert moved.ks == 1


def test_missing_values_are_a_bin_of_psi_and_stay_out_of_ks_and_mean() -> None:
    before = pl.Series("x", [1.0, 3.0, None, float("nan")])
    found = of_numbers(
        "x", ColumnMove(before, pl.Series("x", [None], dtype=pl.Float64), pl.Series("x", [], dtype=pl.Float64))
    )
    assert (found.missing_before, found.missing_after) == (0.5, pytest.approx(1 / 3))
    assert (found.ks, found.mean_before, found.mean_after) == (0, 2, 2)
    assert found.psi > 0


def test_a_column_without_values_has_neither_ks_nor_mean() -> None:
    empty = pl.Series("x", [None, None], dtype=pl.Int64)
    found = of_numbers("x", ColumnMove(empty, empty.clear(), pl.Series("x", [5])))
    assert (found.ks, found.mean_before, found.mean_after) == (None, None, 5)


@settings(deadline=None)
@given(st.lists(st.none() | numbers, max_size=20), st.lists(st.none() | numbers, max_size=9), st.integers(0, 20))
def test_the_picture_holds_every_value_that_is_there(before: list[float | None], come: list[float | None], cut: int) -> None:
    series = pl.Series("x", before, dtype=pl.Float64)
    found = of_numbers("x", ColumnMove(series, series.head(cut), pl.Series("x", come, dtype=pl.Float64)))
    after = [value for value in [*before[cut:], *come] if value is not None]
    assert sum(found.before) == pytest.approx(1 if series.drop_nulls().len() else 0)
    assert sum(found.after) == pytest.approx(1 if after else 0)
    assert len(found.bins) == len(found.before) == len(found.after)
    assert found.mean_after == (pytest.approx(np.mean(after), abs=1e-9) if after else None)


def test_infinite_values_count_and_break_no_picture() -> None:
    before = pl.Series("x", [1.0, 2.0, float("inf")])
    found = of_numbers("x", ColumnMove(before, before.clear(), pl.Series("x", [float("-inf")])))
    assert found.ks == pytest.approx(0.25)
    assert all(math.isfinite(share) for share in found.before + found.after)


def test_categories_are_compared_by_their_shares() -> None:
    found = of_categories("c", {"a": 5, "b": 5}, {"a": 1, "b": 3})
    assert found.psi == pytest.approx(0.25 * math.log(3))
    assert (found.bins, found.before, found.after) == (["a", "b"], [0.5, 0.5], [0.25, 0.75])


def test_many_categories_are_shown_as_the_largest_and_the_others() -> None:
    found = of_categories("c", {f"{n:02}": 1 for n in range(20)}, {None: 1})
    assert found.bins[-1] == OTHERS
    assert sum(found.before) == pytest.approx(1)
    assert found.missing_after == 1
