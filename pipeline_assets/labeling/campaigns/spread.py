"""Items far from each other, by their embeddings. Pure.

Distances are compared in a random projection to few dimensions, of a bounded sample: so the work is bounded, too.
"""

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]

MAX_DIVERSE = 4_096
"""Items among which diverse ones are sought, and answered ones from which they are to be far."""
DIMENSIONS = 64
SAME = 1e-6
"""Squared distance below which two vectors are one."""
_CHUNK = 512


def spread_out(vectors: Vectors, centers: Vectors, count: int) -> npt.NDArray[np.int64]:
    """Numbers of `count` vectors, each the farthest from all centers and those before it; ties go to the first.

    vectors: (N, D), centers: (M, D), M may be 0; centers of another D, as those of another model, count as none.
    Returns at most N, and none that equals one before it.
    Source: Gonzalez 1985, greedy k-center, which is within twice the smallest possible radius.
    """
    if not len(vectors) or count < 1:
        return np.zeros(0, np.int64)
    if centers.shape[1:] != vectors.shape[1:]:
        centers = vectors[:0]
    vectors, centers = _reduced(vectors), _reduced(centers) if len(centers) else centers
    chosen: list[int] = []
    if len(centers):
        nearest = _to_nearest(vectors, centers)
    else:
        first = int(np.argmax(_squares(vectors, vectors.mean(axis=0))))
        chosen.append(first)
        nearest = _squares(vectors, vectors[first])
    while len(chosen) < min(count, len(vectors)):
        farthest = int(np.argmax(nearest))
        if nearest[farthest] <= SAME:
            break
        chosen.append(farthest)
        nearest = np.minimum(nearest, _squares(vectors, vectors[farthest]))
    return np.array(chosen[:count], np.int64)


def _reduced(vectors: Vectors) -> Vectors:
    """Unit vectors, projected to DIMENSIONS: their distances keep to about a tenth (Johnson and Lindenstrauss 1984)."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = (vectors / np.where(norms > 0, norms, 1)).astype(np.float32)
    if unit.shape[1] <= DIMENSIONS:
        return unit
    projection = np.random.default_rng(0).standard_normal((unit.shape[1], DIMENSIONS), np.float32)
    return unit @ (projection / np.float32(np.sqrt(DIMENSIONS)))


def _squares(vectors: Vectors, center: Vectors) -> Vectors:
    """Squared distances to one center."""
    differences = vectors - center
    return np.einsum("nd,nd->n", differences, differences)


def _to_nearest(vectors: Vectors, centers: Vectors) -> Vectors:
    nearest = np.full(len(vectors), np.inf, np.float32)
    for start in range(0, len(centers), _CHUNK):
        part = centers[start : start + _CHUNK]
        squares = (vectors**2).sum(axis=1)[:, None] + (part**2).sum(axis=1)[None] - 2 * vectors @ part.T
        nearest = np.minimum(nearest, squares.min(axis=1))
    return np.maximum(nearest, 0)
