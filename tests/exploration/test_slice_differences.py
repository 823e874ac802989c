"""Whether errors are larger inside, where those of one user depend on each other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline_assets.exploration.several_tests import holm
from pipeline_assets.exploration.slices.differences import difference


def test_with_one_row_a_user_it_is_nearly_welchs_test():
    random = np.random.default_rng(0)
    errors, inside = random.exponential(size=400), np.arange(400) < 150
    errors[inside] += 0.2
    found = difference(errors, np.arange(400), inside)
    welch = stats.ttest_ind(errors[inside], errors[~inside], equal_var=False, alternative="greater")
    assert found.t == pytest.approx(welch.statistic, rel=0.01)
    assert found.p == pytest.approx(welch.pvalue, abs=0.002)
    assert found.effect == pytest.approx(errors[inside].mean() - errors[~inside].mean())
    assert found.low < found.effect < found.high


def test_the_same_errors_of_few_users_prove_less():
    random = np.random.default_rng(0)
    errors, inside = random.exponential(size=400) + 0.5 * (np.arange(400) < 200), np.arange(400) < 200
    alone = difference(errors, np.arange(400), inside)
    shared = difference(errors, np.arange(400) // 40, inside)
    assert alone.effect == shared.effect
    assert shared.p > alone.p


@pytest.mark.parametrize("inside", [[False] * 4, [True] * 4, [True, True, False, False]])
def test_a_side_of_no_row_or_of_one_user_tells_nothing(inside):
    assert difference(np.arange(4.0), np.array([0, 0, 1, 2]), np.array(inside)) is None


def test_errors_that_are_all_equal_are_no_weakness():
    found = difference(np.ones(8), np.arange(8), np.arange(8) < 4)
    assert (found.effect, found.p) == (0, 1)


@pytest.mark.slow
def test_p_of_users_whose_errors_differ_is_uniform_where_nothing_is_worse():
    """And at most so: 400 tables of 60 users with unequal numbers of photos, whose errors are skewed."""
    random, p_values = np.random.default_rng(3), []
    for _ in range(400):
        users = random.choice(60, 600, p=(weights := random.gamma(1, 1, 60)) / weights.sum())
        errors = random.exponential(size=600) * np.exp(random.normal(0, 0.5, 60))[users]
        found = difference(errors, users, (users % 4 == 0) | (random.random(600) < 0.1))
        p_values.append(found.p)
    for level in (0.01, 0.05, 0.2):
        assert np.mean(np.array(p_values) <= level) < level + 3 * np.sqrt(level * (1 - level) / 400)


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_corrects_each_for_all_and_keeps_their_order(p_values):
    corrected = holm(p_values).tolist()
    assert len(corrected) == len(p_values)
    assert all(p <= other <= 1 for p, other in zip(p_values, corrected, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert np.all(np.diff(np.array(corrected)[order]) >= 0)
    if p_values:
        assert min(corrected) == pytest.approx(min(1, min(p_values) * len(p_values)))


def test_holm_of_a_worked_example():
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
