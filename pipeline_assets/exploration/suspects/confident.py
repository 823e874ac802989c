"""Which labels are wrong, by confident learning. Pure functions of arrays.

Source: Northcutt, Jiang, Chuang 2021, Confident Learning: Estimating Uncertainty in Dataset Labels, with pruning by noise
rate. Out-of-sample probabilities are given; no model is trained here.
"""

import numpy as np
import numpy.typing as npt

Probabilities = npt.NDArray[np.floating]
Classes = npt.NDArray[np.int64]


def margins(probability: Probabilities, given: Classes) -> npt.NDArray[np.float64]:
    """How much more probable than the given class the best other one is, in [-1, 1]: what to ask first."""
    rows = np.arange(len(given))
    others = probability.astype(np.float64)
    own = others[rows, given].copy()
    others[rows, given] = -np.inf
    return others.max(axis=1, initial=-np.inf) - own


def confident_joint(probability: Probabilities, given: Classes) -> npt.NDArray[np.int64]:
    """How many items of each given class (row) are probably of each class (column): (C, C), rows sum to the given counts.

    An item is counted for the most probable of the classes whose threshold its probability reaches; the threshold is the
    mean probability of the class among the items that have it.
    """
    rows, classes = probability.shape
    counts = np.bincount(given, minlength=classes)
    own = probability[np.arange(rows), given].astype(np.float64)
    threshold = np.bincount(given, own, minlength=classes) / np.maximum(counts, 1)
    reaches = (probability >= threshold) & (counts > 0)
    best = np.where(reaches, probability, -1.0).argmax(axis=1)
    counted = reaches.any(axis=1)
    joint = (
        np.bincount(given[counted] * classes + best[counted], minlength=classes**2).reshape(classes, classes).astype(float)
    )
    total = joint.sum(axis=1, keepdims=True)
    scaled = np.where(total > 0, joint * counts[:, None] / np.maximum(total, 1), np.diag(counts))
    return np.rint(scaled).astype(np.int64)


def label_errors(probability: Probabilities, given: Classes) -> npt.NDArray[np.bool_]:
    """Which labels are probably wrong: of each pair of classes, as many as the confident joint counts, by margin.

    probability: (N, C), finite; given: (N,) in [0, C). An item whose most probable class is the given one is no error.
    """
    is_error = np.zeros(len(given), bool)
    joint = confident_joint(probability, given)
    np.fill_diagonal(joint, 0)
    for row in np.flatnonzero(joint.any(axis=1)):
        items = np.flatnonzero(given == row)
        for column in np.flatnonzero(joint[row]):
            margin = probability[items, column] - probability[items, row]
            is_error[items[np.argsort(-margin, kind="stable")[: joint[row, column]]]] = True
    is_error &= probability.argmax(axis=1) != given
    return is_error
