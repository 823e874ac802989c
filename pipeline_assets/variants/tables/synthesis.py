"""Synthetic rows: a model of a table, fitted and sampled.

Columns keep their distributions (`margins.py`) and their pairwise correlations of ranks (`copula.py`); which cells are
null is modelled with them. Dependence that ranks do not show, and more than one order of a category's values, are lost.
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
from pipeline_assets.variants.tables.report import compared, lost_distributions

FIT_ROWS = 100_000
"""The model is fitted to so many rows, evenly drawn; that no row is copied is held against all of them."""
PILOT_ROWS = 10_000
MIN_ROWS = 20
MAX_INTEGER, MAX_FLOAT = 2**62, 1e150
PIECE = 32_768
THREADS = 4
STAY = (0.0, 0.98, 0.95, 0.9, 0.8, 0.6, 0.3, 0.0, 0.0)
"""How much of itself a row keeps at each attempt to draw one that copies none: inactive users stay inactive."""

Random = Callable[[str], np.random.Generator]


@dataclass(frozen=True)
class Model:
    """columns: each has a normal number, and a second one if it has nulls, after all first ones. lower: their factor."""

    columns: tuple[Margin, ...]
    lower: Floats

    def drawn(self, normals: Floats, random: Callable[[int], np.random.Generator], stay: float) -> pl.DataFrame:
        """Update rows of independent normal numbers, (d, n), in place: each keeps a part `stay` and gets a new rest.

        Works in pieces that fit a core's cache, each with its own random stream: threads do not change the result.
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

    keys: columns that identify rows; they get new values. Text of mostly distinct values is replaced like a key.
    Raises UnfitParent for tables of few rows, with columns that have no order, or with numbers too large to model; if only
    copies can be sampled; and if the sampled columns are not distributed as the real ones.
    """
    if real.height < MIN_ROWS:
        raise UnfitParent("too_few_rows", f"{real.height} rows, and a model needs {MIN_ROWS}")
    full = [series.name for series in real if series.null_count() < real.height]
    orderable = columns_of(real.select(full), ordered=True)
    if unsupported := [name for name in full if name not in orderable and name not in keys]:
        raise UnfitParent(
            "unsupported_columns", f"no model of {', '.join(f'{name} ({real.schema[name]})' for name in unsupported)}"
        )
    names = [name for name in real.columns if name in orderable and not is_replaced(real[name], name in keys, rare)]
    if not names:
        raise UnfitParent("no_columns", "no column beside the keys that could be modelled")
    if beyond := [name for name in names if is_beyond(real[name])]:
        raise UnfitParent("unsupported_values", f"{', '.join(beyond)}: numbers too great to model; identifiers are keys")
    picked = np.sort(random("fit").permutation(real.height)[:FIT_ROWS])
    sample = real.select(names) if real.height <= FIT_ROWS else real.select(names)[picked]
    model = fitted(sample, random("pilot"), rare=rare)
    drawn_rows, counts = _without_copies(model, real.select(names), random, rows or real.height, common)
    report = {"common": common, **counts, **compared(model.columns, real.select(names), drawn_rows, random("report"))}
    if lost_columns := lost_distributions(report):
        raise UnfitParent("distribution_lost", f"distribution functions are too far from the real ones: {lost_columns}")
    columns = {
        name: drawn_rows[name] if name in names else replacement(real[name], drawn_rows.height) for name in real.columns
    }
    return pl.DataFrame(columns), report


def fitted(sample: pl.DataFrame, random: np.random.Generator, *, rare: int) -> Model:
    """A model of columns that have an order."""
    columns = _ordered(sample, [margins.fitted(series, rare=rare) for series in sample])
    target = correlations(_observed_scores(columns, _numbers(columns, sample)))
    normals = random.standard_normal((len(target), PILOT_ROWS))

    def observe(pilot: Floats) -> Floats:
        return correlations(_observed_scores(columns, _values(columns, pilot)))

    # Where a cell is null its value is unknown, so pairs of the two are unknown too.
    is_free = np.zeros(target.shape, dtype=np.bool_)
    for number, at in enumerate(_with_nulls(columns), start=len(columns)):
        is_free[number, at] = is_free[at, number] = True
    lower = calibrated(target, is_free, observe, normals)
    return Model(_adjusted_for_nulls(columns, correlated(normals, lower)), lower)


def is_beyond(series: pl.Series) -> bool:
    """Whether a column has numbers whose squares or whose rounding overflow its type."""
    if is_category(series.dtype):
        return False
    physical = series.to_physical().drop_nulls()
    finite = physical.filter(physical.is_finite()) if physical.dtype.is_float() else physical
    limit = MAX_FLOAT if physical.dtype.is_float() else MAX_INTEGER
    edges: list[Any] = [finite.min(), finite.max()]
    return bool(finite.len()) and max(abs(edge) for edge in edges) > limit


def is_replaced(series: pl.Series, is_key: bool, rare: int) -> bool:
    """Whether a column gets new values instead of a model: keys of supported types, and text that identifies its row."""
    if is_category(series.dtype) and not isinstance(series.dtype, pl.Enum | pl.Boolean):
        observed = series.drop_nulls()
        return is_key or (observed.len() >= rare and observed.n_unique() > observed.len() / rare)
    return is_key and (series.dtype.is_integer() or series.n_unique() == 1)


def replacement(series: pl.Series, rows: int) -> pl.Series:
    """Identifiers that no real row has: a constant stays, integers count down from -1 (or up from the greatest).

    Raises UnfitParent for a type that has no such identifiers, or too few.
    """
    if series.n_unique() == 1:
        return pl.Series(series.name, [series[0]], dtype=series.dtype).new_from_index(0, rows)
    if not series.dtype.is_integer():
        if not is_category(series.dtype):
            raise UnfitParent("unsupported_columns", f"no new keys are made for {series.name} ({series.dtype})")
        text = pl.Series(series.name, ["synthetic-"]).new_from_index(0, rows) + pl.Series(range(1, rows + 1)).cast(pl.String)
        return text.cast(series.dtype)
    least, greatest = int(series.min() or 0), int(series.max() or 0)  # type: ignore[arg-type]
    lowest, highest = bounds_of(series.dtype)
    up, down = (greatest + 1, 1), (min(least, 0) - 1, -1)
    for first, step in (down, up) if least >= 0 else (up, down):
        if lowest <= first <= highest and lowest <= first + step * (rows - 1) <= highest:
            # A list, since polars overflows on a range whose exclusive end is just beyond the type.
            return pl.Series(series.name, list(range(first, first + step * rows, step)), dtype=series.dtype)
    raise UnfitParent("no_free_keys", f"{series.name} ({series.dtype}) has no {rows:,} numbers in a row that are free")


def bounds_of(dtype: pl.DataType) -> tuple[int, int]:
    """The least and greatest number of an integer type."""
    bits = int(str(dtype).lstrip("UInt"))
    return (0, 2**bits - 1) if dtype.is_unsigned_integer() else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _ordered(sample: pl.DataFrame, columns: Sequence[Margin]) -> tuple[Margin, ...]:
    """Categories in the order that explains a column of numbers best."""
    numbers = [margin.numbers(sample[margin.name]) for margin in columns]
    of_numbers = [scores(n[None])[0] for margin, n in zip(columns, numbers, strict=True) if not margin.names]
    return tuple(
        margins.ordered(margin, n, of_numbers) if margin.names else margin
        for margin, n in zip(columns, numbers, strict=True)
    )


def _adjusted_for_nulls(columns: Sequence[Margin], pilot: Floats) -> tuple[Margin, ...]:
    """Margins of the observed values: if nulls depend on the value, the scores of observed values are no longer normal."""
    adjusted = list(columns)
    for number, at in enumerate(_with_nulls(columns), start=len(columns)):
        observed = pilot[at, pilot[number] >= columns[at].null_bound]
        if observed.size:
            adjusted[at] = replace(columns[at], bounds=np.quantile(observed, ndtr(columns[at].bounds)))
    return tuple(adjusted)


def _numbers(columns: Sequence[Margin], frame: pl.DataFrame) -> Floats:
    return np.stack([margin.numbers(frame[margin.name]) for margin in columns])


def _values(columns: Sequence[Margin], normals: Floats) -> Floats:
    """(d, n) correlated normal numbers to values as numbers, NaN for null."""
    numbers = np.stack([margin.drawn(of_column) for margin, of_column in zip(columns, normals, strict=False)])
    for number, at in enumerate(_with_nulls(columns), start=len(columns)):
        numbers[at, normals[number] < columns[at].null_bound] = np.nan
    return numbers


def _observed_scores(columns: Sequence[Margin], numbers: Floats) -> Floats:
    """Scores of values and, for the columns that have nulls, of whether a value is present."""
    presence = [(~np.isnan(numbers[at])).astype(np.float64) for at in _with_nulls(columns)]
    return scores(np.stack([*numbers, *presence]))


def _with_nulls(columns: Sequence[Margin]) -> list[int]:
    return [at for at, margin in enumerate(columns) if np.isfinite(margin.null_bound)]


def _without_copies(
    model: Model, real: pl.DataFrame, random: Random, rows: int, common: int
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Rows that equal no real one. Equal ones are moved further in each attempt, and finally left out."""
    forbidden = Rows.of(real, fewer_than=common)
    parts: list[pl.DataFrame] = []
    normals = np.zeros((len(model.lower), rows))
    moved = 0
    for attempt, stay in enumerate(STAY):
        moved += normals.shape[1] if attempt else 0
        # A mixture of normal numbers is normal again, so that the rows keep the model's distribution closely.
        drawn_rows = model.drawn(normals, lambda start, attempt=attempt: random(f"rows {attempt} {start}"), stay)  # type: ignore[misc]
        of_real = forbidden.found_in(drawn_rows)
        is_new = np.ones(drawn_rows.height, dtype=np.bool_)
        is_new[of_real] = False
        parts.append(drawn_rows.filter(is_new))
        normals = normals[:, of_real]
        if not of_real.size:
            break
    remaining = normals.shape[1]
    if remaining == rows:
        raise UnfitParent("only_copies", f"each of {rows:,} rows drawn was one that the table has, time after time")
    return pl.concat(parts), {"copies_moved": moved, "rows_left_out": remaining}


def facts(report: Mapping[str, Any]) -> str:
    """A report's main numbers, as text."""
    return (
        f"correlations off by {report['correlation_difference_mean']:.3f} in the mean,"
        f" {report['correlation_difference_max']:.3f} at most; {report['rows_copied']} rows copied; a value guessed from the"
        f" others in {report['disclosure']['synthetic']:.0%} of cases, from real rows in {report['disclosure']['real']:.0%}"
    )
