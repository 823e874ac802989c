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
    imputed = values.copy()
    for column in range(values.shape[1]):
        unknown = np.isnan(values[:, column])
        if unknown.any():
            other_columns = np.delete(scaled, column, axis=1)
            known_rows = np.flatnonzero(~unknown)
            near = KDTree(other_columns[known_rows]).query(other_columns[unknown], k=min(NEIGHBOURS, known_rows.size))[1]
            imputed[unknown, column] = values[known_rows, column][near].mean(axis=1)
    return imputed


def by_regression(values: Floats) -> Floats:
    """A linear function of the other columns, fitted and applied in turns (as MICE does, without its noise)."""
    means, spreads = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
    spreads = np.where(spreads > 0, spreads, 1.0)
    unknown = np.isnan(values)
    scaled = np.nan_to_num((values - means) / spreads)
    for _ in range(ROUNDS):
        for column in np.flatnonzero(unknown.any(axis=0)):
            other_columns = np.delete(scaled, column, axis=1)
            design = np.column_stack([np.ones(len(other_columns)), other_columns])
            is_known = ~unknown[:, column]
            gram = design[is_known].T @ design[is_known] + RIDGE * is_known.sum() * np.eye(design.shape[1])
            weights = np.linalg.solve(gram, design[is_known].T @ scaled[is_known, column])
            scaled[~is_known, column] = design[~is_known] @ weights
    return np.where(unknown, scaled * spreads + means, values)


IMPUTERS = {"mean": by_mean, "10 neighbours": by_neighbours, "regression": by_regression}


def error(truth: Floats, guessed: Floats, deleted: npt.NDArray[np.bool_]) -> float:
    """Root mean square error of deleted cells in their columns' standard deviations."""
    errors = (guessed - truth) / np.nanstd(truth, axis=0)
    return float(np.sqrt(np.mean(errors[deleted] ** 2)))


def bias(truth: Floats, deleted: npt.NDArray[np.bool_]) -> float:
    """How much higher deleted cells are than those that are left, in standard deviations, over columns."""
    some = deleted.any(axis=0)
    truth, deleted = truth[:, some], deleted[:, some]
    deleted_values, remaining_values = np.where(deleted, truth, np.nan), np.where(deleted, np.nan, truth)
    return float(
        np.mean((np.nanmean(deleted_values, axis=0) - np.nanmean(remaining_values, axis=0)) / np.nanstd(truth, axis=0))
    )
