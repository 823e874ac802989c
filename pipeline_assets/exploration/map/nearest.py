"""The nearest photos to one, of all days, exact, without reading most vectors. Pure.

By Cauchy and Schwarz two unit vectors are at most as similar as the product of their sketches plus the product of the
lengths that the sketches leave out. Vectors are read in the order of this bound until it falls below the k-th best.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pipeline_assets.exploration.map.embeddings import View, sketches
from pipeline_assets.exploration.map.neighbours import Floats, Items, similarity, slack

STEP = 512
"""Vectors that are read at a time."""


def nearest_to(view: View, vector: Floats, k: int, leave_out: Items) -> tuple[Items, Floats]:
    """The rows of the k nearest vectors and their similarities, nearest first, ties by sha256.

    vector: (d,), of length 1. leave_out: rows that do not count, such as its own; unusable vectors do not, either.
    """
    rows, found = np.zeros(0, np.int64), np.zeros(0, np.float32)
    bound = _bounds(view, vector)
    bound[leave_out] = -np.inf
    for some in _by_bound(bound, k):
        kth = found.min() if len(rows) >= k else -np.inf
        if bound[some[0]] < kth:
            break
        some = np.sort(some[view.is_usable(some) & (bound[some] >= kth)])
        rows, found = np.append(rows, some), np.append(found, similarity(view.vectors[some], vector))
        if len(rows) > k:
            good = found >= -np.partition(-found, k - 1)[k - 1]
            rows, found = rows[good], found[good]
    order = sorted(range(len(rows)), key=lambda place: (-found[place], view.sha256[int(rows[place])]))[:k]
    return rows[order], found[order]


def _bounds(view: View, vector: Floats) -> npt.NDArray[np.float32]:
    """(n,): what the similarity of each vector to this one can't exceed."""
    if not len(view.vectors):
        return np.zeros(0, np.float32)
    return np.asarray(view.sketches @ sketches(vector[None, :], view.basis)[0] + np.float32(slack(len(vector))))


def _by_bound(bound: npt.NDArray[np.float32], k: int) -> Iterator[Items]:
    """The rows in steps, the greatest bounds first; those of -inf are left out."""
    left, size = np.flatnonzero(~np.isneginf(bound)), max(STEP, k)
    while len(left):
        order = np.argpartition(-bound[left], size - 1) if size < len(left) else np.arange(len(left))
        top, left = left[order[:size]], left[order[size:]]
        top = top[np.argsort(-bound[top], kind="stable")]
        for start in range(0, len(top), STEP):
            yield top[start : start + STEP]
        size *= 8  # most searches end before a second round
