"""How well predictions fit: R2 and Spearman's rank correlation, and the oracle's score where the truth is known."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl


class Scores(NamedTuple):
    """R2 (1 is perfect, 0 the mean of the scored rows, negative worse) and Spearman in [-1, 1], null if undefined."""

    r2: float
    spearman: float | None


def r_squared(label: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """1 - sum (y - p)^2 / sum (y - mean y)^2, the coefficient of determination.

    label, prediction: (N,), N >= 1. Where all labels are equal the ratio is undefined, and it is 1 if every
    prediction is exact and else 0, as scikit-learn's `r2_score(force_finite=True)` has it.
    Raises ValueError for empty or unequal lengths.
    """
    y, p = _pair(label, prediction)
    residual, total = float(((y - p) ** 2).sum()), float(((y - y.mean()) ** 2).sum())
    if total == 0.0:
        return 1.0 if residual == 0.0 else 0.0
    return 1.0 - residual / total


def spearman(label: npt.ArrayLike, prediction: npt.ArrayLike) -> float | None:
    """Pearson correlation of the ranks, ties sharing their mean rank; null for under 2 rows or a constant side.

    label, prediction: (N,), N >= 1.  Raises ValueError for empty or unequal lengths.
    """
    y, p = (pl.Series(values).rank("average").to_numpy() for values in _pair(label, prediction))
    y, p = y - y.mean(), p - p.mean()
    norm = float(np.sqrt((y**2).sum() * (p**2).sum()))
    return float((y * p).sum()) / norm if norm > 0.0 else None


def score(label: npt.ArrayLike, prediction: npt.ArrayLike) -> Scores:
    """Both scores of (N,) predictions."""
    return Scores(r_squared(label, prediction), spearman(label, prediction))


def oracle_scores(predictions: pl.DataFrame, truth: pl.DataFrame) -> Scores | None:
    """Scores that the simulator's own expectation reaches on the photos of `predictions`: the best a model can hope for.

    predictions: photo_id, popularity (the label).  truth: photo_id, expected_popularity.
    Null unless the truth of every predicted photo is known, as for real data.
    """
    with_truth = predictions.select("photo_id", "popularity").join(
        truth.select("photo_id", "expected_popularity"), on="photo_id", how="inner", validate="1:1"
    )
    if with_truth.is_empty() or with_truth.height < predictions.height or with_truth["expected_popularity"].has_nulls():
        return None
    return score(with_truth["popularity"].to_numpy(), with_truth["expected_popularity"].to_numpy())


def _pair(label: npt.ArrayLike, prediction: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    y, p = np.asarray(label, np.float64), np.asarray(prediction, np.float64)
    if y.ndim != 1 or y.shape != p.shape or not y.size:
        raise ValueError(f"labels {y.shape} and predictions {p.shape} must be two equal, non-empty columns")
    return y, p
