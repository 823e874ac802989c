"""Compares a synthetic table with the real one: distributions, correlations, and distances of its rows to real rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from pipeline_assets.variants.tables.copies import Rows
from pipeline_assets.variants.tables.copula import Floats, correlations, scores
from pipeline_assets.variants.tables.margins import Margin

COMPARED_ROWS = 50_000
REFERENCE_ROWS, QUERY_ROWS = 5000, 1000
ATTACKED_ROWS, KNOWN_ROWS = 200, 1000
NEAR = 0.05
"""A number is guessed if it is off by no more of its standard deviation."""
MAX_DISTANCE = 0.1
"""Kolmogorov and Smirnov's distance of a column's values, beside what chance gives to samples of this size."""


def compared(
    columns: Sequence[Margin], real: pl.DataFrame, synthetic: pl.DataFrame, random: np.random.Generator
) -> dict[str, Any]:
    """The report; for large tables it uses a uniform sample of rows, except `rows_copied`, which counts all.

    margins: for each column the greatest difference of the distribution functions (Kolmogorov and Smirnov) or, of
    categories, half the summed differences of their shares (total variation), nulls counted as a value. correlations: of
    ranks. nearest: distances in standard deviations to the nearest of the same real rows, from synthetic rows and from
    other real rows; `closer_share`: the share of synthetic rows nearer than the 5 % quantile of other real rows: 0.05 is no
    sign of copying. disclosure: how often the attack of `disclosed` succeeds, from synthetic rows and from other real rows,
    in the mean and in the column (`worst`) where synthetic rows help it most (`excess`): a rate by chance is no disclosure.
    """
    copied = Rows.of(real).found_in(synthetic).size
    true, drawn_rows = (_sampled(frame, random, COMPARED_ROWS) for frame in (real, synthetic))
    of_real, of_synthetic = (np.stack([m.numbers(frame[m.name]) for m in columns]) for frame in (true, drawn_rows))
    differences = np.abs(correlations(scores(of_real)) - correlations(scores(of_synthetic)))
    pairs = differences[np.triu_indices(len(columns), 1)]
    return {
        "rows_real": real.height,
        "rows_synthetic": synthetic.height,
        "rows_copied": copied,
        "margins": {margin.name: _margin(margin, true[margin.name], drawn_rows[margin.name]) for margin in columns},
        "correlation_difference_max": _rounded(pairs.max(initial=0.0)),
        "correlation_difference_mean": _rounded(pairs.mean() if pairs.size else 0.0),
        "nearest": _nearest(of_real.T, of_synthetic.T, random),
        "disclosure": disclosed([margin.name for margin in columns], of_real, of_synthetic, random),
    }


def lost_distributions(report: Mapping[str, Any]) -> str:
    """The columns of numbers whose distribution is lost according to a report, as text; empty if none is lost."""
    chance = 1.95 * float(
        np.sqrt(sum(1 / max(min(report[rows], COMPARED_ROWS), 1) for rows in ("rows_real", "rows_synthetic")))
    )
    found = {
        name: text["distance"]
        for name, text in report["margins"].items()
        if text["measure"] == "kolmogorov-smirnov" and text["distance"] > MAX_DISTANCE + chance
    }
    text = ", ".join(f"{name} {distance:.2f}" for name, distance in found.items())
    return f"{text} (at most {MAX_DISTANCE + chance:.2f})" if found else ""


def disclosed(names: Sequence[str], real: Floats, synthetic: Floats, random: np.random.Generator) -> dict[str, Any]:
    """Attribute inference: the attacker knows the other values of a real row, and guesses from the nearest row published.

    real, synthetic: (columns, rows), NaN where unknown. The same attack with other real rows in place of the synthetic ones
    shows what anyone can infer from the columns' dependence; only what synthetic rows add to it is disclosure.
    Source: the attribute inference attack of Stadler, Oprisanu and Troncoso, USENIX Security 2022, by nearest neighbours.
    """
    rows = random.permutation(real.shape[1])
    attacked = rows[: min(ATTACKED_ROWS, len(rows) // 2)]
    known_rows = rows[len(attacked) : len(attacked) + KNOWN_ROWS]
    drawn_rows = random.permutation(synthetic.shape[1])[: len(known_rows)]
    unit = _units(real)
    hit_shares = {"synthetic": [0.0] * len(names), "real": [0.0] * len(names)}
    for kind, published in (("synthetic", synthetic[:, drawn_rows]), ("real", real[:, known_rows])):
        distances = [
            _squared_distances(one[attacked], other, by) for one, other, by in zip(real, published, unit, strict=True)
        ]
        total = np.zeros((len(attacked), published.shape[1]))
        for of_column in distances:
            total += of_column
        for at, of_column in enumerate(distances):
            target = real[at, attacked]
            guess = published[at, np.argmin(total - of_column, axis=1)]
            is_asked = ~np.isnan(target)
            is_hit = np.abs(guess - target)[is_asked] <= NEAR * unit[at]
            hit_shares[kind][at] = float(is_hit.mean()) if is_hit.size else 0.0
    excess = [one - other for one, other in zip(hit_shares["synthetic"], hit_shares["real"], strict=True)]
    worst = int(np.argmax(excess))
    return {
        **{kind: _rounded(np.mean(shares)) for kind, shares in hit_shares.items()},
        "worst": names[worst],
        "excess": _rounded(excess[worst]),
    }


def _units(real: Floats) -> list[float]:
    """Each column's standard deviation; 1 for a constant."""
    spreads = [
        float(np.std(of_column[~np.isnan(of_column)])) if not np.isnan(of_column).all() else 0.0 for of_column in real
    ]
    return [spread if spread > 0 else 1.0 for spread in spreads]


def _squared_distances(first: Floats, second: Floats, unit: float) -> Floats:
    """Squared distances of a column's values, in its standard deviations; 1 between a value and a null, 0 between nulls."""
    difference = (first[:, None] - second[None, :]) / unit
    either, both = np.isnan(first)[:, None] ^ np.isnan(second)[None, :], np.isnan(first)[:, None] & np.isnan(second)[None, :]
    return np.where(both, 0.0, np.where(either, 1.0, difference**2))


def distribution_distance(real: Floats, synthetic: Floats) -> float:
    """The Kolmogorov-Smirnov distance: the greatest difference of two distribution functions; NaN is the least value."""
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

    # Rows are in random order, so that the first ones represent all.
    rows = random.permutation(len(real))
    queries = min(QUERY_ROWS, len(rows) // 2)
    queried, reference = rows[:queries], rows[queries : queries + REFERENCE_ROWS]
    drawn_rows = random.permutation(len(synthetic))[:QUERY_ROWS]
    is_known = ~np.isnan(real)
    counts = np.maximum(is_known.sum(axis=0), 1)
    means = np.where(is_known, real, 0.0).sum(axis=0) / counts
    spreads = np.sqrt((np.where(is_known, real - means, 0.0) ** 2).sum(axis=0) / counts)
    spreads[spreads == 0] = 1.0
    tree = KDTree(_scaled(real[reference], means, spreads))
    of_real = tree.query(_scaled(real[queried], means, spreads))[0]
    of_synthetic = tree.query(_scaled(synthetic[drawn_rows], means, spreads))[0]
    return {
        "real_median": _rounded(np.median(of_real)),
        "synthetic_median": _rounded(np.median(of_synthetic)),
        "real_5th_percentile": _rounded(np.quantile(of_real, 0.05)),
        "synthetic_5th_percentile": _rounded(np.quantile(of_synthetic, 0.05)),
        "closer_share": _rounded(np.mean(of_synthetic < np.quantile(of_real, 0.05))),
    }


def _scaled(numbers: Floats, means: Floats, spreads: Floats) -> Floats:
    """Scale by the standard deviation. Nulls are at the mean, with another coordinate one deviation from values."""
    unknown = np.isnan(numbers)
    return np.concatenate([np.where(unknown, 0.0, (numbers - means) / spreads), unknown], axis=1)


def _sampled(frame: pl.DataFrame, random: np.random.Generator, rows: int) -> pl.DataFrame:
    if frame.height <= rows:
        return frame
    return frame[np.sort(random.permutation(frame.height)[:rows])]


def _rounded(number: float | np.floating[Any]) -> float:
    return round(float(number), 6)
