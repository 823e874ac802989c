"""Features of users as of a moment: for the ends of days, for photos when they were posted, for one user now.

All of them use `History`, so that training and serving can't differ. What does not live here: which events make which
feature (`history.py`), duplicates in the log (`event_log.py`).
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta

import polars as pl

from pipeline_assets.features.event_log import CLOCK_SKEW
from pipeline_assets.features.history import FEATURE_TYPES, FEATURES, PHOTO_LOOKBACK, History
from pipeline_assets.runtime.batches import in_batches

__all__ = ["EVENT_LOOKBACK", "FEATURES", "LOOKBACK_DAYS", "PHOTO_LOOKBACK", "user_features_as_of", "user_features_for_days"]

EVENT_LOOKBACK = PHOTO_LOOKBACK + CLOCK_SKEW
"""Events that arrived longer than this before a moment do not affect it."""
LOOKBACK_DAYS = EVENT_LOOKBACK // timedelta(days=1)
"""Partitions before a day that its moments need, of the event log and of photo metadata."""


def user_features_as_of(entities: pl.LazyFrame, events: pl.LazyFrame, photos: pl.LazyFrame) -> pl.LazyFrame:
    """Add FEATURES to each entity, from data known strictly before its moment.

    entities: user_id, as_of (UTC, microseconds), joined_at, and any other columns; moments may repeat. events: of
    `EventLog`, from EVENT_LOOKBACK before the earliest moment; later ones, duplicates and order have no effect. photos: of
    `PhotoMetadata`, each photo once, from LOOKBACK_DAYS partitions before the earliest moment.
    An unknown user has zeros and a null mean. Likes count on photos posted in the PHOTO_LOOKBACK before the moment, by users
    other than the owner; likes on unknown photos are ignored. Rows come in any order.
    """

    def batches() -> Iterator[pl.DataFrame]:
        entity_rows = entities.collect(engine="streaming")
        if entity_rows.height:
            yield History.of(entity_rows, events, photos).ask(entity_rows)

    return in_batches(batches, pl.Schema({**entities.collect_schema(), **FEATURE_TYPES}))


def user_features_for_days(
    days: Sequence[date], events: pl.LazyFrame, photos: pl.LazyFrame, users: pl.LazyFrame | None = None
) -> pl.LazyFrame:
    """Rows of `UserFeatures` for the ends of `days`, by day and user; a range equals its single days.

    events, photos: as for `user_features_as_of`, from LOOKBACK_DAYS partitions before the first day.
    users: user_id (unique), joined_at; one row for each user who had joined. None: one row for each user with a photo
    posted in the PHOTO_LOOKBACK before the end of the day.
    """

    def batches() -> Iterator[pl.DataFrame]:
        ends = {day: datetime.combine(day, time(), UTC) + timedelta(days=1) for day in sorted(set(days))}
        joining = (
            _users_of_photos(photos) if users is None else users.select("user_id", "joined_at").collect(engine="streaming")
        )
        if not ends or joining.is_empty():
            return
        first, last = min(ends.values()), max(ends.values())
        recent_events = events.filter(
            pl.col("at") >= first - PHOTO_LOOKBACK, pl.col("at") < last, pl.col("arrived_at") < last
        )
        recent_photos = photos.filter(pl.col("posted_at") >= first - PHOTO_LOOKBACK, pl.col("posted_at") < last)
        posted = recent_photos.select("photo_id", "user_id", "posted_at", "day").collect(engine="streaming")
        moments = pl.DataFrame({"as_of": [first, last]}, schema={"as_of": _AS_OF})
        history = History.of(joining.select("user_id").join(moments, how="cross"), recent_events, posted.lazy())
        for day, end in ends.items():
            day_users = joining.filter(pl.col("joined_at") < end) if users is not None else _posters(joining, posted, end)
            entities = day_users.with_columns(day=pl.lit(day), as_of=pl.lit(end, _AS_OF))
            yield history.ask(entities).select(list(_DAY_TYPES)).sort("user_id")

    return in_batches(batches, pl.Schema(_DAY_TYPES))


_AS_OF = pl.Datetime("us", "UTC")
_DAY_TYPES = {"day": pl.Date(), "user_id": pl.Int64(), "as_of": _AS_OF, **FEATURE_TYPES}


def _users_of_photos(photos: pl.LazyFrame) -> pl.DataFrame:
    """Each user with a photo, and when they joined, from the photos. Returns user_id, joined_at."""
    return photos.group_by("user_id").agg(joined_at=pl.col("user_joined_at").min()).collect(engine="streaming")


def _posters(users: pl.DataFrame, posted: pl.DataFrame, end: datetime) -> pl.DataFrame:
    """Users with a photo posted in the PHOTO_LOOKBACK before `end`."""
    recent = posted.filter(pl.col("posted_at") >= end - PHOTO_LOOKBACK, pl.col("posted_at") < end)
    return users.join(recent, on="user_id", how="semi")
