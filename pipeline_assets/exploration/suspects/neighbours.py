"""Which photos are alike, by their embeddings. Pure functions of arrays.

Every similarity is a cosine in a space of at most 128 principal components, each divided by the root of its deviation:
between the raw space, where a few directions outshout all others, and the white one, where noise does.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
COMPONENTS = 128
OVERSAMPLED, ITERATIONS = 16, 3
BLOCK_ROWS = 1_024
COPIES = 0.98
"""Similarity from which two photos are copies of one another, beside equal bytes and near perceptual hashes."""


class Nearest(NamedTuple):
    """rows, similarity: (items, k), the most similar first. Where an item has fewer others, minus infinity."""

    rows: Ints
    similarity: Floats


def directions(embeddings: Floats, seed: int = 0) -> Floats:
    """Embeddings (N, E), finite, as unit vectors (N, at most 128). Equal embeddings have equal ones.

    Components by subspace iteration. Source: Halko, Martinsson, Tropp 2011, algorithm 4.4.
    """
    if not (embeddings != embeddings[:1]).any():
        return np.ones((len(embeddings), 1), np.float32)
    centred = (embeddings - embeddings.mean(axis=0, dtype=np.float64)).astype(np.float32)
    width = min(*centred.shape, COMPONENTS + OVERSAMPLED)
    axes = np.random.default_rng(seed).standard_normal((centred.shape[1], width), dtype=np.float32)
    for _ in range(ITERATIONS):
        axes = centred.T @ (centred @ axes)
        squares, turn = _spread(axes)
        axes = axes @ (turn / np.sqrt(squares)).astype(np.float32)
    projected = centred @ axes
    squares, turn = _spread(projected)
    scaled = projected @ (turn[:, :COMPONENTS] / squares[:COMPONENTS] ** 0.25)
    length = np.linalg.norm(scaled, axis=1, keepdims=True)
    return (scaled / np.where(length > 0, length, 1)).astype(np.float32)


def _spread(columns: Floats) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Squares of the singular values, the largest first, and the right singular vectors; without those that are nothing.

    By the small matrix of inner products: a QR decomposition on several threads takes many times as long on busy cores.
    """
    wide = columns.astype(np.float64)
    squares, turn = np.linalg.eigh(wide.T @ wide)
    order = np.argsort(-squares)
    order = order[squares[order] > max(1e-10 * float(squares.max(initial=0)), 1e-30)]
    return squares[order], turn[:, order]


def nearest(unit: Floats, family: Ints, count: int) -> Nearest:
    """The `count` most similar items of other families. unit: `directions`; family: a number an item."""
    count = min(count, len(unit))
    rows, similarity = np.empty((len(unit), count), np.int64), np.empty((len(unit), count), np.float32)
    for start in range(0, len(unit), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        alike = unit[block] @ unit.T
        alike[family[block, None] == family] = -np.inf
        best = np.argpartition(-alike, count - 1, axis=1)[:, :count]
        values = np.take_along_axis(alike, best, axis=1)
        order = np.lexsort((best, -values), axis=1)
        rows[block], similarity[block] = np.take_along_axis(best, order, 1), np.take_along_axis(values, order, 1)
    return Nearest(rows, similarity)


def families(unit: Floats, family: Ints, least: float) -> Ints:
    """The families, joined where two items are at least so similar; numbers from 0."""
    numbers: Ints = np.unique(family, return_inverse=True)[1].astype(np.int64)
    for start in range(0, len(unit), BLOCK_ROWS):
        alike = unit[start : start + BLOCK_ROWS] @ unit.T >= least
        for row in np.flatnonzero((alike & (numbers[start : start + BLOCK_ROWS, None] != numbers)).any(axis=1)):
            is_joined = np.zeros(len(unit), bool)
            is_joined[numbers[alike[row]]] = is_joined[numbers[start + row]] = True
            numbers[is_joined[numbers]] = is_joined.argmax()
    return np.unique(numbers, return_inverse=True)[1].astype(np.int64)
