"""Rows that no one has: a model of a table, fitted and drawn from.

Columns keep their distributions (`margins.py`) and their pairwise correlations of ranks (`copula.py`); which cells are
null is modelled with them. Lost are dependence that ranks don't show, and more than one order of a category's values.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from scipy.special import ndtr

from pipeline_assets.errors import UnfitParent
from pipeline_assets.variants.tables import margins
from pipeline_assets.variants.tables.copies import Rows
from pipeline_assets.variants.tables.copula import Floats, calibrated, correlated, correlations, scores
from pipeline_assets.variants.tables.draft import columns_of, is_category
from pipeline_assets.variants.tables.margins import Margin
from pipeline_assets.variants.tables.report import compared

FIT_ROWS = 100_000
"""The model is fitted to so many rows, evenly drawn; that no row is copied is held against all of them."""
PILOT_ROWS = 10_000
MIN_ROWS = 20
PIECE = 32_768
THREADS = 4
STAY = (0.0, 0.98, 0.95, 0.9, 0.8, 0.6, 0.3, 0.0, 0.0)
"""How much of itself a row keeps at each attempt to draw one that copies none: inactive users stay inactive."""

Random = Callable[[str], np.random.Generator]


@dataclass(frozen=True)
class Model:
    """columns, each with a normal number of its own, then one for each of those that have nulls. lower: their factor."""

    columns: tuple[Margin, ...]
    lower: Floats

    def drawn(self, normals: Floats, random: Callable[[int], np.random.Generator], stay: float) -> pl.DataFrame:
        """Rows of independent normal numbers, (d, n), of which each keeps a part `stay` and gets a new rest, in place.

        By pieces that a processor's cache holds, each with a stream of its own, so that threads change nothing.
        """
        numbers = np.empty((len(self.columns), normals.shape[1]))

        def draw(start: int) -> None:
            old = normals[:, start : start + PIECE]
            old *= stay
            old += np.sqrt(1 - stay**2) * random(start).standard_normal(old.shape)
            numbers[:, start : start + PIECE] = _values(self.columns, correlated(old, self.lower))

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(draw, range(0, normals.shape[1], PIECE)))
        return pl.DataFrame(
            {margin.name: margin.series(values) for margin, values in zip(self.columns, numbers, strict=True)}
        )


def synthetic(
    real: pl.DataFrame, keys: Sequence[str], random: Random, *, rows: int, rare: int, common: int
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """New rows and the report on them.

    keys: columns that name rows; they are made anew. Text of which most values occur once is replaced like a key.
    Raises UnfitParent for tables of few rows or of columns that have no order, and if nothing but copies can be drawn.
    """
    if real.height < MIN_ROWS:
        raise UnfitParent("too_few_rows", f"{real.height} rows, and a model needs {MIN_ROWS}")
    full = [series.name for series in real if series.null_count() < real.height]
    orderable = columns_of(real.select(full), ordered=True)
    if odd := [name for name in full if name not in orderable and name not in keys]:
        raise UnfitParent("unsupported_columns", f"no model of {', '.join(f'{name} ({real.schema[name]})' for name in odd)}")
    names = [name for name in real.columns if name in orderable and not is_replaced(real[name], name in keys, rare)]
    if not names:
        raise UnfitParent("no_columns", "no column beside the keys that could be modelled")
    picked = np.sort(random("fit").permutation(real.height)[:FIT_ROWS])
    sample = real.select(names) if real.height <= FIT_ROWS else real.select(names)[picked]
    model = fitted(sample, random("pilot"), rare=rare)
    drawn, counts = _without_copies(model, real.select(names), random, rows or real.height, common)
    report = {"common": common, **counts, **compared(model.columns, real.select(names), drawn, random("report"))}
    made = {name: drawn[name] if name in names else replacement(real[name], drawn.height) for name in real.columns}
    return pl.DataFrame(made), report


def fitted(sample: pl.DataFrame, random: np.random.Generator, *, rare: int) -> Model:
    """A model of columns that have an order."""
    columns = _ordered(sample, [margins.fitted(series, rare=rare) for series in sample])
    target = correlations(_observed_scores(columns, _numbers(columns, sample)))
    normals = random.standard_normal((len(target), PILOT_ROWS))

    def observe(pilot: Floats) -> Floats:
        return correlations(_observed_scores(columns, _values(columns, pilot)))

    # Where a cell is null its value is unknown, so nothing is known of the two together.
    is_free = np.zeros(target.shape, dtype=np.bool_)
    for number, at in enumerate(_with_nulls(columns), start=len(columns)):
        is_free[number, at] = is_free[at, number] = True
    lower = calibrated(target, is_free, observe, normals)
    return Model(_beside_nulls(columns, correlated(normals, lower)), lower)


def is_replaced(series: pl.Series, is_key: bool, rare: int) -> bool:
    """Whether a column is made anew instead of being modelled: keys that can be, and text that names its row."""
    if is_category(series.dtype) and not isinstance(series.dtype, pl.Enum | pl.Boolean):
        observed = series.drop_nulls()
        return is_key or (observed.len() > 0 and observed.n_unique() > observed.len() / rare)
    return is_key and (series.dtype.is_integer() or series.n_unique() == 1)


def replacement(series: pl.Series, rows: int) -> pl.Series:
    """Names that no real row has: a constant stays, whole numbers count downwards from -1 (or up from the greatest)."""
    if series.n_unique() == 1:
        return pl.Series(series.name, [series[0]], dtype=series.dtype).new_from_index(0, rows)
    if not series.dtype.is_integer():
        text = pl.Series(series.name, ["synthetic-"]).new_from_index(0, rows) + pl.Series(range(1, rows + 1)).cast(pl.String)
        return text.cast(series.dtype)
    least, greatest = int(series.min() or 0), int(series.max() or 0)  # type: ignore[arg-type]
    numbers = range(greatest + 1, greatest + 1 + rows) if series.dtype.is_unsigned_integer() else range(-1, -1 - rows, -1)
    if least < 0:
        numbers = range(greatest + 1, greatest + 1 + rows)
    return pl.Series(series.name, numbers, dtype=series.dtype)


def _ordered(sample: pl.DataFrame, columns: Sequence[Margin]) -> tuple[Margin, ...]:
    """Categories in the order that tells most of a number's column."""
    numbers = [margin.numbers(sample[margin.name]) for margin in columns]
    of_numbers = [scores(n[None])[0] for margin, n in zip(columns, numbers, strict=True) if not margin.names]
    return tuple(
        margins.ordered(margin, n, of_numbers) if margin.names else margin
        for margin, n in zip(columns, numbers, strict=True)
    )


def _beside_nulls(columns: Sequence[Margin], pilot: Floats) -> tuple[Margin, ...]:
    """Margins of the values that are there: if nulls go with low or high ones, their normals are none any more."""
    found = list(columns)
    for number, at in enumerate(_with_nulls(columns), start=len(columns)):
        there = pilot[at, pilot[number] >= columns[at].null_bound]
        if there.size:
            found[at] = replace(columns[at], bounds=np.quantile(there, ndtr(columns[at].bounds)))
    return tuple(found)


def _numbers(columns: Sequence[Margin], frame: pl.DataFrame) -> Floats:
    return np.stack([margin.numbers(frame[margin.name]) for margin in columns])


def _values(columns: Sequence[Margin], normals: Floats) -> Floats:
    """(d, n) correlated normal numbers to values as numbers, NaN for null."""
    found = np.stack([margin.drawn(of_column) for margin, of_column in zip(columns, normals, strict=False)])
    for number, at in enumerate(_with_nulls(columns), start=len(columns)):
        found[at, normals[number] < columns[at].null_bound] = np.nan
    return found


def _observed_scores(columns: Sequence[Margin], numbers: Floats) -> Floats:
    """Scores of values, and of whether they are there for the columns that have nulls."""
    there = [(~np.isnan(numbers[at])).astype(np.float64) for at in _with_nulls(columns)]
    return scores(np.stack([*numbers, *there]))


def _with_nulls(columns: Sequence[Margin]) -> list[int]:
    return [at for at, margin in enumerate(columns) if np.isfinite(margin.null_bound)]


def _without_copies(
    model: Model, real: pl.DataFrame, random: Random, rows: int, common: int
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Rows that equal no real one. What does is moved, from attempt to attempt further, and at last left out."""
    forbidden = Rows.of(real, fewer_than=common)
    kept: list[pl.DataFrame] = []
    normals = np.zeros((len(model.lower), rows))
    moved = 0
    for attempt, stay in enumerate(STAY):
        moved += normals.shape[1] if attempt else 0
        # A mixture of normal numbers is normal again, so that what is kept has the model's distribution as nearly as can be.
        drawn = model.drawn(normals, lambda start, attempt=attempt: random(f"rows {attempt} {start}"), stay)  # type: ignore[misc]
        of_real = forbidden.found_in(drawn)
        is_new = np.ones(drawn.height, dtype=np.bool_)
        is_new[of_real] = False
        kept.append(drawn.filter(is_new))
        normals = normals[:, of_real]
        if not of_real.size:
            break
    left = normals.shape[1]
    if left == rows:
        raise UnfitParent("only_copies", f"each of {rows:,} rows drawn was one that the table has, time after time")
    return pl.concat(kept), {"copies_moved": moved, "rows_left_out": left}


def facts(report: Mapping[str, Any]) -> str:
    """A report's main numbers, for people."""
    return (
        f"correlations off by {report['correlation_difference_mean']:.3f} in the mean,"
        f" {report['correlation_difference_max']:.3f} at most; {report['rows_copied']} rows copied"
    )
