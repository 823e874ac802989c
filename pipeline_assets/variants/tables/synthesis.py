"""Rows that no one has: a model of a table, fitted and drawn from.

Columns keep their distributions (`margins.py`) and their pairwise correlations of ranks (`copula.py`); which cells are
null is modelled with them. What is not kept: dependence that ranks don't show, and more than one order of a category's values.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from pipeline_assets.errors import UnfitParent
from pipeline_assets.variants.tables import margins
from pipeline_assets.variants.tables.copula import Floats, calibrated, correlated, correlations, scores
from pipeline_assets.variants.tables.draft import columns_of, is_category
from pipeline_assets.variants.tables.margins import Margin
from pipeline_assets.variants.tables.report import compared

FIT_ROWS = 100_000
"""The model is fitted to so many rows, evenly drawn; that no row is copied is held against all of them."""
PILOT_ROWS = 10_000
MIN_ROWS = 20
STAY = (0.98, 0.95, 0.9, 0.8, 0.6, 0.3, 0.0, 0.0)
"""How far a drawn row that copies a real one stays where it was when it is drawn again: inactive users stay inactive ones."""

Random = Callable[[str], np.random.Generator]


@dataclass(frozen=True)
class Model:
    """columns, each with a normal number of its own, then one for each of those that have nulls. lower: their factor."""

    columns: tuple[Margin, ...]
    lower: Floats

    def drawn(self, normals: Floats) -> pl.DataFrame:
        """Rows of independent normal numbers, (n, d)."""
        numbers = _values(self.columns, correlated(normals, self.lower))
        return pl.DataFrame([margin.series(numbers[:, at]) for at, margin in enumerate(self.columns)])


def synthetic(
    real: pl.DataFrame, keys: Sequence[str], random: Random, *, rows: int, rare: int, common: int
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """New rows and the report on them.

    keys: columns that name rows; they are made anew. Text of which most values occur once is replaced like a key.
    Raises UnfitParent for tables of few rows or of columns that have no order, and if nothing but copies can be drawn.
    """
    if real.height < MIN_ROWS:
        raise UnfitParent("too_few_rows", f"{real.height} rows, and a model needs {MIN_ROWS}")
    orderable = columns_of(real, ordered=True)
    if odd := [name for name in real.columns if name not in orderable and name not in keys]:
        raise UnfitParent("unsupported_columns", f"no model of {', '.join(f'{name} ({real.schema[name]})' for name in odd)}")
    names = [name for name in real.columns if name in orderable and not is_replaced(real[name], name in keys, rare)]
    if not names:
        raise UnfitParent("no_columns", "no column beside the keys that could be modelled")
    picked = np.sort(random("fit").permutation(real.height)[:FIT_ROWS])
    sample = real.select(names) if real.height <= FIT_ROWS else real.select(names)[picked]
    model = fitted(sample, random("pilot"), rare=rare)
    drawn, counts = _without_copies(model, real.select(names), random, rows or real.height, common)
    report = {**counts, **compared(model.columns, real.select(names), drawn, random("report"))}
    made = {name: drawn[name] if name in names else replacement(real[name], drawn.height) for name in real.columns}
    return pl.DataFrame(made), report


def fitted(sample: pl.DataFrame, random: np.random.Generator, *, rare: int) -> Model:
    """A model of columns that have an order."""
    columns = _ordered(sample, [margins.fitted(series, rare=rare) for series in sample])
    target = correlations(_observed_scores(columns, _numbers(columns, sample)))
    normals = random.standard_normal((PILOT_ROWS, len(target)))

    def observe(pilot: Floats) -> Floats:
        return correlations(_observed_scores(columns, _values(columns, pilot)))

    # Where a cell is null its value is unknown, so nothing is known of the two together.
    is_free = np.zeros(target.shape, dtype=np.bool_)
    for number, at in enumerate(_with_nulls(columns), start=len(columns)):
        is_free[number, at] = is_free[at, number] = True
    return Model(columns, calibrated(target, is_free, observe, normals))


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
    of_numbers = [scores(n[:, None])[:, 0] for margin, n in zip(columns, numbers, strict=True) if not margin.names]
    return tuple(
        margins.ordered(margin, n, of_numbers) if margin.names else margin
        for margin, n in zip(columns, numbers, strict=True)
    )


def _numbers(columns: Sequence[Margin], frame: pl.DataFrame) -> Floats:
    return np.stack([margin.numbers(frame[margin.name]) for margin in columns], axis=1)


def _values(columns: Sequence[Margin], normals: Floats) -> Floats:
    """(n, d) correlated normal numbers to values as numbers, NaN for null."""
    found = np.stack([margin.drawn(normals[:, at]) for at, margin in enumerate(columns)], axis=1)
    for number, at in enumerate(_with_nulls(columns), start=len(columns)):
        found[normals[:, number] < columns[at].null_bound, at] = np.nan
    return found


def _observed_scores(columns: Sequence[Margin], numbers: Floats) -> Floats:
    """Scores of values, and of whether they are there for the columns that have nulls."""
    there = [(~np.isnan(numbers[:, at])).astype(np.float64) for at in _with_nulls(columns)]
    return scores(np.column_stack([numbers, *there]))


def _with_nulls(columns: Sequence[Margin]) -> list[int]:
    return [at for at, margin in enumerate(columns) if np.isfinite(margin.null_bound)]


def _without_copies(
    model: Model, real: pl.DataFrame, random: Random, rows: int, common: int
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Rows that equal no real one. What does is moved, from attempt to attempt further, and at last left out."""
    forbidden = real
    if common > 1:
        forbidden = real.group_by(real.columns).len().filter(pl.col("len") < common).drop("len")
    kept: list[pl.DataFrame] = []
    normals = random("rows").standard_normal((rows, len(model.lower)))
    moved = 0
    for attempt, stay in enumerate((*STAY, 0.0)):
        drawn = model.drawn(normals)
        of_real = drawn.with_row_index("").join(forbidden, on=drawn.columns, how="semi", nulls_equal=True)[""].to_numpy()
        is_new = np.ones(drawn.height, dtype=np.bool_)
        is_new[of_real] = False
        kept.append(drawn.filter(is_new))
        normals = normals[~is_new]
        if not len(normals) or attempt == len(STAY):
            break
        moved += len(normals)
        # The mixture is standard normal again, so that what is kept has the model's distribution as nearly as can be.
        normals = stay * normals + np.sqrt(1 - stay**2) * random(f"move {attempt}").standard_normal(normals.shape)
    if len(normals) == rows:
        raise UnfitParent("only_copies", f"each of {rows:,} rows drawn was one that the table has, time after time")
    return pl.concat(kept), {"copies_moved": moved, "rows_left_out": len(normals)}


def facts(report: Mapping[str, Any]) -> str:
    """A report's main numbers, for people."""
    return (
        f"correlations off by {report['correlation_difference_mean']:.3f} in the mean,"
        f" {report['correlation_difference_max']:.3f} at most; {report['rows_copied']} rows copied"
    )
