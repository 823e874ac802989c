"""How far each column of a day is from the days before it, computed from their profiles alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline_assets.exploration.profiles import day_tests, embedding
from pipeline_assets.exploration.profiles.day_tests import Tested
from pipeline_assets.exploration.profiles.profile import MEDIAN, in_words
from pipeline_assets.exploration.profiles.schemas import Drift
from pipeline_assets.exploration.profiles.sketch import Histogram
from pipeline_assets.exploration.several_tests import holm

Floats = npt.NDArray[np.float64]

LEVEL = 0.05
"""False alarms, at most: days with any, by Holm over all columns of the day."""
LEAST_ROWS, LEAST_DAYS = 30, 5
"""Values that a day needs to be compared or to be part of a reference, and days that a reference needs."""
BINS, EXPECTED = 10, 5.0
"""At most so many bins of a column, each with so many expected rows of the day."""
MATTERS_PSI, MATTERS_KS, MATTERS_MMD = 0.1, 0.1, 0.05
"""A significant difference below all of these is none to act on: with a million rows everything is significant."""


@dataclass(frozen=True)
class Day:
    """One row of `TableProfiles`."""

    row: dict[str, Any]

    @property
    def rows(self) -> int:
        """All rows of the table."""
        return int(self.row["rows"])

    @property
    def nulls(self) -> int:
        """Rows without a usable value: null, NaN or infinite."""
        return int(self.row["nulls"] + self.row["not_finite"])

    @property
    def filled(self) -> int:
        """Rows with a usable value."""
        return self.rows - self.nulls

    @cached_property
    def histogram(self) -> Histogram:
        """Of numbers, times, lengths and norms."""
        low, high = (np.array(self.row[name], dtype=np.float64) for name in ("bin_low", "bin_high"))
        return Histogram(low, high, np.array(self.row["bin_rows"], dtype=np.int64))

    @cached_property
    def value_rows(self) -> dict[str, int]:
        """Of a category, rows by value."""
        return dict(zip(self.row["values"], self.row["value_rows"], strict=True))

    @cached_property
    def moments(self) -> tuple[Floats, Floats]:
        """Of embeddings."""
        return embedding.unpacked(self.row["moments"])


@dataclass
class Compared:
    """What a comparison of a column came to."""

    tests: list[Tested]
    day_cells: Floats
    reference_cells: Floats
    ks: float | None = None
    mmd: float | None = None
    change: str | None = None


def drift(profiles: pl.DataFrame, days: Sequence[date], window_days: int) -> pl.DataFrame:
    """The drift of each column on each of these days, as rows of `Drift`.

    profiles: rows of `TableProfiles` of these days and of the `window_days` before each, its reference. Dispersion needs
    days: with fewer than `LEAST_DAYS` nothing is compared, and `reason` says so.
    """
    found: list[dict[str, Any]] = []
    for _, of_column in profiles.sort("table", "column", "day").group_by("table", "column", maintain_order=True):
        by_day = {row["day"]: Day(row) for row in of_column.iter_rows(named=True)}
        for day in days:
            if day in by_day:
                window = (by_day.get(day - timedelta(back)) for back in range(window_days, 0, -1))
                found.append(_compare(by_day[day], [one for one in window if one is not None]))
    frame = pl.DataFrame(found, schema=Drift.create_empty().schema | {"matters": pl.Boolean})
    corrected = [_corrected(of_day) for _, of_day in frame.group_by("day", maintain_order=True)]
    return pl.concat([frame.clear(), *corrected]).drop("matters")


def _corrected(of_day: pl.DataFrame) -> pl.DataFrame:
    tested = of_day["p_value"].is_not_null()
    adjusted = np.full(len(of_day), np.nan)
    adjusted[tested.to_numpy()] = holm(of_day["p_value"].drop_nulls().to_numpy())
    column = pl.Series("p_adjusted", adjusted, nan_to_null=True)
    is_alarm = (column <= LEVEL).fill_null(value=False) & of_day["matters"].fill_null(value=False)
    return of_day.with_columns(column, is_alarm=is_alarm)


def _compare(day: Day, before: Sequence[Day]) -> dict[str, Any]:
    row = day.row
    reference = [one for one in before if one.rows >= LEAST_ROWS]
    filled = [one for one in reference if one.filled >= LEAST_ROWS and one.row["kind"] == row["kind"]]
    rows, nulls = sum(one.rows for one in reference), sum(one.nulls for one in reference)
    result = {
        **{name: row[name] for name in ("day", "table", "column", "kind")},
        "rows": day.filled,
        "reference_rows": sum(one.filled for one in filled),
        "reference_days": len(filled),
        "null_share": day.nulls / day.rows if day.rows else None,
        "reference_null_share": nulls / rows if rows else None,
        "is_alarm": False,
    }
    compared, reason = _compared(day, reference, filled)
    if compared is None:
        return {**result, "reason": reason}
    tests = compared.tests
    psi = population_stability(compared.day_cells, compared.reference_cells)
    matters = (psi or 0) >= MATTERS_PSI or (compared.ks or 0) >= MATTERS_KS or (compared.mmd or 0) >= MATTERS_MMD
    return {
        **result,
        "psi": psi,
        "ks": compared.ks,
        "mmd": compared.mmd,
        "change": compared.change,
        "dispersion": max((test.dispersion for test in tests), default=None),
        "p_value": min(1.0, len(tests) * min(test.p_value for test in tests)) if tests else None,
        "reason": reason if tests else (reason or "nothing to test: all values alike, or each of them rare"),
        "matters": matters,
    }


def _compared(day: Day, reference: Sequence[Day], filled: Sequence[Day]) -> tuple[Compared | None, str | None]:
    """The comparison by values and nulls, and why a part of it, or all, is missing."""
    if day.rows < LEAST_ROWS:
        return None, f"fewer than {LEAST_ROWS} rows"
    if len(reference) < LEAST_DAYS:
        return None, f"fewer than {LEAST_DAYS} days of the reference have {LEAST_ROWS} rows"
    reason, compared = None, Compared([], np.empty(0), np.empty(0))
    if day.row["kind"] in ("identifier", "private"):
        reason = f"{day.row['kind']}: nulls alone are compared"
    elif day.filled < LEAST_ROWS:
        reason = f"fewer than {LEAST_ROWS} values"
    elif len(filled) < LEAST_DAYS:
        reason = f"fewer than {LEAST_DAYS} days of the reference have {LEAST_ROWS} values"
    elif day.row["kind"] == "embedding":
        compared = _embeddings(day, filled)
    elif day.row["kind"] == "category":
        compared = _categories(day, filled)
    else:
        compared = _numbers(day, filled)
    if not day.row["is_label"]:
        _add_nulls(compared, day, reference)
    return compared, reason


def _add_nulls(compared: Compared, day: Day, reference: Sequence[Day]) -> None:
    """The share of nulls as one more test, and as one more cell of the index."""
    by_day = np.array([[one.nulls, one.filled] for one in reference], dtype=np.float64)
    test = day_tests.share_test((day.nulls, day.filled), by_day)
    if test is None:
        return
    of_reference = by_day.sum(0)
    if not len(compared.day_cells):
        compared.day_cells, compared.reference_cells = np.array([float(day.filled)]), of_reference[1:]
    scale = of_reference[1] / max(compared.reference_cells.sum(), 1.0)  # values may be of fewer days
    compared.day_cells = np.append(compared.day_cells, day.nulls)
    compared.reference_cells = np.append(compared.reference_cells * scale, of_reference[0])
    if not compared.tests or test.p_value < min(one.p_value for one in compared.tests):
        shares = day.nulls / day.rows, of_reference[0] / of_reference.sum()
        compared.change = f"nulls {shares[0]:.1%}, were {shares[1]:.1%}"
    compared.tests.append(test)


def _numbers(day: Day, reference: Sequence[Day]) -> Compared:
    edges = _edges(day.histogram.total, [one.histogram for one in reference])
    points = np.union1d(day.histogram.high, edges)
    shares = np.array([one.histogram.share_up_to(points) for one in (day, *reference)])
    totals = np.array([[one.histogram.total] for one in (day, *reference)], dtype=np.float64)
    of_reference = (totals[1:] * shares[1:]).sum(0) / totals[1:].sum()
    cells = np.diff(shares[:, np.searchsorted(points, edges)], axis=1, prepend=0.0, append=1.0) * totals
    test = day_tests.bins_test(cells[0], cells[1:])
    before = float(np.median([one.row["quantiles"][MEDIAN] for one in reference]))
    kind = day.row["kind"]
    change = f"median {in_words(day.row['quantiles'][MEDIAN], kind)}, was {in_words(before, kind)}"
    ks = float(np.abs(shares[0] - of_reference).max())
    return Compared([test] if test else [], cells[0], cells[1:].sum(0), ks=ks, change=change)


def _edges(rows: int, histograms: Iterable[Histogram]) -> Floats:
    """Upper ends of all bins but the last: about equal shares of the reference, of at least `EXPECTED` rows of the day."""
    parts = list(histograms)
    high, counts = np.concatenate([one.high for one in parts]), np.concatenate([one.rows for one in parts])
    order = np.argsort(high, kind="stable")
    high, ends = high[order], np.cumsum(counts[order])
    last = np.concatenate([np.flatnonzero(high[1:] != high[:-1]), [len(high) - 1]])
    values, ends = high[last], ends[last] / ends[-1]
    least = max(1 / BINS, EXPECTED / rows)
    edges, begun = [], 0.0
    for value, end in zip(values.tolist(), ends.tolist(), strict=True):
        if end - begun >= least - 1e-9 and 1 - end >= EXPECTED / rows:
            edges.append(value)
            begun = end
    return np.array(edges)


def _categories(day: Day, reference: Sequence[Day]) -> Compared:
    counts: dict[str, int] = {}
    for one in reference:
        for value, rows in one.value_rows.items():
            counts[value] = counts.get(value, 0) + rows
    total = sum(one.filled for one in reference)
    frequent = [value for value, rows in counts.items() if rows / total * day.filled >= EXPECTED]
    cells = np.array([float(day.value_rows.get(value, 0)) for value in frequent])
    by_day = np.array([[float(one.value_rows.get(value, 0)) for value in frequent] for one in reference])
    rest = np.array([one.filled for one in reference]) - by_day.sum(1)
    others = day.filled - float(cells.sum())
    tests = [day_tests.share_test((others, float(cells.sum())), np.stack([rest, by_day.sum(1)], 1))]
    is_usable = by_day.sum(1) > 0
    if cells.sum() and is_usable.sum() >= LEAST_DAYS:
        tests.append(day_tests.bins_test(cells, by_day[is_usable]))
    before = {value: rows / total for value, rows in counts.items()}
    now = {value: rows / day.filled for value, rows in day.value_rows.items()}
    most = max({*before, *now}, key=lambda value: (abs(now.get(value, 0) - before.get(value, 0)), value))
    change = f"{most}: {now.get(most, 0):.1%}, was {before.get(most, 0):.1%}" + ("" if most in before else " (new)")
    reference_cells = np.append(by_day.sum(0), rest.sum())
    return Compared([test for test in tests if test], np.append(cells, others), reference_cells, change=change)


def _embeddings(day: Day, reference: Sequence[Day]) -> Compared:
    by_day = np.array([float(one.filled) for one in reference])
    means = np.array([one.moments[0] for one in reference])
    second = np.tensordot(by_day, np.array([one.moments[1] for one in reference]), 1) / by_day.sum()
    pooled = by_day @ means / by_day.sum()
    covariance = second - np.outer(pooled, pooled)
    mean = day.moments[0]
    test = day_tests.means_test((day.filled, mean), (by_day, means), covariance)
    noise = float(np.trace(covariance)) * (1 / day.filled + 1 / by_day.sum())
    mmd = float(np.sqrt(max(((mean - pooled) ** 2).sum() - noise, 0.0)))
    cells = np.array([float(day.filled)]), np.array([by_day.sum()])
    return Compared([test], *cells, mmd=mmd, change=f"mean direction moved by {mmd:.3f}")


def population_stability(day: Floats, reference: Floats) -> float | None:
    """The population stability index of rows by cell; half a row is added to each, so that an empty cell counts.

    None of fewer than two cells.
    """
    if len(day) < 2:
        return None
    now, before = ((cells + 0.5) / (cells + 0.5).sum() for cells in (day, reference))
    return float(((now - before) * np.log(now / before)).sum())
