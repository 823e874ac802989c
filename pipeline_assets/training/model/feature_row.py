"""The feature matrix of one photo without a frame: a hundredth of the time, equal to the bit to `feature_matrix.features`.

What lives here: the same arithmetic on Python's numbers, derived from the names of `feature_matrix.FEATURES`. A feature of a
new kind does not load until it is written here, too; a test compares both.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from pipeline_assets.errors import SchemaMismatch
from pipeline_assets.training.model.feature_matrix import FEATURES, NAMES, Feature

_PERIODS = {"posted_hour": 24, "posted_weekday": 7}
_DEFAULTS = {"mean_popularity_30d": 0.0}
"""Values of features that may be missing and are no logarithms."""


def feature_row(values: Mapping[str, float | None]) -> npt.NDArray[np.float32]:
    """The row (1, F) float32 of one photo. values: `feature_matrix.COLUMNS`, those of Float32 rounded to it.

    Raises SchemaMismatch naming the features that are missing or not finite.
    """
    row = np.array([[step(values[label]) for label, step in _STEPS]], dtype=np.float64).astype(np.float32)
    if not np.isfinite(row).all():
        unusable = [name for name, value in zip(NAMES, row[0], strict=True) if not math.isfinite(value)]
        raise SchemaMismatch(f"features {', '.join(unusable)} are null or not finite")
    return row


def _step(feature: Feature) -> Callable[[float | None], float]:
    """The feature's arithmetic, by how its name is made of its column's."""
    column = feature.label
    angle = 2 * math.pi / _PERIODS.get(column, 1)
    steps: dict[str, Callable[[float | None], float]] = {
        f"{column}_sin": lambda value: math.sin(_number(value) * angle),
        f"{column}_cos": lambda value: math.cos(_number(value) * angle),
        f"log_{column}": lambda value: _log1p(0.0 if value is None else float(value)),
        f"{column}_missing": lambda value: float(value is None or math.isnan(value)),
        column: lambda value: _number(value, _DEFAULTS.get(column, math.nan)),
    }
    return steps[feature.name]


def _number(value: float | None, default: float = math.nan) -> float:
    return default if value is None or math.isnan(value) else float(value)


def _log1p(value: float) -> float:
    return math.log1p(value) if value > -1 else math.nan


_STEPS = [(feature.label, _step(feature)) for feature in FEATURES]
