"""Which items are like no other. Pure functions of arrays."""

import numpy as np
import numpy.typing as npt

from pipeline_assets.exploration.suspects.neighbours import Nearest

COUNT = 10
"""Nearest items whose mean distance is an item's."""
MIN_ITEMS = 50
"""Below, nobody knows what is usual."""
FAR = 5.0
"""Robust deviations of the logarithm of the distance above its median, from which an item is out of distribution."""


def distances(near: Nearest) -> npt.NDArray[np.float64]:
    """Mean cosine distance to the COUNT nearest items of other families; infinite without any."""
    similarity = near.similarity[:, :COUNT].astype(np.float64)
    known = np.isfinite(similarity)
    total = np.where(known, 1 - similarity, 0).sum(axis=1)
    return np.where(known.any(axis=1), np.maximum(total / np.maximum(known.sum(axis=1), 1), 1e-6), np.inf)


def deviations(distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How far above the median the logarithm of each distance is, in robust deviations of all; 0 for few items.

    The deviation is the distance of the upper quartile from the median, which items far off can't move, as that of a normal
    distribution; at least a tenth, so that where all are equally far nobody is far.
    """
    if len(distance) < MIN_ITEMS:
        return np.zeros(len(distance))
    logs = np.log(distance)
    median, upper = np.quantile(logs[np.isfinite(logs)], [0.5, 0.75]) if np.isfinite(logs).any() else (0.0, 0.0)
    scale = max((upper - median) / 0.6745, 0.1)
    return np.where(np.isfinite(logs), (logs - median) / scale, 0.0)
