"""The operations on tables: delete cells in three ways, jitter numbers, swap categories, synthesize rows.

Each takes (draft) and its parameters. Columns are changed as a whole; every column has its own random stream.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field

from pipeline_assets.errors import UnfitParent
from pipeline_assets.variants.operations import Operations, drawn
from pipeline_assets.variants.tables.draft import Bools, Draft, columns_of, is_category, is_number

TABLES = Operations("tables")

_Share = Annotated[float, Field(gt=0, le=0.95)]
Share = _Share | tuple[_Share, _Share]
_HalfShare = Annotated[float, Field(gt=0, le=0.5)]
HalfShare = _HalfShare | tuple[_HalfShare, _HalfShare]
"""Where some cells are up to twice as likely as the average one."""
Floats = npt.NDArray[np.float32]
Strength = Annotated[float, Field(ge=-1, le=1)]
Columns = tuple[str, ...]
"""Which columns; none named: all that the operation can be done to, without keys."""

FEW = 20
"""Integers with no more distinct values are taken for categories."""
EXACT_FLOAT = 2**53
"""Integers below have a float64 of their own."""


@TABLES.operation()
def delete_mcar(draft: Draft, *, share: Share = (0.05, 0.2), columns: Columns = ()) -> None:
    """Delete cells completely at random: each with the same probability."""
    names = draft.columns(columns, columns_of(draft.frame))
    part = drawn(share, draft.random("share"))
    _delete(draft, names, {name: np.float32(part) for name in names})
    draft.reports.append({"operation": "delete_mcar", "share": part})


@TABLES.operation()
def delete_mar(
    draft: Draft, *, share: HalfShare = (0.05, 0.2), by: str = "", strength: Strength = 0.9, columns: Columns = ()
) -> None:
    """Delete cells at random given a column: the probability follows the row's rank in `by`, which is kept.

    by: a column's name; empty: a random complete column that has an order. The probability is linear in the rank, from
    share * (1 - strength) to share * (1 + strength); a null of `by` has the probability `share`.
    """
    part = drawn(share, draft.random("share"))
    by = by or _drawn_column(draft)
    if by not in columns_of(draft.frame, ordered=True):
        raise UnfitParent("no_such_column", f"no column {by} that has an order")
    names = [name for name in draft.columns(columns, columns_of(draft.frame)) if name != by]
    if not names:
        raise UnfitParent("no_columns", f"no column beside {by} and the keys")
    chance = _chances(draft.frame.select(by), part, strength)[by]
    _delete(draft, names, dict.fromkeys(names, chance))
    draft.reports.append({"operation": "delete_mar", "share": part, "by": by})


@TABLES.operation()
def delete_mnar(draft: Draft, *, share: HalfShare = (0.05, 0.2), strength: Strength = 0.9, columns: Columns = ()) -> None:
    """Delete cells not at random: the probability follows the cell's rank in its own column.

    It is linear in the rank, from share * (1 - strength) to share * (1 + strength).
    """
    names = draft.columns(columns, columns_of(draft.frame, ordered=True))
    part = drawn(share, draft.random("share"))
    _delete(draft, names, _chances(draft.frame.select(names), part, strength))
    draft.reports.append({"operation": "delete_mnar", "share": part})


@TABLES.operation()
def jitter(
    draft: Draft,
    *,
    scale: Annotated[float, Field(gt=0, le=10)] | tuple[float, float] = (0.01, 0.1),
    columns: Columns = (),
) -> None:
    """Add normal noise to numbers: `scale` standard deviations of their column.

    Results stay within the column's range, and integers stay integers. Nulls and values that are not finite are unchanged.
    """
    names = draft.columns(columns, columns_of(draft.frame, numbers=True))
    size = drawn(scale, draft.random("scale"))
    jittered = [_jittered(draft.frame[name], size, draft.random(f"noise {name}")) for name in names]
    draft.frame = draft.frame.with_columns(jittered)
    draft.reports.append({"operation": "jitter", "scale": size})


@TABLES.operation()
def swap_categories(draft: Draft, *, share: Share = (0.02, 0.1), columns: Columns = ()) -> None:
    """Exchange categories among rows sampled per column, so that each column keeps its frequencies.

    Categories are text, booleans and integers of few distinct values.
    """
    names = draft.columns(columns, [name for name in draft.frame.columns if columns or _is_like_category(draft.frame[name])])
    part = drawn(share, draft.random("share"))
    swapped = []
    for name in names:
        series, random = draft.frame[name], draft.random(f"swap {name}")
        rows = np.flatnonzero((random.random(series.len(), dtype=np.float32) < part) & _observed(series))
        rows = random.permutation(rows)
        source = np.arange(series.len())
        source[rows] = np.roll(rows, 1)
        swapped.append(series.gather(source))
    draft.frame = draft.frame.with_columns(swapped)
    draft.reports.append({"operation": "swap_categories", "share": part})


@TABLES.operation(version=2)
def synthesize(
    draft: Draft,
    *,
    rows: Annotated[int, Field(ge=0, le=10_000_000)] = 0,
    rare: Annotated[int, Field(ge=1)] = 5,
    common: Annotated[int, Field(ge=0)] = 0,
) -> None:
    """Sample new rows from a model of the table: its columns' distributions and their correlations.

    rows: their number; 0: that of the table. rare: no value of fewer rows is repeated. common: a row equal to a real one
    is sampled again and finally left out, unless at least this many real rows are equal; 0: always.
    """
    from pipeline_assets.variants.tables.synthesis import synthetic

    draft.frame, report = synthetic(draft.frame, draft.keys, draft.random, rows=rows, rare=rare, common=common)
    draft.deleted = {}
    draft.reports.append({"operation": "synthesize", **report})


def _delete(draft: Draft, names: list[str], chances: Mapping[str, np.float32 | Floats]) -> None:
    """Delete each observed cell with its probability."""
    marks: dict[str, Bools] = {}
    for name in names:
        draws = draft.random(f"delete {name}").random(draft.frame.height, dtype=np.float32)
        marks[name] = (draws < chances[name]) & _observed(draft.frame[name])
    draft.delete(marks)


def _chances(frame: pl.DataFrame, share: float, strength: float) -> dict[str, Floats]:
    """For each column, probabilities with the mean `share`, linear in the rank; equal values have equal ones."""
    ranked = frame.select(
        (1 + strength * (2 * (_orderable(name, dtype).rank() - 0.5) / pl.col(name).count() - 1))
        .fill_null(1.0)
        .cast(pl.Float32)
        .alias(name)
        for name, dtype in frame.schema.items()
    )
    return {name: np.float32(share) * ranked[name].to_numpy() for name in ranked.columns}


def _orderable(name: str, dtype: pl.DataType) -> pl.Expr:
    """The column in a type that has ranks: a dictionary as text, booleans as numbers."""
    column = pl.col(name)
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return column.cast(pl.String)
    return column.cast(pl.UInt8) if isinstance(dtype, pl.Boolean) else column


def _drawn_column(draft: Draft) -> str:
    """A random column that has an order, without nulls and with more than one value."""
    candidates = [
        name
        for name in columns_of(draft.frame, ordered=True)
        if name not in draft.keys and not draft.frame[name].has_nulls() and draft.frame[name].n_unique() > 1
    ]
    if not candidates:
        raise UnfitParent("no_columns", "no complete column that deletions could depend on")
    return candidates[int(draft.random("by").integers(len(candidates)))]


def _observed(series: pl.Series) -> Bools:
    return series.is_not_null().to_numpy()


def _jittered(series: pl.Series, size: float, random: np.random.Generator) -> pl.Series:
    true = series.drop_nulls()
    finite = true.filter(true.is_finite()) if series.dtype.is_float() else true
    deviation = finite.std() if finite.len() > 1 else None
    if not isinstance(deviation, float) or not 0 < deviation < float("inf"):
        return series
    low: Any = finite.min()
    high: Any = finite.max()
    noise = pl.Series(random.standard_normal(series.len())) * (size * deviation)
    if series.dtype.is_float():
        moved = (series.cast(pl.Float64) + noise).clip(low, high).cast(series.dtype)
        return moved.zip_with(series.is_finite().fill_null(False), series).alias(series.name)
    wide = pl.Float64 if max(abs(low), abs(high)) < EXACT_FLOAT else pl.Int128
    return (series.cast(wide) + noise.round().cast(wide)).clip(low, high).cast(series.dtype).alias(series.name)


def _is_like_category(series: pl.Series) -> bool:
    if is_number(series.dtype):
        return series.dtype.is_integer() and series.n_unique() <= FEW
    return is_category(series.dtype)
