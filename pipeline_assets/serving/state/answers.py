"""Features of a user at a moment, from their state. What does not live here: how events change a state (`events.py`)."""

import struct
from datetime import datetime
from functools import cache, lru_cache

import numpy as np
import polars as pl

from pipeline_assets.errors import MomentBeforeState, StateIncomplete, StateTooOld
from pipeline_assets.features.history import COUNTS
from pipeline_assets.features.popularity import FIXED_POINT, in_fixed_point
from pipeline_assets.serving.state.layout import UserState
from pipeline_assets.serving.state.period import Period, microseconds

_DAY_US = 86_400_000_000
_FLOAT32 = struct.Struct("<f")
_FEW_VIEWS = 4096
_MANY_STEPS = 1_000
"""From so many on, numpy counts steps: a million in milliseconds, so that one busy user holds up no other."""


def features_at(state: UserState, period: Period, moment: datetime) -> dict[str, int | float | None]:
    """FEATURES of `features/history.py` at a moment, equal to the bit to those of `user_features_as_of`.

    state: `UserState()` for a user without a value, who has zeros. period: of the generation that the value was read from.
    days_since_joining is None if the state does not know when the user joined; mean_popularity_30d is None without photos
    that count, and otherwise the float of a float32.
    Raises MomentBeforeState before t0, StateTooOld after t0 + horizon, StateIncomplete if a photo is missing.
    """
    time = microseconds(moment)
    if not (state.is_complete and period.start_us <= time <= period.end_us):
        raise _refusal(period, moment, time)
    counts = _counts(state, time << 4)
    age = None if state.joined_at is None else max((time - state.joined_at) // _DAY_US, 0)
    features: dict[str, int | float | None] = {"days_since_joining": age}
    features.update(zip(COUNTS, counts, strict=True))
    features["mean_popularity_30d"] = _mean_popularity(state, time)
    return features


def _counts(state: UserState, limit: int) -> list[int]:
    """The counts after all steps below a limit."""
    counts = state.counts.copy()
    if len(state.steps) >= _MANY_STEPS:
        steps = np.frombuffer(state.steps, np.int64)
        taken = np.bincount(steps[: np.searchsorted(steps, limit)] & 15, minlength=16).tolist()
        return [count + taken[2 * place + 1] - taken[2 * place] for place, count in enumerate(counts)]
    for step in state.steps:
        if step >= limit:
            break
        counts[step >> 1 & 7] += 1 if step & 1 else -1
    return counts


def _mean_popularity(state: UserState, time: int) -> float | None:
    total, number = state.total, state.number
    for end, value in state.leaving:
        if end >= time:
            break
        total, number = total - value, number - 1
    for mature_at, _, views in state.maturing:
        if mature_at >= time:
            break
        total, number = total + _value(views), number + 1
    if number <= 0:
        return None
    mean: float = _FLOAT32.unpack(_FLOAT32.pack(float(total) / float(number) / FIXED_POINT))[0]
    return mean


def _refusal(period: Period, moment: datetime, time: int) -> MomentBeforeState | StateTooOld | StateIncomplete:
    if time < period.start_us:
        return MomentBeforeState(
            f"The online states begin at {period.t0:%Y-%m-%d %H:%M} UTC, and features were asked for {moment}: ask for a "
            "later moment, or use the offline features."
        )
    if time > period.end_us:
        return StateTooOld(
            f"The online states answer until {period.end:%Y-%m-%d %H:%M} UTC, and features were asked for {moment}: "
            "materialize the newest day of `online_features`."
        )
    return StateIncomplete(
        "A photo of this user became known long after it was posted, and its views are not in the state: materialize "
        "the newest day of `online_features`."
    )


def _value(views: int) -> int:
    return _few()[views] if 0 <= views < _FEW_VIEWS else _many(views)


@cache
def _few() -> list[int]:
    """By the same expression as offline, for all numbers at once."""
    return pl.select(in_fixed_point(pl.int_range(_FEW_VIEWS, dtype=pl.Int64, eager=False))).to_series().to_list()


@lru_cache(maxsize=65536)
def _many(views: int) -> int:
    value: int = pl.select(in_fixed_point(pl.lit(views, pl.Int64))).item()
    return value
