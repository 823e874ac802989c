"""Split conformal intervals: the finite-sample rank, and the coverage that folds measure."""

import numpy as np
import pytest

from pipeline_assets.training.model.intervals import half_width, measured_coverage


def test_the_half_width_is_the_rank_of_n_plus_one() -> None:
    assert half_width(np.array([-3.0, 1, 2, -4, 5, 6, 7, -8, 9]), 0.9) == 9  # ceil(10 * 0.9) = 9, of |residuals|
    assert half_width(np.arange(1.0, 20), 0.9) == 18  # ceil(20 * 0.9) = 18


@pytest.mark.parametrize("count", [0, 1, 8])
def test_too_few_residuals_give_no_interval(count: int) -> None:
    assert half_width(np.arange(float(count)), 0.9) is None
    assert measured_coverage(np.arange(float(count)), 0.9) is None


def test_new_residuals_lie_within_as_often_as_promised() -> None:
    random = np.random.default_rng(0)
    inside = []
    for _ in range(400):
        width = half_width(random.standard_t(3, 60), 0.9)
        assert width is not None
        inside.append(np.mean(np.abs(random.standard_t(3, 60)) <= width))
    assert 0.9 <= np.mean(inside) < 0.92  # between 1 - a and 1 - a + 1 / (n + 1)
    assert measured_coverage(random.standard_t(3, 2000), 0.9) == pytest.approx(0.9, abs=0.02)
