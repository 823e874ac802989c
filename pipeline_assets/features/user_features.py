"""Features of users as known at a moment: for the ends of days, for photos when they were posted, for one user now.

All of them go through `History`, so that training and serving can't differ. What does not live here: which events make
which feature (`history.py`), duplicates in the log (`event_log.py`).
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta

import polars as pl

from pipeline_assets.batches import in_batches
from pipeline_assets.features.event_log import CLOCK_SKEW
from pipeline_assets.features.history import FEATURE_TYPES, FEATURES, PHOTO_LOOKBACK, History

__all__ = ["EVENT_LOOKBACK", "FEATURES", "LOOKBACK_DAYS", "PHOTO_LOOKBACK", "user_features_as_of", "user_features_for_days"]

EVENT_LOOKBACK = PHOTO_LOOKBACK + CLOCK_SKEW
"""Events that arrived longer before a moment than this change nothing at it."""
LOOKBACK_DAYS = EVENT_LOOKBACK // timedelta(days=1)
"""Partitions before a day that its moments need, of the event log and of photo metadata alike."""


def user_features_as_of(entities: pl.LazyFrame, events: pl.LazyFrame, photos: pl.LazyFrame) -> pl.LazyFrame:
    """Add FEATURES to each entity, from what was known strictly before its moment.

    entities: user_id, as_of (UTC, microseconds), joined_at, and any columns to carry; repeated moments are fine.
    events: of `EventLog`, reaching EVENT_LOOKBACK before the earliest moment; later ones, duplicates and order change
    nothing.  photos: of `PhotoMetadata`, each photo once, reaching PHOTO_LOOKBACK before the earliest moment.
    A user that nothing is known of has zeros and a null mean. Likes count on photos posted in the PHOTO_LOOKBACK before
    the moment, by users other than the owner; those on unknown photos are ignored.  Rows come in any order.
    """

    def answers() -> Iterator[pl.DataFrame]:
        asked = entities.collect(engine="streaming")
        if asked.height:
            yield History.of(asked, events, photos).ask(asked)

    return in_batches(answers, pl.Schema({**entities.collect_schema(), **FEATURE_TYPES}))


def user_features_for_days(
    days: Sequence[date], events: pl.LazyFrame, photos: pl.LazyFrame, users: pl.LazyFrame | None = None
) -> pl.LazyFrame:
    """Rows of `UserFeatures` for the ends of `days`, by day and user; a range gives what its days give one by one.

    events, photos: as for `user_features_as_of`, reaching LOOKBACK_DAYS partitions before the first day.
    users: user_id (unique), joined_at; a row for each that had joined. Without it: a row for each user with a photo
    posted in the PHOTO_LOOKBACK before the end of the day.
    """

    def answers() -> Iterator[pl.DataFrame]:
        ends = {day: datetime.combine(day, time(), UTC) + timedelta(days=1) for day in sorted(set(days))}
        joined = _joined(photos) if users is None else users.select("user_id", "joined_at").collect(engine="streaming")
        if not ends or joined.is_empty():
            return
        first, last = min(ends.values()), max(ends.values())
        known_events = events.filter(
            pl.col("at") >= first - PHOTO_LOOKBACK, pl.col("at") < last, pl.col("arrived_at") < last
        )
        known_photos = photos.filter(pl.col("posted_at") >= first - PHOTO_LOOKBACK, pl.col("posted_at") < last)
        posted = known_photos.select("photo_id", "user_id", "posted_at").collect(engine="streaming")
        moments = pl.DataFrame({"as_of": [first, last]}, schema={"as_of": _AS_OF})
        history = History.of(joined.select("user_id").join(moments, how="cross"), known_events, posted.lazy())
        for day, end in ends.items():
            known = joined.filter(pl.col("joined_at") < end) if users is not None else _posters(joined, posted, end)
            asked = known.with_columns(day=pl.lit(day), as_of=pl.lit(end, _AS_OF))
            yield history.ask(asked).select(list(_DAY_TYPES)).sort("user_id")

    return in_batches(answers, pl.Schema(_DAY_TYPES))


_AS_OF = pl.Datetime("us", "UTC")
_DAY_TYPES = {"day": pl.Date(), "user_id": pl.Int64(), "as_of": _AS_OF, **FEATURE_TYPES}


def _joined(photos: pl.LazyFrame) -> pl.DataFrame:
    """Each user with a photo, and when they joined, by the photos alone. Returns user_id, joined_at."""
    return photos.group_by("user_id").agg(joined_at=pl.col("user_joined_at").min()).collect(engine="streaming")


def _posters(joined: pl.DataFrame, posted: pl.DataFrame, end: datetime) -> pl.DataFrame:
    """Those of `joined` with a photo posted in the PHOTO_LOOKBACK before `end`."""
    recent = posted.filter(pl.col("posted_at") >= end - PHOTO_LOOKBACK, pl.col("posted_at") < end)
    return joined.join(recent, on="user_id", how="semi")
