"""States of all users, photos and recent events, from the tables. Not here: what later events change (`events.py`)."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from pipeline_assets.features.postings import is_near_upload, known_from
from pipeline_assets.serving.state.deliveries import buckets, waiting
from pipeline_assets.serving.state.layout import PHOTO_KNOWN, photo_key
from pipeline_assets.serving.state.period import Period
from pipeline_assets.serving.state.ragged import Rows, packed
from pipeline_assets.serving.state.user_states import user_states

Items = Iterator[tuple[bytes, bytes]]


def states(users: pl.DataFrame, events: pl.LazyFrame, photos: pl.LazyFrame, period: Period) -> Items:
    """Keys and values of all states, each key once: users, photos, events.

    users: user_id (unique), joined_at; users with events or photos alone are added. events, photos: as for
    `user_features_as_of`, from EVENT_LOOKBACK before t0; what they have after t0 is taken in, too, as `apply` would.
    Memory: that of `History`, and 16 bytes per event.
    """
    yield from states_of_users(users, events, photos, period)
    yield from states_of_photos(events, photos, period)
    yield from buckets(events, period)


def states_of_users(users: pl.DataFrame, events: pl.LazyFrame, photos: pl.LazyFrame, period: Period) -> Items:
    """Those of users, of `states`."""
    posted = _posted(photos)
    return user_states(_all_users(users, events, posted), events, posted, period)


def states_of_photos(events: pl.LazyFrame, photos: pl.LazyFrame, period: Period) -> Items:
    """Those of photos, of `states`: known ones, and unknown ones with likes or views that may count."""
    posted = _posted(photos)
    yield from _known_photos(posted)
    yield from _unknown_photos(events, posted, period)


def _posted(photos: pl.LazyFrame) -> pl.DataFrame:
    """The photos that count, each once: of several rows the one of the earliest day, as in `History`."""
    near = photos.filter(is_near_upload()).select("day", "photo_id", "user_id", "posted_at").collect(engine="streaming")
    return near.sort("photo_id", "day").unique("photo_id", keep="first", maintain_order=True)


def _all_users(users: pl.DataFrame, events: pl.LazyFrame, posted: pl.DataFrame) -> pl.DataFrame:
    acting = events.select("user_id").unique().collect(engine="streaming")
    ids = pl.concat([users.select("user_id"), acting, posted.select("user_id")]).unique()
    return ids.join(users.select("user_id", "joined_at"), on="user_id", how="left")


def _known_photos(posted: pl.DataFrame) -> Items:
    facts = posted.select(
        "user_id", pl.col("posted_at").dt.epoch("us"), known_from().dt.epoch("us").alias("known")
    ).to_numpy()
    headers = np.column_stack([np.full(len(facts), PHOTO_KNOWN << 8, np.int64), facts])
    return zip(map(photo_key, posted["photo_id"].to_list()), packed(headers), strict=True)


def _unknown_photos(events: pl.LazyFrame, posted: pl.DataFrame, period: Period) -> Items:
    rows = waiting(events, posted, period)
    ids = rows["photo_id"].unique().sort()
    positions = np.searchsorted(ids.to_numpy(), rows["photo_id"].to_numpy())
    deliveries = Rows.of(positions, rows.to_numpy(), len(ids))
    return zip(map(photo_key, ids.to_list()), packed(np.zeros((len(ids), 1), np.int64), [deliveries]), strict=True)
