"""Whether errors in a slice are larger than elsewhere, where the errors of one user depend on each other. Pure.

    difference = mean error inside - mean error outside
    variance   = sum over users of (sum of their errors' influence on the difference)^2, for few users made larger

That is the cluster-robust variance of a difference of means (Liang and Zeger 1986). Both the factor and the degrees of
freedom of Student's t come from how many users effectively are inside: 1 / sum of squared shares of the rows.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

Errors = npt.NDArray[np.float64]
Users = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Difference:
    """inside, outside: mean errors. t: of their difference; freedom: degrees of freedom of t. low, high: 95 % bounds."""

    inside: float
    outside: float
    t: float
    p: float
    low: float
    high: float

    @property
    def effect(self) -> float:
        """How much worse it is inside."""
        return self.inside - self.outside


def difference(errors: Errors, users: Users, inside: Mask) -> Difference | None:
    """The difference of mean errors, with a one-sided p that inside they are larger.

    errors, users (numbers from 0), inside: (rows,). None where a side has no row, or one user effectively has all rows.
    """
    rows_in = int(inside.sum())
    rows_out = len(errors) - rows_in
    if not rows_in or not rows_out:
        return None
    mean_in, mean_out = float(errors[inside].mean()), float(errors[~inside].mean())
    effective = min(_effective(users[inside]), _effective(users[~inside]))
    if effective <= 1 + 1e-9:
        return None
    influence = np.where(inside, (errors - mean_in) / rows_in, -(errors - mean_out) / rows_out)
    by_user = np.bincount(users, weights=influence)
    deviation = float(np.sqrt((by_user**2).sum() * effective / (effective - 1)))
    freedom = effective - 1
    if deviation == 0:
        t = np.inf if mean_in > mean_out else 0.0
        return Difference(mean_in, mean_out, float(t), 0.0 if t else 1.0, mean_in - mean_out, mean_in - mean_out)
    t = (mean_in - mean_out) / deviation
    half = float(stdtrit(freedom, 0.975)) * deviation
    low, high = mean_in - mean_out - half, mean_in - mean_out + half
    return Difference(mean_in, mean_out, float(t), float(stdtr(freedom, -t)), low, high)


def _effective(users: Users) -> float:
    counts = np.bincount(users).astype(float)
    return float(counts.sum() ** 2 / (counts**2).sum())
