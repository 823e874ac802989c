"""How far annotators agree beyond chance: Krippendorff's alpha with its interval, Fleiss' and Cohen's kappa. Pure.

A rating is an item and a value. An item with fewer than two ratings says nothing about agreement and is left out. What is
undefined is None with its reason: without disagreement by chance, a coefficient is neither 0 nor 1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Scale = Literal["nominal", "ordinal", "interval"]

RESAMPLES = 400
"""Bootstrap resamples of an interval."""
CONFIDENCE = 0.95
MIN_DEFINED = 0.9
"""Share of resamples in which a coefficient must be defined, or its interval is not."""
MAX_PAIRED_RATINGS = 2_000_000
"""Pairs of ratings of one item that Cohen's kappa looks at; beyond, it takes a random part of the annotators."""

NO_PAIRS = "no item has two ratings"
ONE_VALUE = "all ratings have one value, so that agreement by chance is certain"


@dataclass(frozen=True)
class Measure:
    """A coefficient, and its bootstrap interval over items; None: undefined, and `reason` says why."""

    value: float | None
    reason: str | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Counts:
    """How many ratings of an item have a value. table: sparse (items, values), in the order of `domain`.

    size: (items,) ratings of an item, at least 2; squares: (items,) sums of squared counts. Rows of zeros are none.
    """

    table: "csr_array"
    size: Floats
    squares: Floats
    domain: Floats


def totals(code: Ints, weights: npt.NDArray[Any], codes: int) -> Floats:
    """(codes,) The sum of the weights of each code."""
    return np.bincount(code, weights=weights, minlength=codes).astype(np.float64)


def counts(item: Ints, value: Floats) -> Counts:
    """Ratings counted. item: (n,) codes of any range; value: (n,) codes of classes, or numbers in their order."""
    from scipy.sparse import coo_array

    domain, value_codes = np.unique(value, return_inverse=True)
    _, item_codes, size = np.unique(item, return_inverse=True, return_counts=True)
    is_paired = size[item_codes] >= 2
    kept_items = np.cumsum(size >= 2) - 1
    rows, columns = kept_items[item_codes[is_paired]], value_codes[is_paired]
    size_kept = size[size >= 2].astype(np.float64)
    # Equal places of a matrix of coordinates are added up.
    table = coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(size_kept), len(domain))).tocsr()
    return Counts(table, size_kept, np.asarray(table.power(2).sum(axis=1)), domain.astype(np.float64))


def alpha(rated: Counts, scale: Scale, seed: int | None = None, resamples: int = RESAMPLES) -> Measure:
    """Krippendorff's alpha. With a seed also its interval: percentiles of a bootstrap over items.

    On the ordinal scale a value is its mean rank among all ratings, on the interval scale itself; differences are squared.
    Source: Krippendorff 2011, Computing Krippendorff's alpha-reliability.
    """
    return _measured(rated, _alpha(rated, scale), seed, resamples)


def fleiss_kappa(rated: Counts, seed: int | None = None, resamples: int = RESAMPLES) -> Measure:
    """Fleiss' kappa; items may have different numbers of ratings, as each item's agreement counts alike.

    Source: Fleiss 1971, Measuring nominal scale agreement among many raters.
    """
    return _measured(rated, lambda weights: _fleiss(rated, weights), seed, resamples)


def cohen_kappa(item: Ints, annotator: Ints, value: Ints, seed: int, bound: int = MAX_PAIRED_RATINGS) -> Measure:
    """Mean of Cohen's kappa over pairs of annotators with at least two common items, weighted by common items.

    item, annotator, value: (n,) codes; nobody rates an item twice. Pairs for which chance agreement is certain are left out.
    With more than `bound` pairs of ratings, a random part of the annotators stands for all.
    """
    left, right = _paired(*_sample(item, annotator, seed, bound))
    if not len(left):
        return Measure(None, NO_PAIRS)
    # A pair's first annotator is the one with the lower code, so that marginals belong to one of the two throughout.
    is_swapped = annotator[left] > annotator[right]
    left, right = np.where(is_swapped, right, left), np.where(is_swapped, left, right)
    people, values = int(annotator.max()) + 1, int(value.max()) + 1
    _, pair, common = np.unique(annotator[left] * people + annotator[right], return_inverse=True, return_counts=True)
    observed = np.bincount(pair, weights=value[left] == value[right]) / common
    expected = _chance(pair, value[left], value[right], len(common), values) / common.astype(np.float64) ** 2
    is_defined = (common >= 2) & (expected < 1 - 1e-12)
    if not is_defined.any():
        return Measure(None, ONE_VALUE if (common >= 2).any() else "no two annotators have two common items")
    kappas = (observed[is_defined] - expected[is_defined]) / (1 - expected[is_defined])
    return Measure(min(float(np.average(kappas, weights=common[is_defined])), 1.0))


def _measured(rated: Counts, of: Callable[[Floats], float], seed: int | None, resamples: int) -> Measure:
    def bounded(weights: Floats) -> float:
        """Perfect agreement is 1, and no rounding makes it more. NaN stays NaN."""
        return float(np.minimum(of(weights), 1.0))

    items = len(rated.size)
    if not items:
        return Measure(None, NO_PAIRS)
    value = bounded(np.ones(items))
    if np.isnan(value):
        return Measure(None, ONE_VALUE)
    if seed is None or items < 2:
        return Measure(value)
    rng = np.random.default_rng(seed)
    drawn = [
        bounded(np.bincount(rng.integers(0, items, items), minlength=items).astype(np.float64)) for _ in range(resamples)
    ]
    if np.isnan(drawn).mean() > 1 - MIN_DEFINED:
        return Measure(value)
    low, high = np.nanquantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Measure(value, None, float(low), float(high))


def _alpha(rated: Counts, scale: Scale) -> Callable[[Floats], float]:
    """Alpha of items that count as often as weights say; NaN where it is undefined."""
    if scale == "nominal":
        fixed = (rated.size**2 - rated.squares) / (rated.size - 1)
    else:
        points = rated.domain - (rated.domain.mean() if len(rated.domain) else 0.0)
        fixed = _disagreement(rated, points)

    def of(weights: Floats) -> float:
        of_value = rated.table.T @ weights
        ratings, disagreement = of_value.sum(), fixed
        if np.count_nonzero(of_value) < 2:
            return float("nan")
        if scale == "nominal":
            expected = (ratings**2 - of_value @ of_value) / (ratings - 1)
        else:
            place = points
            if scale == "ordinal":
                # Ranks are those of the resampled ratings: alpha of the resample, as of any data.
                ranks = np.cumsum(of_value) - of_value / 2
                place = ranks - of_value @ ranks / ratings
                disagreement = _disagreement(rated, place)
            expected = 2 * (ratings * (of_value @ place**2) - (of_value @ place) ** 2) / (ratings - 1)
        return float(1 - (weights * disagreement).sum() / expected)

    return of


def _disagreement(rated: Counts, points: Floats) -> Floats:
    """(items,) Squared differences of all pairs of an item's ratings, over its ratings less one. points: of each value."""
    sums, squares = (rated.table @ np.stack([points, points**2], axis=1)).T
    return 2 * (rated.size * squares - sums**2) / (rated.size - 1)


def _fleiss(rated: Counts, weights: Floats) -> float:
    """Fleiss' kappa of items that count `weights` times; NaN where it is undefined."""
    observed = np.average((rated.squares - rated.size) / (rated.size * (rated.size - 1)), weights=weights)
    of_value = rated.table.T @ weights
    expected = (of_value @ of_value) / of_value.sum() ** 2
    return float((observed - expected) / (1 - expected)) if np.count_nonzero(of_value) > 1 else float("nan")


def _sample(item: Ints, annotator: Ints, seed: int, bound: int) -> tuple[Ints, Ints]:
    """Positions of ratings sorted by item, and their items: of all annotators, or of as many as the bound allows."""
    order = np.lexsort((annotator, item))
    while len(order):
        _, size = np.unique(item[order], return_counts=True)
        pairs = float((size.astype(np.float64) * (size - 1) / 2).sum())
        if pairs <= bound:
            break
        people = np.unique(annotator[order])
        chosen = np.random.default_rng(seed).permutation(people)[: int(len(people) * 0.95 * (bound / pairs) ** 0.5)]
        order = order[np.isin(annotator[order], chosen)]
    return order, item[order]


def _paired(order: Ints, items: Ints) -> tuple[Ints, Ints]:
    """Positions of every two ratings of one item. items: sorted."""
    left, right = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for offset in range(1, len(items)):
        at = np.flatnonzero(items[offset:] == items[:-offset])
        if not len(at):
            break
        left.append(order[at])
        right.append(order[at + offset])
    return np.concatenate(left), np.concatenate(right)


def _chance(pair: Ints, left: Ints, right: Ints, pairs: int, values: int) -> Floats:
    """For each pair, the sum over values of how often its first and its second annotator gave it, multiplied."""
    left_keys, left_counts = np.unique(pair * values + left, return_counts=True)
    right_keys, right_counts = np.unique(pair * values + right, return_counts=True)
    both, at_left, at_right = np.intersect1d(left_keys, right_keys, assume_unique=True, return_indices=True)
    products = (left_counts[at_left] * right_counts[at_right]).astype(np.float64)
    return totals(both // values, products, pairs)
