"""The nearest photos to one, of all days, exact, without reading most vectors. Pure.

By Cauchy and Schwarz two unit vectors are at most as similar as the product of their sketches plus the product of the
lengths that the sketches leave out. Vectors are read in the order of this bound until it falls below the k-th best. Where
it leaves too many, as for a photo that is unlike all others, one pass over all vectors gives closer bounds.
"""

import numpy as np
import numpy.typing as npt

from pipeline_assets.exploration.map.embeddings import View, sketches
from pipeline_assets.exploration.map.neighbours import Floats, Items, similarity, slack

STEP = 512
"""Vectors that are read at a time."""
MANY = 0.02
"""The share of all vectors from which on a pass over all costs less than reading some of them here and there."""
PASS, SAMPLE = 8_192, 30_000
LOWEST = np.float32(-4)
"""Below each bound, and above that of a row that does not count."""


def nearest_to(view: View, vector: Floats, k: int, leave_out: Items) -> tuple[Items, Floats]:
    """The rows of the k nearest vectors and their similarities, nearest first, ties by sha256.

    vector: (d,), of length 1. leave_out: rows that do not count, such as its own; unusable vectors do not, either.
    """
    rows, found, kth = np.zeros(0, np.int64), np.zeros(0, np.float32), LOWEST
    bound, is_passed = _bounds(view, vector), False
    bound[leave_out] = -np.inf
    left = np.flatnonzero(bound >= _floor(bound, max(STEP, k)))
    while len(left):
        if len(rows) >= k and len(left) > max(MANY * len(bound), STEP) and not is_passed:
            bound, is_passed = np.where(np.isneginf(bound), bound, _passed(view, vector)), True
        else:
            is_next = np.zeros(len(left), np.bool_)
            is_next[np.argpartition(-bound[left], min(STEP, len(left)) - 1)[:STEP]] = True
            some, left = left[is_next], left[~is_next]
            bound[some] = -np.inf
            some = some[view.is_usable(some)]
            rows, found = np.append(rows, some), np.append(found, similarity(view.vectors[some], vector))
        if len(rows) >= k:
            kth = -np.partition(-found, k - 1)[k - 1]
            rows, found = rows[found >= kth], found[found >= kth]
        left = left[bound[left] >= kth] if len(left) else np.flatnonzero(bound >= kth)
    order = sorted(range(len(rows)), key=lambda place: (-found[place], view.sha256[int(rows[place])]))[:k]
    return rows[order], found[order]


def _bounds(view: View, vector: Floats) -> npt.NDArray[np.float32]:
    """(n,): what the similarity of each vector to this one can't exceed, by their sketches."""
    if not len(view.vectors):
        return np.zeros(0, np.float32)
    return np.asarray(view.sketches @ sketches(vector[None, :], view.basis)[0] + np.float32(slack(len(vector))))


def _floor(bound: npt.NDArray[np.float32], count: int) -> np.float32:
    """A bound that about the `count` greatest reach, from a sample of them: sorting all takes as long as making them."""
    sample = bound[:: max(1, len(bound) // SAMPLE)]
    count = max(1, count * len(sample) // max(1, len(bound)))
    return np.maximum(np.partition(sample, -count)[-count], LOWEST) if count < len(sample) else LOWEST


def _passed(view: View, vector: Floats) -> npt.NDArray[np.float32]:
    """(n,): the same by the vectors themselves, in float32."""
    parts = [view.vectors[start : start + PASS] @ vector for start in range(0, len(view.vectors), PASS)]
    return np.asarray(np.concatenate(parts) + np.float32(slack(len(vector))))
