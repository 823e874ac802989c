"""Drift: how far a column's values have moved from one version to another. Functions of values; nothing is read here."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline_assets.versioning.comparison import Drift

Floats = npt.NDArray[np.float64]

DECILES = np.arange(1, 10) / 10
FLOOR = 1e-4
"""The share that an empty bin counts as: a logarithm of zero would hide by how much the others have moved."""
BARS = 24
"""Of the picture, equally wide. The index itself is on deciles, in which the version before is flat."""
OTHERS = "(others)"
SHOWN_CATEGORIES = 12


def psi(before: Sequence[float] | Floats, after: Sequence[float] | Floats) -> float:
    """Population stability index of two histograms over the same bins, given as counts: sum of (q - p) ln(q / p).

    0 where the shares are equal; by custom below 0.1 is little and above 0.25 much. Each histogram has at least one count.
    Source: Siddiqi, Credit Risk Scorecards (2006); empty bins count as `FLOOR`.
    """
    p, q = (np.maximum(np.asarray(counts, float) / np.sum(counts), FLOOR) for counts in (before, after))
    return float(np.sum((q - p) * np.log(q / p)))


def ks(before: Floats, after: Floats) -> float:
    """The two-sample Kolmogorov-Smirnov statistic: the largest distance between the distribution functions, in [0, 1].

    before, after: (n,) and (m,), each ascending and with at least one value, none NaN.
    """
    points = np.concatenate([before, after])
    shares = [np.searchsorted(side, points, side="right") / len(side) for side in (before, after)]
    return float(np.abs(shares[0] - shares[1]).max())


def edges(before: Floats) -> Floats:
    """The upper edges of all bins but the last, each inside its bin. before: ascending.

    Deciles of many values. A few distinct ones get a bin each, and what lies below and above them one too: deciles would
    fall together there.
    """
    distinct = np.unique(before)
    if len(distinct) <= len(DECILES):
        return np.concatenate([[np.nextafter(distinct[0], -np.inf)], distinct])
    return np.unique(np.quantile(before, DECILES, method="inverted_cdf"))


def of_numbers(column: str, before: pl.Series, after: pl.Series) -> Drift:
    """A numeric column. NaN and null are missing values; a version without any other has no KS and no mean."""
    old, new = _sorted(before), _sorted(after)
    missing = len(before) - len(old), len(after) - len(new)
    cuts = edges(old) if len(old) else np.array([0.0])
    counts = [
        np.append(np.bincount(np.searchsorted(cuts, side, side="left"), minlength=len(cuts) + 1), gone)
        for side, gone in zip((old, new), missing, strict=True)
    ]
    finite = [side[np.isfinite(side)] for side in (old, new)]
    there = [side for side in finite if len(side)]
    bars = _bars(min(side[0] for side in there), max(side[-1] for side in there)) if there else np.array([0.0, 1.0])
    return Drift(
        column=column,
        psi=psi(*counts) if all(count.sum() for count in counts) else 0.0,
        ks=ks(old, new) if len(old) and len(new) else None,
        missing_before=missing[0] / max(len(before), 1),
        missing_after=missing[1] / max(len(after), 1),
        mean_before=_mean(finite[0]),
        mean_after=_mean(finite[1]),
        bins=[f"{low:.4g} to {high:.4g}" for low, high in pairwise(bars)],
        before=_shares(finite[0], bars),
        after=_shares(finite[1], bars),
    )


def of_categories(column: str, before: Mapping[str | None, int], after: Mapping[str | None, int]) -> Drift:
    """A column of categories, given as counts. None counts missing values."""
    names = sorted({*before, *after} - {None}, key=lambda name: (-max(before.get(name, 0), after.get(name, 0)), str(name)))
    totals = [max(sum(side.values()), 1) for side in (before, after)]
    counts = [[side.get(name, 0) for name in (*names, None)] for side in (before, after)]
    shares = [[count / total for count in side[:-1]] for side, total in zip(counts, totals, strict=True)]
    shown = [[*side[:SHOWN_CATEGORIES], sum(side[SHOWN_CATEGORIES:])] for side in shares]
    is_cut = len(names) > SHOWN_CATEGORIES
    return Drift(
        column=column,
        psi=psi(*counts) if all(sum(side) for side in counts) else 0.0,
        ks=None,
        missing_before=before.get(None, 0) / totals[0],
        missing_after=after.get(None, 0) / totals[1],
        mean_before=None,
        mean_after=None,
        bins=[*map(str, names[:SHOWN_CATEGORIES]), *([OTHERS] if is_cut else [])],
        before=shown[0] if is_cut else shown[0][:-1],
        after=shown[1] if is_cut else shown[1][:-1],
    )


def _sorted(column: pl.Series) -> Floats:
    values = column.drop_nulls().cast(pl.Float64).drop_nans().to_numpy()
    return np.sort(values)


def _bars(low: float, high: float) -> Floats:
    return np.linspace(low, high, BARS + 1) if high > low else np.array([low, low])


def _shares(values: Floats, bars: Floats) -> list[float]:
    if not len(values):
        return [0.0] * (len(bars) - 1)
    if len(bars) == 2:
        return [1.0]
    found = np.searchsorted(values, bars, side="left")
    found[-1] = len(values)
    return [float(share) for share in np.diff(found) / len(values)]


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if len(values) else None
