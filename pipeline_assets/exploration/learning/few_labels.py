"""Classes from few labels: a linear probe and nearest neighbours on embeddings. Arrays in, arrays out; no torch."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

PENALTY = 0.01
"""Of half the sum of squared weights, beside the sum of the rows' losses: inputs have unit length."""
ITERATIONS = 200
ALPHA, NEIGHBOURS, SPREADING_STEPS = 0.9, 7, 50
"""Of spreading: the share of a row's label that comes from its neighbours, and how many these are."""
_CHUNK = 1024


@dataclass(frozen=True, eq=False)
class Probe:
    """A softmax regression on unit vectors. weights: (D + 1, K); the last row is the bias."""

    weights: Doubles

    def probabilities(self, embeddings: Floats) -> Doubles:
        """(N, D) -> (N, K)."""
        return softmax(_with_bias(unit(embeddings)) @ self.weights)


def probe(
    embeddings: Floats, labels: Ints, weights: Doubles | None = None, *, classes: int, penalty: float = PENALTY
) -> Probe:
    """Softmax regression with weight decay, by L-BFGS; it has one solution, which no seed or order of rows changes.

    embeddings: (N, D), N > 0; labels: (N,) in [0, classes); weights: of each row in the loss,
    1 by default. A class without labels is only ever improbable.
    Raises ValueError for no rows, or values that are not finite.
    """
    from scipy.optimize import minimize

    if not len(embeddings) or not np.isfinite(embeddings).all():
        raise ValueError("a probe needs at least one row, and finite embeddings: set others aside before")
    inputs, basis = _within_span(unit(embeddings).astype(np.float64))
    weight = (np.ones(len(labels)) if weights is None else weights)[:, None]
    wanted = np.eye(classes)[labels]

    def loss(flat: Doubles) -> tuple[float, Doubles]:
        current = flat.reshape(-1, classes)
        found = softmax(inputs @ current[:-1] + current[-1])
        value = -(weight * wanted * np.log(found + 1e-300)).sum() + penalty * (current**2).sum() / 2
        slope = weight * (found - wanted)
        return float(value), (np.vstack([inputs.T @ slope, slope.sum(axis=0)]) + penalty * current).ravel()

    start = np.zeros((inputs.shape[1] + 1) * classes)
    solved = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS}).x.reshape(-1, classes)
    return Probe(np.vstack([basis.T @ solved[:-1], solved[-1]]))


def nearest(known: Floats, labels: Ints, asked: Floats) -> Ints:
    """The label of the most similar known row by cosine, (M,); of equally similar ones the first.

    known: (N, D), N > 0; labels: (N,); asked: (M, D). Raises ValueError for no known row.
    """
    if not len(known):
        raise ValueError("nearest neighbours need at least one known row")
    towards = unit(known).T
    parts = [labels[(unit(part) @ towards).argmax(axis=1)] for part in _chunks(asked)]
    return np.concatenate(parts) if parts else labels[:0]


def spread(known: Floats, labels: Ints, others: Floats, asked: Floats, classes: int, alpha: float = ALPHA) -> Doubles:
    """Shares of classes among the nearest rows of each asked one, (M, K), after labels have spread over all other rows.

    known: (N, D), N > 0; labels: (N,); others: (U, D) without labels. Memory grows with the square of N + U. A row that no
    label reaches has equal shares. Source: Zhou et al. 2004, "Learning with local and global consistency".
    Raises ValueError for no known row.
    """
    if not len(known):
        raise ValueError("labels spread from at least one known row")
    rows = unit(np.concatenate([known, others]))
    # Embeddings after a ReLU all point one way.
    mean = rows.mean(axis=0)
    rows = unit(rows - mean)
    similar = rows @ rows.T
    np.fill_diagonal(similar, -np.inf)
    graph = _nearest_of(similar, min(NEIGHBOURS, len(rows) - 1))
    graph = np.maximum(graph, graph.T)
    degree = np.sqrt(np.maximum(graph.sum(axis=1), 1e-12))
    given = np.zeros((len(rows), classes))
    given[np.arange(len(labels)), labels] = 1
    shares = given
    for _ in range(SPREADING_STEPS):
        shares = alpha * ((graph @ (shares / degree[:, None])) / degree[:, None]) + (1 - alpha) * given
    near = _nearest_of(unit(unit(asked) - mean) @ rows.T, min(NEIGHBOURS, len(rows)))
    votes = near @ (shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-12)) + 1e-12
    return np.asarray(votes / votes.sum(axis=1, keepdims=True))


def _nearest_of(similar: Floats, count: int) -> Doubles:
    """The similarities (N, M), with 0 for all but the `count` largest of each row, and for those below 0."""
    kept = np.zeros(similar.shape)
    if count > 0:
        at = np.argpartition(-similar, count - 1, axis=1)[:, :count]
        np.put_along_axis(kept, at, np.maximum(np.take_along_axis(similar, at, axis=1), 0), axis=1)
    return kept


def draw(labels: Ints, per_class: int | None, rng: np.random.Generator) -> Ints:
    """Ascending row numbers of `per_class` rows of each class, or of all there are; None: of all rows."""
    if per_class is None:
        return np.arange(len(labels))
    chosen = [rng.permutation(np.flatnonzero(labels == label))[:per_class] for label in np.unique(labels)]
    return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, np.int64)


def out_of_fold(groups: Ints, folds: int, rng: np.random.Generator) -> Ints:
    """The fold of each row, in [0, folds): rows of one group share one, and folds have about as many groups each."""
    names, group = np.unique(groups, return_inverse=True)
    return (rng.permutation(len(names)) % folds)[group].astype(np.int64)


def unit(embeddings: Floats) -> Floats:
    """Rows of length 1; rows of zeros stay."""
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return (embeddings / np.where(norms > 0, norms, 1)).astype(np.float32)


def softmax(scores: Doubles) -> Doubles:
    """Probabilities along the last axis."""
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def _within_span(inputs: Doubles) -> tuple[Doubles, Doubles]:
    """Coordinates (N, R) of the rows in an orthonormal basis (R, D) of their span: the best weights lie in it.

    Source: the representer theorem, Schoelkopf, Herbrich and Smola 2001. Few rows of many columns make a small problem.
    """
    if len(inputs) >= inputs.shape[1]:
        return inputs, np.eye(inputs.shape[1])
    basis, coordinates = np.linalg.qr(inputs.T)
    return coordinates.T, basis.T


def _with_bias(inputs: Floats) -> Doubles:
    return np.hstack([inputs, np.ones((len(inputs), 1))]).astype(np.float64)


def _chunks(rows: Floats) -> list[Floats]:
    return [rows[at : at + _CHUNK] for at in range(0, len(rows), _CHUNK)]
