"""Features of a user at a moment, from their state. What does not live here: how events change a state (`events.py`)."""

from datetime import datetime

from pipeline_assets.serving.state.layout import UserState
from pipeline_assets.serving.state.period import Period


def features_at(state: UserState, period: Period, moment: datetime) -> dict[str, int | float | None]:
    """FEATURES of `features/history.py` at a moment, equal to the bit to those of `user_features_as_of`.

    state: `UserState()` for a user without a value, who has zeros. period: of the generation that the value was read from.
    days_since_joining is None if the state does not know when the user joined; mean_popularity_30d is None without photos
    that count, and otherwise the float of a float32.
    Raises MomentBeforeState before t0, StateTooOld after t0 + horizon, StateIncomplete if a photo is missing.
    """
    raise NotImplementedError
