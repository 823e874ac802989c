"""The nearest photos to one, of all days, exact, without reading most vectors. Pure.

Codes bound how similar a vector can be: by its head, then, for those whose bound reaches the k-th best so far, by its
whole code. Vectors themselves are read in the order of these bounds, until they fall below the k-th best. A photo that is
unlike all others needs the codes of most, which takes as long as reading them from memory.
"""

import numpy as np

from pipeline_assets.exploration.map.codes import Query
from pipeline_assets.exploration.map.embeddings import View
from pipeline_assets.exploration.map.neighbours import Floats, Items, similarity

STEP = 512
"""Vectors that are read at a time."""
SAMPLE = 30_000
LOWEST = np.float32(-4)
"""Below each bound, and above that of a row that does not count."""


class Best:
    """The k most similar rows among those that were read, with all ties of the last. kth: -4 until there are k."""

    def __init__(self, view: View, vector: Floats, k: int) -> None:
        self.view, self.vector, self.k, self.kth = view, vector, k, LOWEST
        self.rows, self.similarity = np.zeros(0, np.int64), np.zeros(0, np.float32)

    def read(self, rows: Items) -> None:
        """Compute the similarity of these rows."""
        self.rows = np.append(self.rows, rows)
        self.similarity = np.append(self.similarity, similarity(self.view.vectors[rows], self.vector))
        if len(self.rows) >= self.k:
            self.kth = -np.partition(-self.similarity, self.k - 1)[self.k - 1]
            is_near = self.similarity >= self.kth
            self.rows, self.similarity = self.rows[is_near], self.similarity[is_near]

    def sorted(self) -> tuple[Items, Floats]:
        """The k nearest, ties by sha256."""
        names = self.view.sha256
        order = sorted(range(len(self.rows)), key=lambda place: (-self.similarity[place], names[int(self.rows[place])]))
        return self.rows[order[: self.k]], self.similarity[order[: self.k]]


def nearest_to(view: View, vector: Floats, k: int, leave_out: Items) -> tuple[Items, Floats]:
    """The rows of the k nearest vectors and their similarities, nearest first, ties by sha256.

    vector: (d,), of length 1. leave_out: rows that do not count, such as its own; unusable vectors do not, either.
    """
    best = Best(view, vector, k)
    if len(view.vectors):
        query = Query(vector, view.basis)
        bounds = query.bounds(view.codes)
        bounds[leave_out] = -np.inf
        first = np.flatnonzero(bounds >= _floor(bounds, max(STEP, k)))
        first = first[np.argsort(-bounds[first], kind="stable")[: max(STEP, k)]]
        best.read(first)
        bounds[first] = -np.inf
        left = np.flatnonzero(bounds >= best.kth)
        closer = query.closer_bounds(view.codes, left)
        _read_down(best, left, closer)
    return best.sorted()


def _read_down(best: Best, rows: Items, bounds: Floats) -> None:
    """Read rows in the order of their bounds, until no bound reaches the k-th best."""
    while True:
        may_be = bounds >= best.kth
        rows, bounds = rows[may_be], bounds[may_be]
        if not len(rows):
            return
        is_next = np.zeros(len(rows), np.bool_)
        is_next[np.argpartition(-bounds, min(STEP, len(rows)) - 1)[:STEP]] = True
        best.read(rows[is_next])
        rows, bounds = rows[~is_next], bounds[~is_next]


def _floor(bounds: Floats, count: int) -> np.float32:
    """A bound that about the `count` greatest reach, from a sample of them: sorting all takes as long as making them."""
    sample = bounds[:: max(1, len(bounds) // SAMPLE)]
    count = max(1, count * len(sample) // max(1, len(bounds)))
    return np.maximum(np.partition(sample, -count)[-count], LOWEST) if count < len(sample) else LOWEST
