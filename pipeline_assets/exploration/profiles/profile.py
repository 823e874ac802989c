"""Profiles of a table's columns by day, in one pass over its rows, a batch at a time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from pipeline_assets.exploration.profiles.columns import Column
from pipeline_assets.exploration.profiles.embedding import Embeddings
from pipeline_assets.exploration.profiles.schemas import TableProfiles
from pipeline_assets.exploration.profiles.sketch import Distinct, Numbers, Values

BATCH_ROWS = 500_000
EMBEDDING_BATCH_ROWS = 20_000
"""Rows of a batch with embeddings, which are up to 8 KB each."""
QUANTILES = np.array([0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99])
MEDIAN = 3
"""Its place among the quantiles."""
MOST_VALUES = 1000
"""Values of a category that are kept."""
COUNTED = ("number", "time", "text", "identifier")
"""Kinds of columns whose distinct values are counted by their hashes; a category counts all of its own."""
SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3}


@dataclass
class ColumnProfile:
    """What was seen of one column on one day."""

    column: Column
    day: date
    rows: int = 0
    nulls: int = 0
    not_finite: int = 0
    numbers: Numbers = field(default_factory=Numbers)
    distinct: Distinct = field(default_factory=Distinct)
    values: Values = field(default_factory=Values)
    embeddings: Embeddings = field(default_factory=Embeddings)

    def add(self, series: pl.Series) -> None:
        """Take in a batch of the column."""
        self.rows += len(series)
        if nulls := series.null_count():
            self.nulls += nulls
            series = series.drop_nulls()
        if not len(series) or self.column.kind == "private":
            return
        if self.column.kind in COUNTED:
            self.distinct.add(series)
        if self.column.kind == "category":
            self.values.add(series)
        elif self.column.kind == "embedding":
            self.embeddings.add(series)
        elif self.column.kind != "identifier":
            self._add_numbers(as_numbers(series, self.day))

    def _add_numbers(self, numbers: np.ndarray) -> None:
        is_finite = np.isfinite(numbers)
        if not is_finite.all():
            self.not_finite += len(numbers) - int(is_finite.sum())
            numbers = numbers[is_finite]
        self.numbers.add(numbers)

    def _distinct(self) -> tuple[int | None, bool | None]:
        if self.column.kind == "category":
            return self.values.count, True
        return self.distinct.count() if self.column.kind in COUNTED else (None, None)

    def row(self, table: str, digest: str) -> dict[str, Any]:
        """As a row of `TableProfiles`."""
        moments, numbers, not_finite = [], self.numbers, self.not_finite
        if self.column.kind == "embedding":
            most = self.embeddings.most()
            moments, numbers, not_finite = most.values(), most.norms, self.rows - self.nulls - most.norms.rows
        histogram = numbers.histogram()
        mean, std = numbers.moments()
        distinct, is_exact = self._distinct()
        values, value_rows = self.values.most(MOST_VALUES)
        return {
            "day": self.day,
            "table": table,
            "column": self.column.name,
            "dtype": str(self.column.dtype),
            "kind": self.column.kind,
            "is_label": self.column.is_label,
            "table_digest": digest,
            "rows": self.rows,
            "nulls": self.nulls,
            "not_finite": not_finite,
            "distinct": distinct,
            "is_distinct_exact": is_exact,
            "minimum": numbers.smallest if numbers.rows else None,
            "maximum": numbers.largest if numbers.rows else None,
            "mean": mean,
            "std": std,
            "quantiles": histogram.quantiles(QUANTILES).tolist() if numbers.rows else [],
            "values": values,
            "value_rows": value_rows,
            "bin_low": histogram.low.tolist(),
            "bin_high": histogram.high.tolist(),
            "bin_rows": histogram.rows.tolist(),
            "moments": moments,
        }


def as_numbers(series: pl.Series, day: date) -> np.ndarray:
    """Numbers as they are, times in seconds since the day's start, lengths of texts (characters) and lists, float64."""
    dtype = series.dtype
    if isinstance(dtype, pl.Datetime):
        unit = SECONDS[dtype.time_unit]
        start = pl.Series([day]).cast(pl.Datetime(dtype.time_unit)).to_physical()[0]
        return (series.to_physical() - start).to_numpy() * unit
    if dtype == pl.Date:
        return (series.to_physical().cast(pl.Int64) - pl.Series([day]).to_physical()[0]).to_numpy() * 86_400.0
    if dtype == pl.String:
        series = series.str.len_chars()
    elif isinstance(dtype, pl.List):
        series = series.list.len()
    return series.cast(pl.Float64).to_numpy()


def in_words(value: float, kind: str) -> str:
    """A value of a profile with its unit: times in hours or days from the day's start, lengths in characters or entries."""
    if kind == "time":
        return f"{value / 86_400:+.0f} days" if abs(value) >= 2 * 86_400 else f"{value / 3600:+.1f} h"
    return f"{value:.4g}" + {"text": " characters", "list": " entries"}.get(kind, "")


def profiles(
    rows: pl.LazyFrame, table: str, columns: Sequence[Column], digests: Mapping[date, str], batch_rows: int = 0
) -> pl.DataFrame:
    """The profile of each column on each day of `digests`, as rows of `TableProfiles`.

    rows: those of these days; columns that it lacks have only nulls. A day without rows has its columns with none.
    Memory holds one batch, and for each day and column a histogram of up to 2^20 cells.
    """
    names = set(rows.collect_schema().names())
    present = [column for column in columns if column.name in names]
    by_day = {day: [ColumnProfile(column, day) for column in columns] for day in digests}
    has_embedding = any(column.kind == "embedding" for column in present)
    selected = rows.select("day", *(column.name for column in present))
    for day, part in _parts(selected, batch_rows or (EMBEDDING_BATCH_ROWS if has_embedding else BATCH_ROWS)):
        for profile in by_day.get(day, ()):
            name = profile.column.name
            profile.add(part[name] if name in names else pl.Series([None] * len(part), dtype=profile.column.dtype))
    found = [profile.row(table, digests[day]) for day, of_day in by_day.items() for profile in of_day]
    return pl.DataFrame(found, schema=TableProfiles.create_empty().schema)


def _parts(rows: pl.LazyFrame, batch_rows: int) -> Iterator[tuple[date, pl.DataFrame]]:
    """The rows of each day in each batch."""
    for batch in rows.collect_batches(chunk_size=batch_rows, maintain_order=False, engine="streaming"):
        for key, part in batch.partition_by("day", as_dict=True, maintain_order=False).items():
            yield key[0], part
