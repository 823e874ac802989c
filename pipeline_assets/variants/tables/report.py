"""How a synthetic table compares with the real one: distributions, correlations, and how near its rows come to real rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from pipeline_assets.variants.tables.copies import Rows
from pipeline_assets.variants.tables.copula import Floats, correlations, scores
from pipeline_assets.variants.tables.margins import Margin

COMPARED_ROWS = 50_000
REFERENCE_ROWS, QUERY_ROWS = 5000, 1000


def compared(
    columns: Sequence[Margin], real: pl.DataFrame, synthetic: pl.DataFrame, random: np.random.Generator
) -> dict[str, Any]:
    """What the report says; of large tables, rows drawn evenly, but for `rows_copied`, which counts all.

    margins: for each column the greatest difference of the distribution functions (Kolmogorov and Smirnov) or, of
    categories, half the summed differences of their shares (total variation), nulls counted as a value. correlations: of
    ranks. nearest: distances in standard deviations to the nearest of the same real rows, from synthetic rows and from
    other real rows; `closer_share`: of synthetic rows, those nearer than all but 5 % of other real rows: 0.05 is no sign of
    copying.
    """
    copied = Rows.of(real).found_in(synthetic).size
    true, drawn = (_sampled(frame, random, COMPARED_ROWS) for frame in (real, synthetic))
    of_real, of_synthetic = (np.stack([m.numbers(frame[m.name]) for m in columns]) for frame in (true, drawn))
    off = np.abs(correlations(scores(of_real)) - correlations(scores(of_synthetic)))
    pairs = off[np.triu_indices(len(columns), 1)]
    return {
        "rows_real": real.height,
        "rows_synthetic": synthetic.height,
        "rows_copied": copied,
        "margins": {margin.name: _margin(margin, true[margin.name], drawn[margin.name]) for margin in columns},
        "correlation_difference_max": _rounded(pairs.max(initial=0.0)),
        "correlation_difference_mean": _rounded(pairs.mean() if pairs.size else 0.0),
        "nearest": _nearest(of_real.T, of_synthetic.T, random),
    }


def distribution_distance(real: Floats, synthetic: Floats) -> float:
    """Kolmogorov and Smirnov's: the greatest difference of two samples' distribution functions; NaN is the least value."""
    real, synthetic = (np.sort(np.nan_to_num(values, nan=-np.inf, posinf=None, neginf=None)) for values in (real, synthetic))
    at = np.union1d(real, synthetic)
    shares = [np.searchsorted(values, at, side="right") / values.size for values in (real, synthetic)]
    return float(np.abs(shares[0] - shares[1]).max())


def category_distance(real: pl.Series, synthetic: pl.Series) -> float:
    """Total variation: half the summed differences of shares; null is a category."""
    shares = [
        series.cast(pl.String).alias("value").value_counts().select("value", share=pl.col("count") / series.len())
        for series in (real, synthetic)
    ]
    both = shares[0].join(shares[1], on="value", how="full", nulls_equal=True).select("share", "share_right").fill_null(0.0)
    return float((both["share"] - both["share_right"]).abs().sort().sum()) / 2


def _margin(margin: Margin, real: pl.Series, synthetic: pl.Series) -> dict[str, Any]:
    if margin.names:
        return {"measure": "total variation", "distance": _rounded(category_distance(real, synthetic))}
    distance = distribution_distance(margin.numbers(real), margin.numbers(synthetic))
    return {"measure": "kolmogorov-smirnov", "distance": _rounded(distance)}


def _nearest(real: Floats, synthetic: Floats, random: np.random.Generator) -> dict[str, float]:
    from scipy.spatial import KDTree

    # Rows are drawn in an order of their own, so that the first ones stand for all.
    rows = random.permutation(len(real))
    queries = min(QUERY_ROWS, len(rows) // 2)
    own, reference = rows[:queries], rows[queries : queries + REFERENCE_ROWS]
    drawn = random.permutation(len(synthetic))[:QUERY_ROWS]
    known = ~np.isnan(real)
    counts = np.maximum(known.sum(axis=0), 1)
    means = np.where(known, real, 0.0).sum(axis=0) / counts
    spreads = np.sqrt((np.where(known, real - means, 0.0) ** 2).sum(axis=0) / counts)
    spreads[spreads == 0] = 1.0
    tree = KDTree(_scaled(real[reference], means, spreads))
    of_real = tree.query(_scaled(real[own], means, spreads))[0]
    of_synthetic = tree.query(_scaled(synthetic[drawn], means, spreads))[0]
    return {
        "real_median": _rounded(np.median(of_real)),
        "synthetic_median": _rounded(np.median(of_synthetic)),
        "real_5th_percentile": _rounded(np.quantile(of_real, 0.05)),
        "synthetic_5th_percentile": _rounded(np.quantile(of_synthetic, 0.05)),
        "closer_share": _rounded(np.mean(of_synthetic < np.quantile(of_real, 0.05))),
    }


def _scaled(numbers: Floats, means: Floats, spreads: Floats) -> Floats:
    """Nulls are at the mean, and apart from values by another coordinate of one deviation."""
    unknown = np.isnan(numbers)
    return np.concatenate([np.where(unknown, 0.0, (numbers - means) / spreads), unknown], axis=1)


def _sampled(frame: pl.DataFrame, random: np.random.Generator, rows: int) -> pl.DataFrame:
    if frame.height <= rows:
        return frame
    return frame[np.sort(random.permutation(frame.height)[:rows])]


def _rounded(number: float | np.floating[Any]) -> float:
    return round(float(number), 6)
