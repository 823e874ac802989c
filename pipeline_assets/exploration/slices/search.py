"""Searches conjunctions of predicates for slices with large errors, one after another. Pure.

All single predicates and all pairs are scored, by three matrix products; the best pairs are extended to threes (a beam). The
best slice is taken, its rows are removed, and the search begins again, so that a weakness is explained once. The winner of
so many comparisons looks worse than it is: what it is worth is for other users to say (`slices.py`).
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from pipeline_assets.exploration.slices.differences import Errors, Mask, Users, difference
from pipeline_assets.exploration.slices.predicates import Predicates

MIN_ROWS, MIN_USERS, MAX_SHARE = 20, 8, 0.5
"""Of a slice, in each half of the users: below, nothing can be said of it; above, the rest is the slice."""
MIN_EXCESS = 1.1
"""Error inside over error outside: less than a tenth more is no weakness, however sure it is."""
MIN_T = 2.5
"""Of the best slice left: the search ends below it."""
MAX_SLICES = 8
BEAM = 48
"""Pairs that are extended, and candidates of each length that are scored by users."""
PRICE = 0.5
"""What t must rise by for each further predicate: of two explanations, the shorter one is taken."""
BLOCK_ROWS = 8_192
Sums = npt.NDArray[np.float64]
"""Of candidates (3, ...): rows, sum of errors, sum of squares of errors."""


def search(predicates: Predicates, errors: Errors, users: Users) -> Iterator[tuple[int, ...]]:
    """Slices as positions of predicates, the clearest first. errors, users: (rows,), users as numbers from 0."""
    held = predicates.holds
    pairs = _sums(held, held, errors)
    for _ in range(MAX_SLICES):
        if len(errors) < 2 * MIN_ROWS or not predicates.texts:
            return
        found = _best(held, pairs, errors, users)
        if found is None:
            return
        yield found
        explained = all_hold(held, found)
        pairs = pairs - _sums(held[explained], held[explained], errors[explained])
        held, errors, users = held[~explained], errors[~explained], users[~explained]


def all_hold(held: Mask, slice_: Sequence[int]) -> Mask:
    """Whether all predicates of a slice hold, by row."""
    return np.logical_and.reduce(held[:, list(slice_)], axis=1)


def _best(held: Mask, pairs: Sums, errors: Errors, users: Users) -> tuple[int, ...] | None:
    """The slice with the largest t, less the price of its predicates; None if none is clear enough."""
    first = _top(_scores(np.diagonal(pairs, axis1=1, axis2=2), errors), BEAM)
    one, other = np.triu_indices(held.shape[1], k=1)
    second = [(int(one[at]), int(other[at])) for at in _top(_scores(pairs[:, one, other], errors), BEAM)]
    candidates = {(int(at),) for at in first} | set(second) | _threes(held, errors, second)
    best, best_score = None, -np.inf
    for candidate in sorted(candidates):
        inside = all_hold(held, candidate)
        if len(np.unique(users[inside])) < MIN_USERS:
            continue
        measured = difference(errors, users, inside)
        if measured is None or measured.t < MIN_T:
            continue
        score = measured.t - PRICE * (len(candidate) - 1)
        if score > best_score:
            best, best_score = candidate, score
    return best


def _threes(held: Mask, errors: Errors, pairs: Sequence[tuple[int, int]]) -> set[tuple[int, ...]]:
    """The best pairs with a third predicate."""
    if not pairs:
        return set()
    both = np.stack([held[:, a] & held[:, b] for a, b in pairs], axis=1)
    scores = _scores(_sums(both, held, errors), errors)
    places = (divmod(int(at), held.shape[1]) for at in _top(scores.ravel(), BEAM))
    threes = (tuple(sorted({*pairs[pair], third})) for pair, third in places)
    return {three for three in threes if len(three) == 3}


def _sums(left: Mask, right: Mask, errors: Errors) -> Sums:
    """Rows, errors and squares of errors for which both conditions hold, for each of `left` and each of `right`."""
    totals = np.zeros((3, left.shape[1], right.shape[1]))
    for start in range(0, len(errors), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        one, other = left[block].astype(np.float32), right[block].astype(np.float32)
        for power in range(3):
            totals[power] += (one * (errors[block, None] ** power).astype(np.float32)).T @ other
    return totals


def _scores(inside: Sums, errors: Errors) -> npt.NDArray[np.float64]:
    """Welch's t as if all rows were independent; minus infinity for candidates that are too small, too large or no worse."""
    rows, total, squares = inside
    rows_out = len(errors) - rows
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_in, mean_out = total / rows, (errors.sum() - total) / rows_out
        variance_in = np.maximum(squares / rows - mean_in**2, 1e-12)
        variance_out = np.maximum(((errors**2).sum() - squares) / rows_out - mean_out**2, 1e-12)
        t = (mean_in - mean_out) / np.sqrt(variance_in / rows + variance_out / rows_out)
    is_fit = (rows >= MIN_ROWS) & (rows <= MAX_SHARE * len(errors)) & (mean_in >= MIN_EXCESS * mean_out)
    return np.where(is_fit & np.isfinite(t), t, -np.inf)


def _top(scores: npt.NDArray[np.float64], count: int) -> list[int]:
    """Positions of the largest finite scores, the largest first; of equal ones, the first."""
    best = np.argsort(-scores, kind="stable")[:count]
    return [int(at) for at in best if np.isfinite(scores[at])]
