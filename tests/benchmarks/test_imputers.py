import numpy as np
import pytest

from benchmarks.imputers import IMPUTERS, bias, by_mean, by_neighbours, by_regression, error

LINE = np.column_stack([np.arange(40.0), 3 * np.arange(40.0) + 1])


def with_gap(row, column):
    values = LINE.copy()
    values[row, column] = np.nan
    return values


def test_each_guesses_as_its_name_says():
    gap = with_gap(20, 1)
    assert by_mean(gap)[20, 1] == pytest.approx(np.nanmean(gap[:, 1]))
    assert by_neighbours(gap)[20, 1] == pytest.approx(LINE[[15, 16, 17, 18, 19, 21, 22, 23, 24, 25], 1].mean())
    assert by_regression(gap)[20, 1] == pytest.approx(LINE[20, 1], abs=0.2)


@pytest.mark.parametrize("name", IMPUTERS)
def test_what_is_known_stays(name):
    gap = with_gap(3, 0)
    guessed = IMPUTERS[name](gap)
    assert np.isfinite(guessed).all()
    np.testing.assert_allclose(guessed[~np.isnan(gap)], gap[~np.isnan(gap)])


def test_error_and_bias_are_in_standard_deviations_of_deleted_cells():
    truth = np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 3.0]])
    deleted = np.zeros((3, 2), dtype=bool)
    deleted[2, 0] = True
    guessed = np.where(deleted, 2.0, truth)
    deviation = np.array([0.0, 2.0, 4.0]).std()
    assert error(truth, guessed, deleted) == pytest.approx(2 / deviation)
    assert bias(truth, deleted) == pytest.approx((4 - 1) / deviation)
