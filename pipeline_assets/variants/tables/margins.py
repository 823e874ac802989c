"""One column's distribution: fitted to real values, sampled by standard normal numbers.

A column of few distinct values is sampled exactly, by thresholds; another by its quantiles. No quantile is one row's value:
each is the mean of at least five neighbours. Rare numbers are sampled as their mean if together they have enough rows, and
else as the next number that has enough, which is unchanged; a rare category is never sampled. A column with few values
gives only nulls.
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
    """A column that can be sampled.

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
        """Values as numbers, NaN for nulls and for rare categories."""
        if not self.levels.size:
            return np.full(series.len(), np.nan)
        if self.names:
            codes = dict(zip(self.names, range(len(self.names)), strict=True))
            series = series.cast(pl.String).replace_strict(codes, default=None, return_dtype=pl.Float64)
        return as_numbers(series)

    def drawn(self, normals: Floats) -> Floats:
        """Values as numbers for standard normal ones."""
        if self.is_smooth:
            numbers = np.interp(normals, self.bounds, self.levels)
            return numbers if self.dtype.is_float() else np.rint(numbers)
        if not self.levels.size:
            return np.full(normals.shape, np.nan)
        return self.levels[np.searchsorted(self.bounds[:-1], normals)]

    def series(self, numbers: Floats) -> pl.Series:
        """Numbers as a column, NaN as null."""
        if not self.levels.size:
            return pl.Series(self.name, [None], dtype=self.dtype).new_from_index(0, numbers.size)
        if self.names:
            codes = pl.Series(np.nan_to_num(numbers, nan=len(self.names)).astype(np.uint32))
            values = pl.Series([*self.names, None], dtype=pl.String).gather(codes)
            if self.dtype != pl.Boolean:
                return values.cast(self.dtype).alias(self.name)
            return (values == "true").alias(self.name)
        column = pl.Series(self.name, numbers).fill_nan(None)
        return column.cast(self.dtype) if is_number(self.dtype) else column.cast(pl.Int64).cast(self.dtype)


def as_numbers(series: pl.Series) -> Floats:
    """A column of numbers, times or booleans as float64; NaN for values that are null or not finite."""
    physical = series.cast(pl.UInt8) if series.dtype == pl.Boolean else series.to_physical()
    numbers = physical.cast(pl.Float64).fill_null(float("nan")).to_numpy(writable=True)
    numbers[~np.isfinite(numbers)] = np.nan
    return numbers


def fitted(series: pl.Series, *, rare: int) -> Margin:
    """The distribution of a column of numbers, times, booleans or text; text is ordered by frequency.

    rare: a value of fewer rows than this is rare.
    """
    if series.drop_nulls().len() < rare:
        return _never_drawn(series)
    if is_category(series.dtype):
        return _fitted_categories(series, rare)
    numbers = as_numbers(series)
    observed = np.sort(numbers[~np.isnan(numbers)])
    if observed.size < rare:
        return _never_drawn(series)
    null_bound = float(ndtri(1 - observed.size / numbers.size))
    levels, counts = np.unique(observed, return_counts=True)
    if levels.size <= STEPS:
        levels, counts = _merged(levels, counts, rare)
        levels = levels if series.dtype.is_float() else np.rint(levels)
        return Margin(series.name, series.dtype, levels, _ends(counts), False, null_bound)
    starts = np.unique(
        np.linspace(0, observed.size, min(QUANTILES, observed.size // max(GROUP, rare)), endpoint=False).astype(np.int64)
    )
    sizes = np.diff(starts, append=observed.size)
    means = np.add.reduceat(observed, starts) / sizes
    middles = ndtri((starts + sizes / 2) / observed.size)
    return Margin(series.name, series.dtype, means, middles, True, null_bound)


def ordered(margin: Margin, codes: Floats, by: Sequence[Floats]) -> Margin:
    """A category's levels in the order of their means of the column that they explain best; codes: `margin.numbers`.

    by: scores of other columns, NaN where unknown. Thresholds preserve only one order: that of the best explained column.
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
    frequencies = text.value_counts().sort("count", "value", descending=[True, False])
    # The values of an enum and a boolean are declared, so none is rare.
    if not isinstance(series.dtype, pl.Enum | pl.Boolean):
        frequencies = frequencies.filter(pl.col("count") >= rare)
    names = tuple(frequencies["value"].to_list())
    ends = _ends(frequencies["count"].to_numpy().astype(np.float64))
    null_bound = float(ndtri(1 - text.len() / series.len()))
    return Margin(series.name, series.dtype, np.arange(len(names), dtype=np.float64), ends, False, null_bound, names)


def _never_drawn(series: pl.Series) -> Margin:
    return Margin(series.name, series.dtype, np.empty(0), np.empty(0), False, float("inf"))


def _merged(levels: Floats, counts: npt.NDArray[np.int64], rare: int) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Merge rare levels into their mean as soon as they have enough rows together.

    A rest that stays rare does not move a level with enough rows: its rows count there, its value is ignored. A rest after
    such a mean is merged into it. At least `rare` rows must have levels.
    """
    values: list[float] = []
    sizes: list[int] = []
    is_mean, total, size = False, 0.0, 0
    for level, count in zip(levels.tolist(), counts.tolist(), strict=True):
        if count >= rare:
            values.append(level)
            sizes.append(count + size)
            is_mean, total, size = False, 0.0, 0
            continue
        total, size = total + level * count, size + count
        if size >= rare:
            values.append(total / size)
            sizes.append(size)
            is_mean, total, size = True, 0.0, 0
    if size:
        if is_mean:
            values[-1] = (values[-1] * sizes[-1] + total) / (sizes[-1] + size)
        sizes[-1] += size
    return np.array(values), np.array(sizes, dtype=np.int64)


def _ends(counts: Floats | npt.NDArray[np.int64]) -> Floats:
    """The standard normal quantiles of these shares; the last is infinite."""
    ends: Floats = ndtri(np.minimum(np.cumsum(counts) / max(counts.sum(), 1e-300), 1.0))
    if ends.size:
        ends[-1] = np.inf
    return ends
