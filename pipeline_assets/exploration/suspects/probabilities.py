"""What a label probably is, judged by other items alone. Pure functions of arrays.

Each item is judged by its nearest items of other families, at three scales, and by the class that a campaign's model
proposes where there is one: experts, whose logarithms are added with one weight each. The weights are those that explain the
given labels best if one in twenty is wrong. No item has a say in its own probability, but for its part in these few weights.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from pipeline_assets.exploration.suspects.neighbours import Floats, Ints, Nearest

SCALES = (5, 15, 40)
"""Nearest items that vote."""
SHARPNESS = 3.0
"""A vote's weight is exp(SHARPNESS x similarity)."""
NOISE = 0.05
"""Share of labels that are taken to be wrong while weights are fitted."""
FITTED_ROWS = 4_000


def probabilities(given: Ints, classes: int, near: Nearest, proposed: Floats | None = None) -> Floats:
    """Probability of each class, (N, C). given: class numbers (N,); near: at least max(SCALES) where there are so many.

    proposed: (N, C), of a model that knew no label; rows that sum to 0 propose nothing.
    """
    experts = [np.log(_votes(given, classes, near, scale)) for scale in SCALES]
    if proposed is not None:
        experts.append(_log_proposal(proposed))
    weights = _weights([expert[:FITTED_ROWS] for expert in experts], given[:FITTED_ROWS])
    total = np.zeros_like(experts[0])
    for weight, expert in zip(weights, experts, strict=True):
        total += np.float32(weight) * expert
    return _softmax(total)


def _votes(given: Ints, classes: int, near: Nearest, scale: int) -> Floats:
    """Shares of the classes among the nearest, with the classes' frequencies as one more vote."""
    similarity = near.similarity[:, :scale].astype(np.float64)
    with np.errstate(invalid="ignore"):
        weight = np.exp(SHARPNESS * (similarity - similarity[:, :1]))
    weight = np.where(np.isfinite(similarity), weight, 0)
    place = np.arange(len(given))[:, None] * classes + given[near.rows[:, :scale]]
    votes = np.bincount(place.ravel(), weight.ravel(), minlength=len(given) * classes).reshape(len(given), classes)
    frequency = np.bincount(given, minlength=classes) / max(len(given), 1)
    # Half a vote for each class as if one more item had it: a class that nobody has near is not impossible.
    prior = (frequency + 1 / len(given)) / (1 + classes / len(given))
    shares: Floats = ((votes + prior) / (votes.sum(axis=1, keepdims=True) + 1)).astype(np.float32)
    return shares


def _log_proposal(proposed: Floats) -> Floats:
    """Logarithms of proposals, of which one in a hundred is left for classes not proposed."""
    classes = proposed.shape[1]
    total = proposed.sum(axis=1, keepdims=True)
    mixed = np.where(total > 0, proposed + 0.01, 1 / classes)
    logs: Floats = np.log(mixed / mixed.sum(axis=1, keepdims=True)).astype(np.float32)
    return logs


def _weights(experts: Sequence[Floats], given: Ints) -> npt.NDArray[np.float64]:
    """One weight an expert, at least 0: the most likely ones, a little drawn to 1."""
    stacked = np.stack(experts, axis=2).astype(np.float64)
    rows, classes, count = stacked.shape
    own = stacked[np.arange(rows), given]

    def loss(weights: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        probability = _softmax(stacked @ weights)
        right = probability[np.arange(rows), given]
        noisy = (1 - NOISE) * right + NOISE / classes
        slope = (1 - NOISE) * right / noisy
        expected = np.einsum("nk,nkm->nm", probability, stacked)
        gradient = -(slope[:, None] * (own - expected)).mean(axis=0)
        return float(-np.log(noisy).mean() + 1e-3 * ((weights - 1) ** 2).sum()), gradient + 2e-3 * (weights - 1)

    found = minimize(loss, np.ones(count), jac=True, method="L-BFGS-B", bounds=[(0, None)] * count)
    weights: npt.NDArray[np.float64] = found.x
    return weights


def _softmax(logits: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)
