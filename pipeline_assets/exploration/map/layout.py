"""Places of landmarks on a plane, and the clusters that they form there. Pure: arrays in, arrays out.

t-SNE (van der Maaten and Hinton 2008) with all pairs, which few landmarks afford, from their principal components. Clusters
are the hills of the landmarks' density on the plane: what a person sees as a group.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline_assets.exploration.map.neighbours import main_directions

PERPLEXITY = 20.0
STEPS, EXAGGERATED_STEPS = 400, 120
EXAGGERATION = 12.0
BANDWIDTH = 0.03
"""Of the density, as a share of the map's size."""
REACH = 3.0
"""How far a landmark looks for a denser one, in bandwidths: hills farther apart are clusters of their own."""
MIN_CLUSTER = 5
"""Landmarks of a cluster."""
Floats = npt.NDArray[np.float32]


def places(vectors: Floats) -> Floats:
    """Places on the plane, (n, 2), of unit vectors (n, d), n of at most some thousand: centred, within [-1, 1].

    Equal on one machine; another processor may round differently, so keep them.
    """
    if len(vectors) < 3:
        return (
            np.linspace(-0.5, 0.5, len(vectors), dtype=np.float32)[:, None]
            * np.array([1, 0], np.float32)
            * 2 ** (len(vectors) > 1)
        )
    distances = squared_distances(vectors)
    start = _principal(distances)
    if not np.ptp(start):
        return np.zeros((len(vectors), 2), np.float32)
    spread = _descend(start, affinities(distances))
    spread -= (spread.max(axis=0) + spread.min(axis=0)) / 2
    return np.asarray(spread / np.abs(spread).max(), np.float32)


def squared_distances(vectors: Floats) -> npt.NDArray[np.float64]:
    """(n, n) squared distances of unit vectors."""
    exact = vectors.astype(np.float64)
    return np.asarray(np.maximum(2 - 2 * exact @ exact.T, 0))


def _principal(distances: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The first two principal components, (n, 2), small, with signs that do not depend on the solver."""
    centred = -0.5 * distances
    centred -= centred.mean(axis=0)
    centred -= centred.mean(axis=1, keepdims=True)
    axes = main_directions(centred, 8)[:, :2]
    components = axes * np.sqrt(np.maximum((axes * (centred @ axes)).sum(axis=0), 0))
    components *= np.sign(components[np.abs(components).argmax(axis=0), [0, 1]])
    if (scale := components[:, 0].std()) < 1e-6:
        return np.zeros((len(distances), 2))
    return np.asarray(components * (1e-2 / scale))


@dataclass(frozen=True)
class Affinities:
    """Pairs that attract each other, in both directions, by their first: their strengths sum to 1.

    starts: where the pairs of each landmark begin; every one has some.
    """

    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    strength: Floats
    starts: npt.NDArray[np.int64]


def affinities(distances: npt.NDArray[np.float64]) -> Affinities:
    """Gaussians of equal perplexity over the nearest 3 x perplexity others of each."""
    n = len(distances)
    perplexity = min(PERPLEXITY, (n - 1) / 3)
    count = min(n - 1, int(3 * perplexity) + 1)
    others = distances.copy()
    np.fill_diagonal(others, np.inf)
    near = np.argsort(others, axis=1, kind="stable")[:, :count]
    squares = np.take_along_axis(others, near, axis=1)
    squares -= squares[:, :1]
    low, high = np.full(n, -30.0), np.full(n, 30.0)  # of the logarithm of precision
    for _ in range(50):
        middle = (low + high) / 2
        weights = np.exp(-squares * np.exp(middle)[:, None])
        total = weights.sum(axis=1)
        entropy = np.log(total) + (weights * squares).sum(axis=1) / total * np.exp(middle)
        is_wide = entropy > np.log(perplexity)
        low, high = np.where(is_wide, middle, low), np.where(is_wide, high, middle)
    weights /= weights.sum(axis=1, keepdims=True)
    one, other = np.repeat(np.arange(n), count), near.ravel()
    first, second = np.concatenate([one, other]), np.concatenate([other, one])
    order = np.argsort(first, kind="stable")
    strength = (np.tile(weights.ravel(), 2) / (2 * n)).astype(np.float32)
    return Affinities(first[order], second[order], strength[order], np.searchsorted(first[order], np.arange(n)))


def _descend(start: npt.NDArray[np.float64], near: Affinities) -> npt.NDArray[np.float64]:
    """Gradient descent with momentum and gains, as in the reference implementation. float32 but for the places.

    Without BLAS: its threads cost nine times as much, on products as thin as these.
    """
    n = len(start)
    places, speed, gains = start.copy(), np.zeros_like(start), np.ones_like(start)
    rate = max(n / EXAGGERATION / 4, 50.0)
    kernel, other = np.empty((n, n), np.float32), np.empty((n, n), np.float32)
    for step in range(STEPS):
        is_early = step < EXAGGERATED_STEPS
        axes = places.T.astype(np.float32)
        for axis, square in zip(axes, (kernel, other), strict=True):
            np.subtract(axis[:, None], axis, out=square)
            np.multiply(square, square, out=square)
        kernel += other
        kernel += 1
        np.reciprocal(kernel, out=kernel)
        np.fill_diagonal(kernel, 0)
        total = kernel.sum(axis=1).sum(dtype=np.float64)
        np.multiply(kernel, kernel, out=kernel)
        weights = kernel.sum(axis=1)
        repel = [weights * axis - np.einsum("ij,j->i", kernel, axis) for axis in axes]
        apart = [axis.take(near.first) - axis.take(near.second) for axis in axes]
        pull = near.strength / (1 + apart[0] * apart[0] + apart[1] * apart[1])
        attract = [np.add.reduceat(pull * one, near.starts) for one in apart]
        factor = EXAGGERATION if is_early else 1.0
        gradient = 4 * (factor * np.stack(attract, axis=1) - np.stack(repel, axis=1) / np.float32(total))
        is_same = np.sign(gradient) == np.sign(speed)
        gains = np.maximum(np.where(is_same, gains * 0.8, gains + 0.2), 0.01)
        speed = (0.5 if is_early else 0.8) * speed - rate * gains * gradient
        places += speed
    return places


def clusters(places: Floats) -> npt.NDArray[np.int32]:
    """(n,): the cluster of each landmark, the largest first as 0; -1 in none, where fewer than MIN_CLUSTER share a hill.

    Each landmark climbs to the nearest denser one within reach (quick shift); those that end on one summit are a cluster.
    """
    n = len(places)
    exact = places.astype(np.float64)
    squares = ((exact[:, None, :] - exact[None, :, :]) ** 2).sum(axis=2)
    density = np.exp(-squares / (2 * BANDWIDTH**2)).sum(axis=1)
    rank = np.empty(n, np.int64)
    rank[np.lexsort((np.arange(n), -density))] = np.arange(n)
    uphill = np.where(rank[None, :] < rank[:, None], squares, np.inf)
    parent = uphill.argmin(axis=1) if n else np.zeros(0, np.int64)
    is_summit = ~(uphill.min(axis=1, initial=np.inf) <= (REACH * BANDWIDTH) ** 2)
    parent[is_summit] = np.flatnonzero(is_summit)
    for _ in range(max(n, 1).bit_length()):
        parent = parent[parent]
    summits, members, sizes = np.unique(parent, return_inverse=True, return_counts=True)
    numbers = np.full(len(summits), -1, np.int32)
    by_size = [summit for summit in np.lexsort((summits, -sizes)) if sizes[summit] >= MIN_CLUSTER]
    numbers[by_size] = np.arange(len(by_size))
    return np.asarray(numbers[members], np.int32)
