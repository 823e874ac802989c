"""Baselines that a model must beat: the mean, ridge on posting metadata, ridge on all features and the embedding.

Ridge needs only means and covariances (`Moments`), computed in one pass over the shards; the popularity model starts from
the same moments.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from pipeline_assets.training.model import feature_matrix
from pipeline_assets.training.model.scores import Scores, score
from pipeline_assets.training.shards.dataset import Batch, StagedRows, ordered_batches

ALPHAS: tuple[float, ...] = tuple(float(alpha) for alpha in np.logspace(-3, 3, 13))
"""Ridge penalties to try, for standardised columns and mean squared error."""


@dataclass(frozen=True)
class Moments:
    """Mean and covariance of [embedding, features, label]: D = E + F + 1 columns, float64."""

    rows: int
    mean: torch.Tensor  # (D,)
    covariance: torch.Tensor  # (D, D), divided by rows

    def transformed(self, matrix: torch.Tensor) -> "Moments":
        """Moments of the columns `x @ matrix`.  matrix: (D, D')."""
        return Moments(self.rows, self.mean @ matrix, matrix.T @ self.covariance @ matrix)


@dataclass(frozen=True)
class Ridge:
    """label = inputs[:, columns] @ weights + intercept, on raw columns."""

    columns: torch.Tensor  # (K,) int64, into [embedding, features]
    weights: torch.Tensor  # (K,) float64
    intercept: float
    validation_mse: float

    def predict(self, inputs: torch.Tensor) -> torch.Tensor:
        """Predictions (B,) float64 of inputs (B, E + F)."""
        return inputs[:, self.columns].double() @ self.weights + self.intercept


def moments(rows: StagedRows, device: str = "cpu") -> Moments:
    """Moments of a split, in one pass; rows: at least one.

    Batches multiply in float32 around the first batch's mean, and add up in float64.
    """
    count, shift = 0, torch.empty(0)
    total, products = torch.zeros(1), torch.zeros(1)
    for batch in ordered_batches(rows):
        table = torch.cat([inputs_of(batch), batch["label"][:, None]], dim=1).to(device)
        if count == 0:
            shift = table.double().mean(0).float()
            total = torch.zeros(table.shape[1], dtype=torch.float64, device=device)
            products = torch.zeros(table.shape[1], table.shape[1], dtype=torch.float64, device=device)
        table -= shift
        count += len(table)
        total += table.sum(0, dtype=torch.float64)
        products += table.T @ table
    mean = total / count
    return Moments(count, (mean + shift).cpu(), (products / count - torch.outer(mean, mean)).cpu())


def inputs_of(batch: Batch) -> torch.Tensor:
    """[embedding, features] of a batch, (B, E + F) float32."""
    return torch.cat([batch["embedding"], batch["features"]], dim=1)


def fit_ridge(train: Moments, validation: Moments, columns: torch.Tensor, penalties: Iterable[torch.Tensor]) -> Ridge:
    """Ridge regression of the label (the moments' last column) on `columns`, the best of `penalties` on validation.

    Minimises mean squared error + sum penalty_k w_k^2 over weights w of columns standardised by the training rows.
    columns: (K,) int64.  penalties: (K,) float64 each, above 0; of equal validation errors the first wins.
    """
    cross, label = train.covariance[columns, -1], train.covariance.shape[0] - 1
    deviation = _deviation(train, columns)
    correlation = train.covariance[columns][:, columns] / torch.outer(deviation, deviation)
    best: Ridge | None = None
    for penalty in penalties:
        factor = torch.linalg.cholesky(correlation + torch.diag(penalty))
        weights = torch.cholesky_solve((cross / deviation)[:, None], factor)[:, 0] / deviation
        intercept = float(train.mean[label] - train.mean[columns] @ weights)
        mse = _mean_squared_error(validation, columns, weights, intercept)
        if best is None or mse < best.validation_mse:
            best = Ridge(columns, weights, intercept, mse)
    if best is None:
        raise ValueError("give at least one penalty")
    return best


def baseline_scores(train: Moments, validation: Moments, test: StagedRows) -> dict[str, Scores]:
    """Scores on the test split of `mean` (of training labels), `metadata` (ridge on it alone) and `ridge` (on all)."""
    dim = test.embedding_dim
    metadata = torch.tensor(feature_matrix.positions(source="metadata")) + dim
    everything = torch.arange(dim + len(feature_matrix.NAMES))
    fitted = {
        name: fit_ridge(train, validation, columns, (torch.full((len(columns),), alpha).double() for alpha in ALPHAS))
        for name, columns in (("metadata", metadata), ("ridge", everything))
    }
    labels: list[torch.Tensor] = []
    predictions: dict[str, list[torch.Tensor]] = {name: [] for name in fitted}
    for batch in ordered_batches(test):
        labels.append(batch["label"].double())
        inputs = inputs_of(batch)
        for name, ridge in fitted.items():
            predictions[name].append(ridge.predict(inputs))
    label = torch.cat(labels).numpy()
    scores = {name: score(label, torch.cat(parts).numpy()) for name, parts in predictions.items()}
    return {"mean": score(label, np.full(label.shape, float(train.mean[-1]))), **scores}


def _deviation(train: Moments, columns: torch.Tensor) -> torch.Tensor:
    """Standard deviations (K,), 1 for a column that is constant over the training rows: its weight is then 0."""
    variance = train.covariance.diagonal()[columns].clamp(min=0)
    # Rounding leaves a constant column a variance near 1e-14 of its square.
    constant = variance <= 1e-9 * (1e-6 + train.mean[columns] ** 2)
    return torch.where(constant, 1.0, variance.sqrt())


def _mean_squared_error(moments: Moments, columns: torch.Tensor, weights: torch.Tensor, intercept: float) -> float:
    """Error of the linear prediction from moments: variance plus squared mean of the residual."""
    label = moments.covariance.shape[0] - 1
    inner = moments.covariance[columns][:, columns]
    variance = (
        moments.covariance[label, label] - 2 * weights @ moments.covariance[columns, label] + weights @ inner @ weights
    )
    bias = moments.mean[label] - moments.mean[columns] @ weights - intercept
    return float(variance + bias**2)
