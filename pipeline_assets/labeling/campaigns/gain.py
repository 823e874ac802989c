"""What asking chosen items brought, against random ones: a difference with its interval and sign. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline_assets.labeling.consensus.quality import wilson

Floats = npt.NDArray[np.float64]

RESAMPLES = 2_000
FEW_VALUES = 64
MIN_VALUES = 30
"""Values of either kind below which a gain has no sign: the bounds are too rough."""


@dataclass(frozen=True)
class Gain:
    """Mean of what was chosen less mean of what was random, with 95 % bounds.

    sign: `+` or `-` where the bounds leave out 0, else `?`: it can't be told, as with fewer than MIN_VALUES values of either
    kind, or where the kinds are not comparable.
    """

    difference: float
    low: float
    high: float
    chosen: int
    random: int
    is_comparable: bool = True

    @property
    def sign(self) -> str:
        """Whether the strategies gained."""
        if min(self.chosen, self.random) < MIN_VALUES or not self.is_comparable:
            return "?"
        return "+" if self.low > 0 else "-" if self.high < 0 else "?"

    def __str__(self) -> str:
        bounds = f"[{self.low:+.3f}, {self.high:+.3f}]"
        return f"{self.difference:+.3f} {bounds} ({self.sign}; {self.chosen} chosen, {self.random} random)"


def gain(chosen: Sequence[float], random: Sequence[float], seed: int, resamples: int = RESAMPLES) -> Gain | None:
    """What asking the chosen items gained against random ones; None if either is empty. Values: what each answer brought.

    The bounds of shares (values 0 and 1) are Newcombe's, of other values those of a bootstrap. Source: Newcombe 1998,
    Interval estimation for the difference between independent proportions, method 10.
    """
    if not len(chosen) or not len(random):
        return None
    first, second = np.asarray(chosen, np.float64), np.asarray(random, np.float64)
    if np.isin(first, (0, 1)).all() and np.isin(second, (0, 1)).all():
        low, high = _newcombe(first, second)
    else:
        rng = np.random.default_rng(seed)
        differences = _means(first, resamples, rng) - _means(second, resamples, rng)
        low, high = (float(bound) for bound in np.quantile(differences, [0.025, 0.975]))
    return Gain(float(first.mean() - second.mean()), low, high, len(first), len(second))


def _newcombe(first: Floats, second: Floats) -> tuple[float, float]:
    """The bounds of the difference of two shares, of Wilson's bounds of each."""
    (share, low, high), (other, other_low, other_high) = _share(first), _share(second)
    difference = share - other
    return difference - math.hypot(share - low, other_high - other), difference + math.hypot(high - share, other - other_low)


def _share(values: Floats) -> tuple[float, float, float]:
    share, bounds = float(values.mean()), wilson(int(values.sum()), len(values))
    return share, share if bounds.low is None else bounds.low, share if bounds.high is None else bounds.high


def _means(values: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    """Means of resamples of the values; equal values are counted, so that a million of zeros and ones take no longer."""
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) <= FEW_VALUES:
        drawn = rng.multinomial(len(values), counts / len(values), size=resamples)
        return np.asarray(drawn @ distinct / len(values), np.float64)
    return np.array([rng.choice(values, len(values)).mean() for _ in range(resamples)])
