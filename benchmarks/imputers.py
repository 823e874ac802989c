"""Simple guesses for missing cells, which table variants judge by the truth that their masks keep.

Each takes (n, d) numbers with NaN for what is missing, and returns them without.
"""

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

Floats = npt.NDArray[np.float64]

NEIGHBOURS, ROUNDS, RIDGE = 10, 8, 1e-3


def by_mean(values: Floats) -> Floats:
    """The column's mean."""
    return np.where(np.isnan(values), np.nanmean(values, axis=0), values)


def by_neighbours(values: Floats) -> Floats:
    """The mean of the nearest rows that know the cell: nearest in standardised columns, where what is unknown is 0."""
    means, spreads = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
    scaled = np.nan_to_num((values - means) / np.where(spreads > 0, spreads, 1.0))
    found = values.copy()
    for column in range(values.shape[1]):
        unknown = np.isnan(values[:, column])
        if unknown.any():
            others = np.delete(scaled, column, axis=1)
            known = np.flatnonzero(~unknown)
            near = KDTree(others[known]).query(others[unknown], k=min(NEIGHBOURS, known.size))[1]
            found[unknown, column] = values[known, column][near].mean(axis=1)
    return found


def by_regression(values: Floats) -> Floats:
    """A linear function of the other columns, fitted and applied in turns (as MICE does, without its noise)."""
    means, spreads = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
    spreads = np.where(spreads > 0, spreads, 1.0)
    unknown = np.isnan(values)
    scaled = np.nan_to_num((values - means) / spreads)
    for _ in range(ROUNDS):
        for column in np.flatnonzero(unknown.any(axis=0)):
            others = np.delete(scaled, column, axis=1)
            design = np.column_stack([np.ones(len(others)), others])
            known = ~unknown[:, column]
            gram = design[known].T @ design[known] + RIDGE * known.sum() * np.eye(design.shape[1])
            weights = np.linalg.solve(gram, design[known].T @ scaled[known, column])
            scaled[~known, column] = design[~known] @ weights
    return np.where(unknown, scaled * spreads + means, values)


IMPUTERS = {"mean": by_mean, "10 neighbours": by_neighbours, "regression": by_regression}


def error(truth: Floats, guessed: Floats, deleted: npt.NDArray[np.bool_]) -> float:
    """Root mean square error of deleted cells in their columns' standard deviations."""
    off = (guessed - truth) / np.nanstd(truth, axis=0)
    return float(np.sqrt(np.mean(off[deleted] ** 2)))


def bias(truth: Floats, deleted: npt.NDArray[np.bool_]) -> float:
    """How much higher deleted cells are than those that are left, in standard deviations, over columns."""
    some = deleted.any(axis=0)
    truth, deleted = truth[:, some], deleted[:, some]
    gone, left = np.where(deleted, truth, np.nan), np.where(deleted, np.nan, truth)
    return float(np.mean((np.nanmean(gone, axis=0) - np.nanmean(left, axis=0)) / np.nanstd(truth, axis=0)))
