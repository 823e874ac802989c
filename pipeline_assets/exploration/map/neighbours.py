"""Exact nearest neighbours by cosine, in the full dimension. Pure: arrays in, arrays out.

The similarity of two items is the float64 dot product of their float32 unit vectors, rounded to float32; order is by it,
then by the item's number. Both are functions of the two items alone. Blocks of float32 matrix products only choose
candidates, with a bound on their rounding errors, so that the answer depends on no block size and no order of arrival.

Items are numbered by their sha256, ascending; `vectors` are read by row, and may be mapped from a file.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

NEIGHBOURS = 10
BLOCK = 2_048
"""Items a side of a block of similarities: 16 MB."""
PENDING = 4_000_000
"""Candidates that are kept before they are decided."""
PAIRS = 512
"""Pairs whose similarity is computed at a time."""
STEPS = 6
"""Of the search for main directions."""
NONE = -1
"""The number of no item, where fewer than k others exist."""
Items = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Lists:
    """For each item its nearest others, nearest first: ids (n, k) int64, NONE without one; similarity (n, k) float32."""

    ids: Items
    similarity: Floats

    @classmethod
    def empty(cls, items: int, k: int = NEIGHBOURS) -> "Lists":
        """Lists without entries: the similarity of none is -inf."""
        return cls(np.full((items, k), NONE, np.int64), np.full((items, k), -np.inf, np.float32))

    def copy(self) -> "Lists":
        """Lists of their own arrays."""
        return Lists(self.ids.copy(), self.similarity.copy())


def unit_vectors(embeddings: npt.ArrayLike) -> Floats:
    """Rows of length 1. embeddings: (n, d), finite and not zero."""
    rows = np.asarray(embeddings, np.float64)
    largest = np.abs(rows).max(axis=1, keepdims=True, initial=0.0)
    rows = rows / largest  # squares neither overflow nor vanish
    return (rows / np.sqrt((rows * rows).sum(axis=1, keepdims=True))).astype(np.float32)


def usable(embeddings: Floats) -> npt.NDArray[np.bool_]:
    """(n,): which rows have a direction, being finite and not zero."""
    return np.asarray(np.isfinite(embeddings).all(axis=1) & (embeddings != 0).any(axis=1))


def similarities(vectors: Any, rows: Items, left: Items, right: Items) -> Floats:
    """The similarity of pairs of items: (m,) float32. rows: the row in `vectors` of each item."""
    answer = np.empty(len(left), np.float32)
    for start in range(0, len(left), PAIRS):
        some = slice(start, start + PAIRS)
        answer[some] = similarity(vectors[rows[left[some]]], vectors[rows[right[some]]])
    return answer


def similarity(left: Floats, right: Floats) -> Floats:
    """The similarity of unit vectors, row by row: left (m, d), right (m, d) or (d,) -> (m,)."""
    product = left.astype(np.float64)
    product *= right
    return product.sum(axis=1).astype(np.float32)


def main_directions(matrix: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float64]:
    """Nearly the first eigenvectors of a symmetric matrix (n, n): (n, at most count), the largest first.

    Orthonormal if the matrix has that rank; those beyond its rank may be anything, or nothing.
    By subspace iteration with products alone: LAPACK's threads cost many times as much on busy cores.
    """
    count = min(count, len(matrix))
    some = np.random.default_rng(0).standard_normal((len(matrix), count))
    for step in range(STEPS + 1):
        some = matrix @ some if step else some
        for _ in range(2):  # the second time for what rounding left
            gram = some.T @ some
            scale = np.trace(gram) * 1e-14 + np.finfo(np.float64).tiny
            some = some @ np.linalg.inv(np.linalg.cholesky(gram + scale * np.eye(count))).T
    values, axes = np.linalg.eigh(some.T @ matrix @ some)
    return np.asarray((some @ axes)[:, np.argsort(-values, kind="stable")])


def slack(width: int) -> float:
    """How far an approximate similarity may fall short of another and still belong to the greater one.

    A float32 dot product of unit vectors errs by at most width * 2**-24 in any order of its terms, and so may both; the rest
    is room for lengths of nearly 1 and for rounding to float32.
    """
    return width * 2.0**-22 + 2.0**-20


def nearest(vectors: Any, rows: Items, queries: Items, base: Items, k: int = NEIGHBOURS) -> Lists:
    """The k nearest items of `base` for each of `queries`, itself left out. Numbers are of `rows`, the row of each item."""
    search = Search(vectors, rows, Lists.empty(len(rows), k))
    for some in blocks(queries):
        for others in blocks(base):
            search.compare(some, others, one_way=True)
    search.settle()
    return Lists(search.best.ids[queries], search.best.similarity[queries])


def updated(vectors: Any, rows: Items, known: Lists, new: Items, again: Items) -> Lists:
    """The lists of all items, from those of an earlier set of items and what is new.

    known: (n, k), exact among the items that are not `new`, except those of `new` and `again`, which are empty. Only pairs
    with one of these are compared. So the same as `updated` of no known list with all items as new, to the bit.
    """
    search = Search(vectors, rows, known)
    is_changed = np.zeros(len(rows), np.bool_)
    is_changed[new] = is_changed[again] = True
    others = np.flatnonzero(~is_changed)
    for first, second in halves(new):
        search.compare(first, second)
    for some in blocks(new):
        for rest in blocks(np.concatenate([again, others])):
            search.compare(some, rest)
    for first, second in halves(again):
        search.compare(first, second)
    for some in blocks(again):
        for rest in blocks(others):
            search.compare(some, rest, one_way=True)
    search.settle()
    return search.best


def blocks(items: Items) -> Iterator[Items]:
    """The items in blocks."""
    return (items[start : start + BLOCK] for start in range(0, len(items), BLOCK))


def halves(items: Items) -> Iterator[tuple[Items, Items]]:
    """Blocks of all pairs of these items, each pair once."""
    parts = list(blocks(items))
    return ((first, second) for number, first in enumerate(parts) for second in parts[number:])


class Search:
    """Collects candidates from blocks of approximate similarities, and decides them by the exact ones.

    best: the lists so far, of all items. floor: (n,), below which an approximate similarity can't enter an item's list.
    """

    def __init__(self, vectors: Any, rows: Items, known: Lists) -> None:
        self.vectors, self.rows, self.best = vectors, rows, known.copy()
        self.slack = slack(vectors.shape[1])
        self.floor = self.best.similarity[:, -1] - np.float32(self.slack)
        self.alike = _classes(vectors, rows)
        self.pending: list[tuple[Items, Items, Floats]] = []
        self.waiting = 0

    def compare(self, items: Items, others: Items, *, one_way: bool = False) -> None:
        """Compare each of the items with each of the others; one_way: the others' lists are left as they are.

        The two are the same items, or have none in common, unless one_way.
        """
        if not (len(items) and len(others)):
            return
        block = self.vectors[self.rows[items]] @ self.vectors[self.rows[others]].T
        is_same = len(items) == len(others) and bool((items == others).all())
        if is_same:
            np.fill_diagonal(block, -np.inf)
        elif one_way:
            _, mine, theirs = np.intersect1d(items, others, assume_unique=True, return_indices=True)
            block[mine, theirs] = -np.inf
        self._collect(block, items, others)
        if not (one_way or is_same):
            self._collect(block.T, others, items)

    def _collect(self, block: Floats, items: Items, others: Items) -> None:
        k = self.best.ids.shape[1]
        fresh = np.flatnonzero(np.isneginf(self.floor[items]))
        if len(fresh) and len(others) > k:
            kth = np.partition(block[fresh], len(others) - k, axis=1)[:, len(others) - k]
            self.floor[items[fresh]] = kth - np.float32(self.slack)
        row, column = np.nonzero((block >= self.floor[items][:, None]) & ~np.isneginf(block))
        if len(row):
            self.pending.append((items[row], others[column], block[row, column]))
            self.waiting += len(row)
        if self.waiting > PENDING:
            self.settle()

    def settle(self) -> None:
        """Decide the candidates: afterwards `best` is exact for all that was compared."""
        if not self.pending:
            return
        item, other, rough = (np.concatenate(parts) for parts in zip(*self.pending, strict=True))
        self.pending, self.waiting = [], 0
        item, other = self._promising(item, other, rough)
        exact = similarities(self.vectors, self.rows, item, other)
        touched = np.unique(item)
        kept = self.best.ids[touched] != NONE
        item = np.concatenate([item, np.repeat(touched, kept.sum(axis=1))])
        other = np.concatenate([other, self.best.ids[touched][kept]])
        exact = np.concatenate([exact, self.best.similarity[touched][kept]])
        order = np.lexsort((other, -exact, item))
        item, other, exact = item[order], other[order], exact[order]
        place = _place_in_run(item)
        chosen = place < self.best.ids.shape[1]
        self.best.ids[item[chosen], place[chosen]] = other[chosen]
        self.best.similarity[item[chosen], place[chosen]] = exact[chosen]
        raised = self.best.similarity[touched, -1] - np.float32(self.slack)
        self.floor[touched] = np.maximum(self.floor[touched], raised)

    def _promising(self, item: Items, other: Items, rough: Floats) -> tuple[Items, Items]:
        """The candidates that can be among the k nearest of their item, by their approximate similarities."""
        k = self.best.ids.shape[1]
        if self.alike is not None:  # of others with equal vectors, only the first k can enter
            order = np.lexsort((other, self.alike[other], item))
            item, other, rough = item[order], other[order], rough[order]
            first = _place_in_run(item * len(self.rows) + self.alike[other]) < k
            item, other, rough = item[first], other[first], rough[first]
        order = np.lexsort((-rough, item))
        item, other, rough = item[order], other[order], rough[order]
        place = _place_in_run(item)
        last = place == k - 1
        self.floor[item[last]] = np.maximum(self.floor[item[last]], rough[last] - np.float32(self.slack))
        good = rough >= self.floor[item]
        return item[good], other[good]


def _place_in_run(keys: Items) -> Items:
    """The place of each key among its equals, which are adjacent: 0, 1, ..."""
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.zeros(0, np.int64)
    return np.asarray(np.arange(len(keys)) - np.repeat(starts, np.diff(np.append(starts, len(keys)))))


def _classes(vectors: Any, rows: Items) -> Items | None:
    """(n,): one number for items with equal vectors; None if all differ."""
    seen: dict[bytes, int] = {}
    digests = (hashlib.blake2b(vector, digest_size=16).digest() for some in blocks(rows) for vector in vectors[some])
    classes = np.fromiter((seen.setdefault(digest, len(seen)) for digest in digests), np.int64, len(rows))
    return classes if len(seen) < len(rows) else None
