"""Features of users as known at a moment: for the ends of days, for photos when they were posted, for one user now.

All of them go through `user_features_as_of`, so that training and serving can't differ. What does not live here: the
arithmetic of windows (`windows.py`), duplicates in the log (`event_log.py`).

Every window is bounded, so that a day's work does not grow with history. Only photos posted in the 37 days before a
moment exist for it: older ones could neither mature within 30 days nor need be known to count likes.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta

import polars as pl

from pipeline_assets.features.event_log import CLOCK_SKEW, known_at, weighted_events
from pipeline_assets.features.popularity import MATURITY, count_views, popularity
from pipeline_assets.features.windows import (
    MOMENT,
    Step,
    count_steps,
    keys_of_steps,
    sort_key,
    sum_steps,
)

WINDOW = timedelta(days=30)
PHOTO_LOOKBACK = WINDOW + MATURITY
"""Photos posted longer before a moment than this change nothing at it."""
EVENT_LOOKBACK = PHOTO_LOOKBACK + CLOCK_SKEW
"""Events that arrived longer before a moment than this change nothing at it."""
LOOKBACK_DAYS = EVENT_LOOKBACK // timedelta(days=1)
"""Partitions before a day that its moments need, of the event log and of photo metadata alike."""

FEATURES = (
    "days_since_joining",
    "logins_1d",
    "logins_7d",
    "logins_30d",
    "posts_30d",
    "likes_given_30d",
    "likes_received_30d",
    "mean_popularity_30d",
)

_COUNTERS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "logins_1d": ((1, 4), (2, 3)),
    "logins_7d": ((1, 6), (2, 5)),
    "logins_30d": ((1, 8), (2, 7)),
    "posts_30d": ((9,), (10,)),
    "likes_given_30d": ((11,), (12,)),
    "likes_received_30d": ((13,), (14,)),
}
"""Codes of steps that raise and lower each count. 1 and 2 are a login becoming known (and its duplicate's), which moves
three counts at once; 3 to 8 are its ends after 1, 7 and 30 days."""

_FIXED_POINT = 2**32
"""Popularities are added as integers of this scale: a sum that depends on no order and leaves no rounding behind."""


def user_features_as_of(entities: pl.LazyFrame, events: pl.LazyFrame, photos: pl.LazyFrame) -> pl.LazyFrame:
    """Add FEATURES to each entity, from what was known strictly before its moment.

    entities: user_id, as_of (UTC, microseconds), joined_at, and any columns to carry; repeated moments are fine.
    events: of `EventLog`, reaching EVENT_LOOKBACK before the earliest moment; later ones, duplicates and order change
    nothing.  photos: of `PhotoMetadata`, each photo once, reaching PHOTO_LOOKBACK before the earliest moment.
    A user that nothing is known of has zeros and a null mean. Likes count on photos posted in the PHOTO_LOOKBACK before
    the moment, by users other than the owner; those on unknown photos are ignored.  Rows come in any order.
    """
    users = entities.select("user_id").unique()
    own_photos = photos.select("photo_id", "user_id", "posted_at").join(users, on="user_id", how="semi")
    weighted = weighted_events(events)
    views = count_views(own_photos, weighted)
    return user_features_from(entities, weighted, own_photos, views)


def user_features_from(
    entities: pl.LazyFrame, weighted: pl.LazyFrame, photos: pl.LazyFrame, views: pl.LazyFrame
) -> pl.LazyFrame:
    """`user_features_as_of` for a caller that has already weighted the events and counted the views.

    weighted: of `weighted_events`.  photos: those of the entities' users.  views: of `count_views`, for these photos.
    """
    keyed = entities.with_columns(key=sort_key(pl.col("user_id"), pl.col("as_of"), MOMENT))
    moments = keyed.select("key").unique()
    users = entities.select("user_id").unique()
    counts = count_steps(pl.concat([moments, _own_keys(weighted, users), _received_keys(weighted, photos)]), _COUNTERS)
    sums = sum_steps(pl.concat([moments.with_columns(_ZERO_VALUE, _ZERO_COUNT), _maturity_steps(photos, views)]))
    age = (pl.col("as_of") - pl.col("joined_at")).dt.total_days().clip(0).cast(pl.Int32)
    mean = pl.when(pl.col("count") > 0).then(pl.col("value") / pl.col("count") / _FIXED_POINT).cast(pl.Float32)
    return (
        keyed.join(counts, on="key", how="left")
        .join(sums, on="key", how="left")
        .with_columns(days_since_joining=age, mean_popularity_30d=mean)
        .drop("key", "value", "count")
    )


def user_features_for_days(
    days: Sequence[date], events: pl.LazyFrame, photos: pl.LazyFrame, users: pl.LazyFrame | None = None
) -> pl.LazyFrame:
    """Rows of `UserFeatures` for the ends of `days`, by day and user; a range gives what its days give one by one.

    events, photos: as for `user_features_as_of`, reaching LOOKBACK_DAYS partitions before the first day.
    users: user_id (unique), joined_at; a row for each that had joined. Without it: a row for each user with a photo
    posted in the PHOTO_LOOKBACK before the end of the day.
    """
    ends = pl.LazyFrame({"day": sorted(set(days))}, schema={"day": pl.Date}).with_columns(as_of=end_of_day(pl.col("day")))
    if users is None:
        entities = _recent_posters(ends, photos)
    else:
        entities = ends.join(users.select("user_id", "joined_at"), how="cross").filter(pl.col("joined_at") < pl.col("as_of"))
    if days:
        first = datetime.combine(min(days), time(), UTC) + timedelta(days=1) - PHOTO_LOOKBACK
        last = datetime.combine(max(days), time(), UTC) + timedelta(days=1)
        events = events.filter(pl.col("at") >= first, pl.col("at") < last, pl.col("arrived_at") < last)
        photos = photos.filter(pl.col("posted_at") >= first, pl.col("posted_at") < last)
    return user_features_as_of(entities, events, photos).select("day", "user_id", "as_of", *FEATURES).sort("day", "user_id")


def end_of_day(day: pl.Expr) -> pl.Expr:
    """The first moment after a UTC day."""
    return day.cast(pl.Datetime("us")).dt.replace_time_zone("UTC") + timedelta(days=1)


def _recent_posters(ends: pl.LazyFrame, photos: pl.LazyFrame) -> pl.LazyFrame:
    """Each end of day with the users who posted in the PHOTO_LOOKBACK before it. Returns day, as_of, user_id, joined_at."""
    joined = photos.group_by("user_id").agg(joined_at=pl.col("user_joined_at").min())
    reach = PHOTO_LOOKBACK - timedelta(days=1)
    posted = pl.col("posted_at").dt.date()
    return (
        photos.select("user_id", day=posted)
        .unique()
        .select("user_id", day=pl.date_ranges("day", pl.col("day") + reach))
        .explode("day")
        .unique()
        .join(ends, on="day")
        .join(joined, on="user_id")
    )


_ZERO_VALUE = pl.lit(0, pl.Int64).alias("value")
_ZERO_COUNT = pl.lit(0, pl.Int32).alias("count")


def _own_keys(weighted: pl.LazyFrame, users: pl.LazyFrame) -> pl.LazyFrame:
    """Keys of the steps of what the users did: logins, posts, likes given. One scan of the log for all three."""
    at, known, kind = pl.col("at"), known_at(), pl.col("kind")

    def code(login: int, post: int, like: int) -> pl.Expr:
        return pl.when(kind == "login").then(login).when(kind == "post").then(post).otherwise(like)

    def login_ends(window_days: int) -> pl.Expr:
        return pl.when(kind == "login").then(pl.max_horizontal(at + timedelta(days=window_days), known))

    steps = [
        Step(known, code(1, 9, 11), code(2, 10, 12)),
        Step(pl.max_horizontal(at + WINDOW, known), code(7, 10, 12), code(8, 9, 11)),
        Step(login_ends(1), 3, 4),
        Step(login_ends(7), 5, 6),
    ]
    own = (
        weighted.filter(kind.is_in(["login", "post", "like"]))
        .select("user_id", "kind", "at", "arrived_at", "weight")
        .join(users, on="user_id", how="semi")
    )
    return keys_of_steps(own, "user_id", steps)


def _received_keys(weighted: pl.LazyFrame, photos: pl.LazyFrame) -> pl.LazyFrame:
    """Keys of the steps of likes received, from the moment that both the like and the photo are known."""
    received = (
        weighted.filter(pl.col("kind") == "like")
        .select("user_id", "photo_id", "at", "arrived_at", "weight")
        .join(photos.select("photo_id", "posted_at", owner_id="user_id"), on="photo_id")
        .filter(pl.col("user_id") != pl.col("owner_id"))
    )
    known = pl.max_horizontal(known_at(), "posted_at")
    ends = pl.min_horizontal(pl.col("at") + WINDOW, pl.col("posted_at") + PHOTO_LOOKBACK)
    return keys_of_steps(received, "owner_id", [Step(known, 13, 14), Step(pl.max_horizontal(ends, known), 14, 13)])


def _maturity_steps(photos: pl.LazyFrame, views: pl.LazyFrame) -> pl.LazyFrame:
    """Each photo enters its owner's mean when it matures and leaves it 30 days later. Returns key, value, count."""
    mature_at = pl.col("posted_at") + MATURITY
    scaled = (popularity(pl.col("at_maturity").fill_null(0)) * _FIXED_POINT).round().cast(pl.Int64)
    matured = photos.join(views, on="photo_id", how="left").select("user_id", mature_at=mature_at, value=scaled)
    enters = matured.select(
        key=sort_key(pl.col("user_id"), pl.col("mature_at"), 1), value="value", count=pl.lit(1, pl.Int32)
    )
    leaves = matured.select(
        key=sort_key(pl.col("user_id"), pl.col("mature_at") + WINDOW, 1),
        value=-pl.col("value"),
        count=pl.lit(-1, pl.Int32),
    )
    return pl.concat([enters, leaves])
