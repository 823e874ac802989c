"""One column's distribution: fitted to real values, drawn from by standard normal numbers.

A column of few distinct values is drawn exactly, as thresholds; another through its quantiles. No quantile is one row's
value: each is the mean of five neighbours at least. A number of few rows is drawn as the mean of it and its neighbours; a
category of few rows is never drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import ndtr, ndtri

from pipeline_assets.variants.tables.draft import is_category, is_number

Floats = npt.NDArray[np.float64]

STEPS = 50
"""Numbers of no more distinct values are drawn exactly."""
QUANTILES, GROUP = 1000, 5
"""Nodes of a smooth column at most, and values in the mean that each is at least."""


@dataclass(frozen=True)
class Margin:
    """A column that can be drawn.

    levels: as numbers, ascending; a category's are 0, 1, ... for `names`. bounds: the standard normal number at which each
    level ends (steps) or that belongs to it (smooth). null_bound: below it, the column's second number means null.
    """

    name: str
    dtype: pl.DataType
    levels: Floats
    bounds: Floats
    is_smooth: bool
    null_bound: float
    names: tuple[str, ...] = ()

    def numbers(self, series: pl.Series) -> Floats:
        """Values as numbers, NaN for nulls and for categories that are never drawn."""
        if self.names:
            codes = dict(zip(self.names, range(len(self.names)), strict=True))
            series = series.cast(pl.String).replace_strict(codes, default=None, return_dtype=pl.Float64)
        return as_numbers(series)

    def drawn(self, normals: Floats) -> Floats:
        """Values as numbers for standard normal ones."""
        if self.is_smooth:
            found = np.interp(normals, self.bounds, self.levels)
            return found if self.dtype.is_float() else np.rint(found)
        if not self.levels.size:
            return np.full(normals.shape, np.nan)
        return self.levels[np.searchsorted(self.bounds[:-1], normals)]

    def series(self, numbers: Floats) -> pl.Series:
        """Numbers as a column, NaN as null."""
        if self.names:
            codes = pl.Series(np.nan_to_num(numbers, nan=len(self.names)).astype(np.uint32))
            values = pl.Series([*self.names, None], dtype=pl.String).gather(codes)
            if self.dtype != pl.Boolean:
                return values.cast(self.dtype).alias(self.name)
            return (values == "true").alias(self.name)
        found = pl.Series(self.name, numbers).fill_nan(None)
        return found.cast(self.dtype) if is_number(self.dtype) else found.cast(pl.Int64).cast(self.dtype)


def as_numbers(series: pl.Series) -> Floats:
    """A column of numbers, times or truths as float64; NaN for what is null or not finite."""
    physical = series.cast(pl.UInt8) if series.dtype == pl.Boolean else series.to_physical()
    numbers = physical.cast(pl.Float64).fill_null(float("nan")).to_numpy(writable=True)
    numbers[~np.isfinite(numbers)] = np.nan
    return numbers


def fitted(series: pl.Series, *, rare: int) -> Margin:
    """The distribution of a column of numbers, times, truths or text; of text, in order of frequency."""
    if is_category(series.dtype):
        return _fitted_categories(series, rare)
    numbers = as_numbers(series)
    observed = np.sort(numbers[~np.isnan(numbers)])
    null_bound = float(ndtri(1 - observed.size / numbers.size))
    levels, counts = np.unique(observed, return_counts=True)
    if levels.size <= STEPS:
        levels, counts = _merged(levels, counts, rare)
        levels = levels if series.dtype.is_float() else np.rint(levels)
        return Margin(series.name, series.dtype, levels, _ends(counts), False, null_bound)
    starts = np.unique(
        np.linspace(0, observed.size, min(QUANTILES, observed.size // GROUP), endpoint=False).astype(np.int64)
    )
    sizes = np.diff(starts, append=observed.size)
    means = np.add.reduceat(observed, starts) / sizes
    middles = ndtri((starts + sizes / 2) / observed.size)
    return Margin(series.name, series.dtype, means, middles, True, null_bound)


def ordered(margin: Margin, codes: Floats, by: Sequence[Floats]) -> Margin:
    """A category's levels in the order of their means of the column that they tell most of; codes: `margin.numbers`.

    by: scores of other columns, NaN where unknown. Thresholds can carry one order only, so it is the one that matters most.
    """
    best, best_means = 0.0, np.arange(len(margin.names), dtype=np.float64)
    for scores in by:
        both = ~np.isnan(codes) & ~np.isnan(scores)
        at = codes[both].astype(np.int64)
        counts = np.maximum(np.bincount(at, minlength=len(margin.names)), 1)
        means = np.bincount(at, scores[both], minlength=len(margin.names)) / counts
        explained = float((counts * means**2).sum()) / max(both.sum(), 1)
        if explained > best:
            best, best_means = explained, means
    order = np.argsort(best_means, kind="stable")
    shares = np.diff(ndtr(margin.bounds), prepend=0.0)
    names = tuple(margin.names[at] for at in order)
    return Margin(margin.name, margin.dtype, margin.levels, _ends(shares[order]), False, margin.null_bound, names)


def _fitted_categories(series: pl.Series, rare: int) -> Margin:
    text = series.cast(pl.String).drop_nulls().alias("value")
    counted = text.value_counts().sort("count", "value", descending=[True, False])
    # An enum's values and truths are declared, whoever has them.
    if not isinstance(series.dtype, pl.Enum | pl.Boolean):
        counted = counted.filter(pl.col("count") >= rare)
    names = tuple(counted["value"].to_list())
    ends = _ends(counted["count"].to_numpy().astype(np.float64))
    null_bound = float(ndtri(1 - text.len() / series.len()))
    return Margin(series.name, series.dtype, np.arange(len(names), dtype=np.float64), ends, False, null_bound, names)


def _merged(levels: Floats, counts: npt.NDArray[np.int64], rare: int) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Levels that few rows have together with the next ones, as their mean, until enough rows have them."""
    sums, sizes = [], []
    total, size = 0.0, 0
    for level, count in zip(levels.tolist(), counts.tolist(), strict=True):
        total, size = total + level * count, size + count
        if size >= rare:
            sums.append(total)
            sizes.append(size)
            total, size = 0.0, 0
    if size:
        total, size = total + (sums.pop() if sums else 0.0), size + (sizes.pop() if sizes else 0)
        sums.append(total)
        sizes.append(size)
    return np.array(sums) / np.maximum(sizes, 1), np.array(sizes, dtype=np.int64)


def _ends(counts: Floats | npt.NDArray[np.int64]) -> Floats:
    """Standard normal numbers that cut off these shares; the last is infinite."""
    ends: Floats = ndtri(np.minimum(np.cumsum(counts) / max(counts.sum(), 1e-300), 1.0))
    if ends.size:
        ends[-1] = np.inf
    return ends
