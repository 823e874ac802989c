"""States of all users, photos and recent events, from the tables. Not here: what later events change (`events.py`)."""

from collections.abc import Iterator

import polars as pl

from pipeline_assets.serving.state.period import Period


def states(users: pl.DataFrame, events: pl.LazyFrame, photos: pl.LazyFrame, period: Period) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of all states, each key once: users, photos, events.

    users: user_id (unique), joined_at; users with events or photos alone are added. events, photos: as for
    `user_features_as_of`, from EVENT_LOOKBACK before t0; what they have after t0 is taken in, too, as `apply` would.
    Memory: 16 bytes per event, and those of `History` for some hundred thousand users at a time.
    """
    raise NotImplementedError
