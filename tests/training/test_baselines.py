from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from simulated_rows import training_rows

from pipeline_assets.training.model import feature_matrix
from pipeline_assets.training.model.baselines import Moments, fit_ridge, inputs_of, moments
from pipeline_assets.training.model.scores import Scores, oracle_scores, r_squared, score, spearman
from pipeline_assets.training.shards.dataset import StagedRows
from pipeline_assets.training.shards.staging import stage
from pipeline_assets.training.shards.staging_plan import plan

COLUMN = arrays(np.float64, 12, elements=st.integers(-20, 20).map(float))


def test_r_squared_by_hand() -> None:
    # Residuals 0, 1, 0, 1: 2. Around the mean 2.5: 2.25 + 0.25 + 0.25 + 2.25 = 5.
    assert r_squared([1, 2, 3, 4], [1, 3, 3, 5]) == pytest.approx(1 - 2 / 5)
    assert r_squared([1, 2, 3, 4], [1, 2, 3, 4]) == 1
    assert r_squared([1, 2, 3, 4], [2.5] * 4) == 0
    assert r_squared([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(1 - 20 / 5)


def test_r_squared_of_equal_labels_is_one_if_exact_and_else_zero() -> None:
    assert (r_squared([2, 2], [2, 2]), r_squared([2, 2], [2, 3]), r_squared([2], [5])) == (1, 0, 0)


def test_spearman_by_hand() -> None:
    # Rank differences -1, 1, -1, 1, 0: 1 - 6 * 4 / (5 * 24).
    assert spearman([1, 2, 3, 4, 5], [20, 10, 40, 30, 50]) == pytest.approx(0.8)
    # Ties: ranks 1.5, 1.5, 3 against 1, 2, 3.
    assert spearman([7, 7, 9], [1, 2, 3]) == pytest.approx(1.5 / (1.5 * 2) ** 0.5)


@pytest.mark.parametrize(("label", "prediction"), [([1], [1]), ([1, 2], [3, 3]), ([2, 2], [1, 3])])
def test_spearman_is_null_where_it_is_undefined(label: list[float], prediction: list[float]) -> None:
    assert spearman(label, prediction) is None


@given(COLUMN, COLUMN)
def test_spearman_sees_the_order_alone_and_stays_in_bounds(label: np.ndarray, prediction: np.ndarray) -> None:
    rho = spearman(label, prediction)
    assert rho is None or -1 - 1e-12 <= rho <= 1 + 1e-12
    assert spearman(label, np.exp(prediction)) == pytest.approx(rho)
    assert spearman(prediction, label) == pytest.approx(rho)


@pytest.mark.parametrize(("label", "prediction"), [([], []), ([1, 2], [1]), ([[1.0]], [[1.0]])])
def test_scores_refuse_what_are_not_two_equal_columns(label: list[float], prediction: list[float]) -> None:
    with pytest.raises(ValueError, match="two equal, non-empty columns"):
        score(label, prediction)


PREDICTIONS = pl.DataFrame({"photo_id": [3, 1, 2, 4], "popularity": [3.0, 1, 2, 4], "prediction": [0.0] * 4})


def test_the_oracle_is_scored_on_the_predicted_photos_alone() -> None:
    truth = pl.DataFrame({"photo_id": [1, 2, 3, 4, 5], "expected_popularity": [1.0, 3, 3, 5, 99]})
    assert oracle_scores(PREDICTIONS, truth) == Scores(pytest.approx(0.6), pytest.approx(4.5 / (5 * 4.5) ** 0.5))


def test_the_oracle_has_no_score_where_a_truth_is_unknown() -> None:
    truth = pl.DataFrame({"photo_id": [1, 2, 3], "expected_popularity": [1.0, 2, 3]})
    assert oracle_scores(PREDICTIONS, truth) is None
    assert oracle_scores(PREDICTIONS, truth.clear()) is None
    nulls = pl.DataFrame({"photo_id": [1, 2, 3, 4], "expected_popularity": [1.0, 2, 3, None]})
    assert oracle_scores(PREDICTIONS, nulls) is None


def moments_of(table: np.ndarray) -> Moments:
    x = torch.from_numpy(table).double()
    return Moments(len(x), x.mean(0), torch.cov(x.T, correction=0))


def test_moments_of_shards_are_those_of_the_columns(tmp_path: Path) -> None:
    rows = training_rows(400).with_columns(pl.col("sharpness") * 1000 + 50_000)
    stage(rows.lazy(), tmp_path, plan(rows.lazy(), table_version=1, shard_rows=50))
    staged = StagedRows(tmp_path, "train")
    batch = staged.__getitems__(range(len(staged)))
    expected = moments_of(torch.cat([inputs_of(batch), batch["label"][:, None]], 1).numpy())
    found = moments(staged)
    assert found.rows == len(staged)
    torch.testing.assert_close(found.mean, expected.mean, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.covariance, expected.covariance, rtol=1e-4, atol=1e-5)


def test_ridge_solves_its_equations_by_hand() -> None:
    # x has deviation 1 and covariance 2 with y: weight 2 / (1 + penalty); the mean of y is 5, of x 1.
    train = moments_of(np.array([[0.0, 3.0], [2.0, 7.0]]))
    ridge = fit_ridge(train, train, torch.tensor([0]), [torch.tensor([1.0]).double()])
    assert ridge.weights.tolist() == pytest.approx([1])
    assert ridge.intercept == pytest.approx(4)
    assert ridge.predict(torch.tensor([[0.0], [2.0]])).tolist() == pytest.approx([4, 6])
    assert ridge.validation_mse == pytest.approx(1)


def test_ridge_takes_the_penalty_that_is_best_on_validation() -> None:
    train = moments_of(np.array([[0.0, 3.0], [2.0, 7.0]]))
    flatter = moments_of(np.array([[0.0, 4.0], [2.0, 6.0]]))
    penalties = [torch.tensor([alpha]).double() for alpha in (0.01, 1.0, 100.0)]
    assert fit_ridge(train, flatter, torch.tensor([0]), penalties).weights.tolist() == pytest.approx([1])
    with pytest.raises(ValueError, match="penalty"):
        fit_ridge(train, flatter, torch.tensor([0]), [])


def test_a_column_that_is_constant_in_training_gets_no_weight() -> None:
    train = moments_of(np.array([[0.0, 3e4, 3.0], [2.0, 3e4, 7.0], [4.0, 3e4, 8.0]]))
    ridge = fit_ridge(train, train, torch.tensor([0, 1]), [torch.tensor([0.1, 0.1]).double()])
    assert ridge.weights[1] == 0
    assert ridge.weights[0] > 1


def test_ridge_recovers_a_straight_line(tmp_path: Path) -> None:
    rows = training_rows(2000, noise=0.0, dim=8)
    stage(rows.lazy(), tmp_path, plan(rows.lazy(), table_version=1))
    train, validation = (moments(StagedRows(tmp_path, split)) for split in ("train", "validation"))
    columns = torch.arange(8 + len(feature_matrix.NAMES))
    ridge = fit_ridge(train, validation, columns, [torch.full((len(columns),), 1e-4).double()])
    assert ridge.weights[8 + feature_matrix.NAMES.index("log_followers_at_post")] == pytest.approx(0.6, abs=0.03)
    assert ridge.weights[8 + feature_matrix.NAMES.index("posted_hour_cos")] == pytest.approx(0.5, abs=0.03)
