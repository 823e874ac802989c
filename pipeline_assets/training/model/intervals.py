"""Prediction intervals from held-out residuals: split conformal prediction, which assumes no distribution of errors.

Source: Vovk, Gammerman and Shafer 2005, Algorithmic learning in a random world; the finite-sample quantile as in Lei et al.
2018, Distribution-free predictive inference for regression, theorem 2.2. The coverage holds for photos exchangeable with the
held-out ones; `served_quality` measures it on what was served.
"""

import math

import numpy as np
import numpy.typing as npt

COVERAGE = 0.9
"""Share of photos whose popularity lies within the interval."""
FOLDS = 5


def half_width(residuals: npt.NDArray[np.float64], coverage: float = COVERAGE) -> float | None:
    """The interval is the prediction, plus and minus this. residuals: (N,). None if N is too small for the coverage."""
    rank = math.ceil((len(residuals) + 1) * coverage)
    return None if not 1 <= rank <= len(residuals) else float(np.sort(np.abs(residuals))[rank - 1])


def measured_coverage(residuals: npt.NDArray[np.float64], coverage: float = COVERAGE) -> float | None:
    """Share of residuals within the interval of the other folds. Residual i is in fold i modulo FOLDS.

    None if the other folds are too few for the coverage.
    """
    fold = np.arange(len(residuals)) % FOLDS
    inside = np.zeros(len(residuals), bool)
    for number in range(min(FOLDS, len(residuals))):
        width = half_width(residuals[fold != number], coverage)
        if width is None:
            return None
        inside[fold == number] = np.abs(residuals[fold == number]) <= width
    return float(inside.mean()) if len(inside) else None
