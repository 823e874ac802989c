"""Summaries of a day's values that grow batch by batch: moments, a histogram of equal shares, the number that differ.

Each is a function of the set of values alone: neither the order of rows nor the size of batches changes it (but for the
last digits of mean and deviation, which are rounded away: `Numbers.moments`).
"""

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

BINS = 200
"""Shares of the histogram. A bin holds at most 1/200 of the rows, or values that differ by less than the grid's width."""
GRID_BITS = 20
"""The grid over a day's values has at most 2^20 cells: each is at most 1/4000 of its values wide, less for close values."""
EXPONENTS = 64
"""Numbers below 2^-64 count as 0 in a histogram, and those above 2^64 as 2^64."""
SMALLEST = (1023 - EXPONENTS) << 52
SPARSE = 1 << 16
"""Below this number of values, sorting them costs less than counting in all cells."""
DIGITS = 10
"""Of mean and deviation, counted from the first one of the largest magnitude."""
HUGE, MOST_DECIMALS = 1e150, 150
"""Squares of larger numbers overflow, and those of smaller ones vanish."""
HASHES = 1024
"""Distinct values up to this number are counted; more are estimated from the smallest hashes, +- 3 %."""
SEED = 18


@dataclass(frozen=True)
class Histogram:
    """Values between `low` and `high` of each bin (both included, ascending, not overlapping) with their `rows`."""

    low: Floats
    high: Floats
    rows: Integers

    @classmethod
    def empty(cls) -> "Histogram":
        """Of no values."""
        return cls(np.empty(0), np.empty(0), np.empty(0, np.int64))

    @cached_property
    def shares(self) -> Floats:
        """Share of the rows below each bin, and 1 at the end; all 0 of no rows."""
        ends = np.concatenate([[0], np.cumsum(self.rows)])
        return ends / max(ends[-1], 1)

    @property
    def total(self) -> int:
        """All rows."""
        return int(self.rows.sum())

    def share_up_to(self, points: Floats) -> Floats:
        """Share of the rows with a value of at most each point; a bin that a point lies in is cut in proportion."""
        shares = self.shares
        if not len(self.low):
            return np.zeros(len(points))
        whole = np.searchsorted(self.high, points, "right")
        inside = np.minimum(whole, len(self.low) - 1)
        width = self.high[inside] - self.low[inside]
        part = np.clip((points - self.low[inside]) / np.where(width > 0, width, 1), 0, 1)
        is_inside = (whole < len(self.low)) & (points >= self.low[inside]) & (width > 0)
        return np.where(is_inside, shares[whole] + part * (shares[inside + 1] - shares[inside]), shares[whole])

    def quantiles(self, probabilities: Floats) -> Floats:
        """The value below which each share lies; within a bin in proportion. NaN of no values."""
        if not self.total:
            return np.full(len(probabilities), np.nan)
        ends = np.cumsum(self.rows)
        rank = probabilities * self.total
        index = np.minimum(np.searchsorted(ends, rank, "left"), len(ends) - 1)
        part = np.clip((rank - (ends[index] - self.rows[index])) / self.rows[index], 0, 1)
        return self.low[index] + part * (self.high[index] - self.low[index])


@dataclass
class Numbers:
    """The finite numbers of a day: moments, and a histogram on a grid that only the smallest and largest decide."""

    rows: int = 0
    mean: float = 0.0
    squares: float = 0.0
    """Sum of squared deviations from the mean."""
    smallest: float = math.inf
    largest: float = -math.inf
    level: int = 0
    """Bits of the values that the grid ignores."""
    cells: Integers = field(default_factory=lambda: np.empty(0, np.int64))
    counts: Integers = field(default_factory=lambda: np.empty(0, np.int64))

    def add(self, values: Floats) -> None:
        """Take in finite values, (n,)."""
        if not len(values):
            return
        self._add_moments(values)
        first, last = _keys(np.array([self.smallest, self.largest])).tolist()
        level = max((last - first).bit_length() - GRID_BITS, 0)
        cells, counts = _counted(_coarser(_keys(values), level))
        if len(self.cells):
            earlier = _coarser(self.cells, level - self.level)
            cells, counts = _summed(np.concatenate([earlier, cells]), np.concatenate([self.counts, counts]))
        self.level, self.cells, self.counts = level, cells, counts

    def _add_moments(self, values: Floats) -> None:
        column, count = pl.Series(values), len(values)
        with np.errstate(all="ignore"):
            mean = float(column.mean())  # type: ignore[arg-type]
            squares = float(column.var(ddof=0) or 0.0) * count  # type: ignore[arg-type]
            shift, rows = mean - self.mean, self.rows + count
            self.squares += squares + shift * shift * self.rows * count / rows
            self.mean += shift * count / rows
            self.rows = rows
        self.smallest = min(self.smallest, float(column.min()))  # type: ignore[arg-type]
        self.largest = max(self.largest, float(column.max()))  # type: ignore[arg-type]

    def moments(self) -> tuple[float | None, float | None]:
        """Mean and standard deviation of the sample, to ten digits of the largest magnitude.

        None of too few values, and of those with one above `HUGE`.
        The noise of sums in another order is about 1e-15 of that magnitude, also where the result is near 0.
        """
        scale = max(abs(self.smallest), abs(self.largest))
        if not self.rows or scale > HUGE:
            return None, None
        decimals = min(DIGITS - 1 - math.floor(math.log10(scale)), MOST_DECIMALS) if scale else 0
        mean = min(max(_rounded(self.mean, decimals), self.smallest), self.largest)
        if self.rows < 2:
            return mean, None
        if self.smallest == self.largest:
            return mean, 0.0
        return mean, _rounded(math.sqrt(max(self.squares, 0.0) / (self.rows - 1)), decimals)

    def histogram(self) -> Histogram:
        """The cells, joined to bins of equal shares if there are more than `BINS`. A full cell is a bin of its own."""
        values = _values(self.cells, self.level)
        if len(self.cells) <= BINS:
            return Histogram(values, values, self.counts)
        before = np.cumsum(self.counts) - self.counts
        share = before * BINS // self.rows
        is_full = self.counts * BINS > self.rows
        begins = np.ones(len(values), bool)
        begins[1:] = (share[1:] != share[:-1]) | is_full[1:] | is_full[:-1]
        starts = np.flatnonzero(begins)
        ends = np.concatenate([starts[1:], [len(values)]]) - 1
        return Histogram(values[starts], values[ends], np.add.reduceat(self.counts, starts))


def _rounded(value: float, decimals: int) -> float:
    """The value with so many decimals. Halves are frequent among means, so what divides up from down lies beside them."""
    return round(value + 0.03 * 10.0**-decimals, decimals)


def _keys(values: Floats) -> Integers:
    """Whole numbers in the order of the values, on a scale that is logarithmic between powers of two and linear within."""
    magnitude = np.abs(values).view(np.int64)
    magnitude -= SMALLEST
    np.clip(magnitude, 0, 2 * EXPONENTS << 52, out=magnitude)
    return np.where(values < 0, -magnitude, magnitude)


def _values(cells: Integers, level: int) -> Floats:
    """The end of each cell that is closer to 0: whole numbers below 4,096 come back as they are."""
    magnitude = (np.abs(cells) << level) + SMALLEST
    values = np.where(cells == 0, 0.0, magnitude.view(np.float64))
    return np.where(cells < 0, -values, values)


def _coarser(keys: Integers, levels: int) -> Integers:
    """Keys on a grid of 2^levels times as wide cells, rounded to 0."""
    return np.where(keys < 0, -(-keys >> levels), keys >> levels)


def _counted(cells: Integers) -> tuple[Integers, Integers]:
    """The cells with values, ascending, and how many each has."""
    if len(cells) < SPARSE:
        return np.unique(cells, return_counts=True)
    first = cells.min()
    counts = np.bincount(cells - first)
    filled = np.flatnonzero(counts)
    return filled + first, counts[filled]


def _summed(cells: Integers, counts: Integers) -> tuple[Integers, Integers]:
    order = np.argsort(cells, kind="stable")
    cells, counts = cells[order], counts[order]
    starts = np.flatnonzero(np.concatenate([[True], cells[1:] != cells[:-1]]))
    return cells[starts], np.add.reduceat(counts, starts)


@dataclass
class Distinct:
    """How many values differ: exact up to `HASHES`, beyond that estimated from the smallest hashes (KMV)."""

    hashes: pl.Series = field(default_factory=lambda: pl.Series([], dtype=pl.UInt64))

    def add(self, values: pl.Series) -> None:
        """Take in values without nulls."""
        hashes = values.hash(SEED)
        if len(self.hashes) == HASHES:
            hashes = hashes.filter(hashes < self.hashes[-1])
        elif len(hashes) > 64 * HASHES:
            few = hashes.filter(hashes < (1 << 64) * 8 * HASHES // len(hashes))
            hashes = few if few.n_unique() >= HASHES else hashes
        self.hashes = pl.concat([self.hashes, hashes]).unique().sort().head(HASHES)

    def count(self) -> tuple[int, bool]:
        """The number of different values, and whether it is exact."""
        if len(self.hashes) < HASHES:
            return len(self.hashes), True
        return round((HASHES - 1) / (self.hashes[-1] / 2**64)), False


@dataclass
class Values:
    """The rows of each value of a category. Memory grows with the number of values that differ."""

    counted: pl.DataFrame | None = None

    def add(self, values: pl.Series) -> None:
        """Take in values without nulls."""
        new = values.rename("value").value_counts(name="rows")
        if self.counted is not None:
            new = pl.concat([self.counted, new]).group_by("value").agg(pl.col("rows").sum())
        self.counted = new

    @property
    def count(self) -> int:
        """The number of different values."""
        return 0 if self.counted is None else len(self.counted)

    def most(self, count: int) -> tuple[list[str], list[int]]:
        """The most frequent values as text with their rows, ties in order of the text."""
        if self.counted is None:
            return [], []
        text = self.counted.with_columns(pl.col("value").cast(pl.String), pl.col("rows").cast(pl.Int64))
        kept = text.sort(["rows", "value"], descending=[True, False]).head(count)
        return kept["value"].to_list(), kept["rows"].to_list()
