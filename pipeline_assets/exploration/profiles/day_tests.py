"""Tests of one day against the days of a reference. What makes days differ among themselves is no alarm.

Rows of a day are not independent: a user's likes come in bursts, a photo goes round, Sunday is not Monday. Each test
therefore compares the day's distance to the reference with the distances of the reference's own days, by the F
distribution with effective degrees of freedom (Satterthwaite); independent rows are the least that it assumes.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Tested:
    """A p-value, and how much more the reference's days differ than independent rows would (1 or more)."""

    p_value: float
    dispersion: float


def bins_test(day: Floats, reference: Floats) -> Tested | None:
    """Whether a day's rows by bin, (k,), are those of the reference's days, (days, k). None of fewer than two bins.

    The statistic is Pearson's for two samples. Every bin has rows in the reference, and 5 expected ones of the day.
    """
    if len(day) < 2:
        return None
    rows, by_bin, by_day = day.sum(), reference.sum(0), reference.sum(1, keepdims=True)
    total = by_bin.sum()
    statistic = rows * total * (((day / rows - by_bin / total) ** 2) / (day + by_bin)).sum()
    expected = by_day * by_bin / total
    return _against_days(statistic, (reference - expected) / np.sqrt(expected), len(day) - 1.0, len(day) - 1.0)


def share_test(day: tuple[float, float], reference: Floats) -> Tested | None:
    """Whether the share of (rows with, rows without) is that of the reference's days, (days, 2). None where all are alike.

    The p-value is the larger one of the exact test given both totals (binomial), and of that against the days.
    """
    from scipy.special import bdtr, bdtrc  # it takes a while to import

    n, m = sum(day), float(reference.sum())
    with_it = day[0] + float(reference[:, 0].sum())
    if with_it <= 0 or with_it >= n + m:
        return None
    count, trials, fraction = round(day[0]), round(with_it), n / (n + m)
    below = float(bdtr(count, trials, fraction))
    above = float(bdtrc(count - 1, trials, fraction)) if count else 1.0
    exact = min(1.0, 2 * min(below, above))
    share, of_reference = with_it / (n + m), float(reference[:, 0].sum()) / m
    statistic = (day[0] / n - of_reference) ** 2 / (share * (1 - share) * (1 / n + 1 / m))
    by_day = reference.sum(1)
    spread = np.sqrt(np.maximum(by_day * of_reference * (1 - of_reference), 1e-300))
    distances = (reference[:, :1] - by_day[:, None] * of_reference) / spread[:, None]
    against = _against_days(statistic, np.where(of_reference in (0.0, 1.0), 0.0, distances), 1.0, 1.0)
    return Tested(max(exact, against.p_value), against.dispersion)


def means_test(day: tuple[float, Floats], reference: tuple[Floats, Floats], covariance: Floats) -> Tested:
    """Whether a mean of features is that of the reference's days: (rows, mean), and (rows by day, means by day).

    covariance: of the features of single rows, (features, features). The statistic is the squared distance.
    """
    n, mean = day
    by_day, means = reference
    m = by_day.sum()
    pooled = by_day @ means / m
    statistic = float(((mean - pooled) ** 2).sum() / (1 / n + 1 / m))
    expected = max(float(np.trace(covariance)), 1e-12)
    freedom = expected**2 / max(float((covariance**2).sum()), 1e-24)
    return _against_days(statistic, np.sqrt(by_day)[:, None] * (means - pooled), expected, freedom)


def _against_days(statistic: float, distances: Floats, expected: float, freedom: float) -> Tested:
    """The p-value of a sum of squares whose mean would be `expected` if rows were independent.

    distances: of the reference's days to their mean, (days, dimensions), scaled so that the sum of squares of each has the
    same mean; freedom: the effective number of dimensions of independent rows.
    """
    from scipy.special import fdtrc

    others = len(distances) - 1
    products = distances @ distances.T
    total, squares = np.trace(products) / others, (products**2).sum() / others**2
    dispersion = max(1.0, total / expected)
    # Of as few days, the squares are too large by a known share: this estimates those of the true covariance.
    unbiased = others**2 / ((others - 1) * (others + 2)) * (squares - total**2 / others) if others > 1 else total**2
    effective = float(np.clip(total**2 / unbiased, 1.0, max(freedom, 1.0))) if unbiased > 0 else max(freedom, 1.0)
    p_value = float(fdtrc(effective, effective * others, statistic / (expected * dispersion)))
    return Tested(p_value, float(dispersion))
