"""What is known of users, laid out once so that it can be asked at any number of moments.

What lives here: which events make which feature, and the asking. What does not: the arithmetic of windows
(`windows.py`), duplicates in the log (`event_log.py`), whose moments are asked (`user_features.py`).

Every window is bounded, so that a day's work does not grow with history. Only photos posted in the 37 days before a
moment exist for it: older ones could neither mature within 30 days nor need be known to count likes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from pipeline_assets.features.event_log import known_at, weighted_events
from pipeline_assets.features.popularity import MATURITY, count_views, popularity
from pipeline_assets.features.windows import Count, Timeline, Total

WINDOW = timedelta(days=30)
PHOTO_LOOKBACK = WINDOW + MATURITY
"""Photos posted longer before a moment than this change nothing at it."""

COUNTS = ("logins_1d", "logins_7d", "logins_30d", "posts_30d", "likes_given_30d", "likes_received_30d")
FEATURES = ("days_since_joining", *COUNTS, "mean_popularity_30d")
FEATURE_TYPES: Mapping[str, pl.DataType] = {
    "days_since_joining": pl.Int32(),
    **dict.fromkeys(COUNTS, pl.Int32()),
    "mean_popularity_30d": pl.Float32(),
}

_ACTS = pl.Enum(["login", "post", "like"])
_FIXED_POINT = 2**32
"""Popularities are added as integers of this scale: a sum that depends on no order and leaves no rounding behind."""


@dataclass(frozen=True)
class History:
    """Sorted columns of all that changes a feature between two moments, of some users.

    users: user_id, user (UInt32, their number on the timeline).  views: of `popularity.count_views`, of their photos.
    """

    users: pl.DataFrame
    timeline: Timeline
    counts: Mapping[str, Count]
    popularity: Total
    views: pl.DataFrame

    @classmethod
    def of(
        cls, asked: pl.DataFrame, events: pl.LazyFrame, photos: pl.LazyFrame, observed_until: datetime | None = None
    ) -> "History":
        """The history of the users in `asked`, for moments from its first to its last. asked: user_id, as_of; not empty.

        events, photos: as for `user_features_as_of`.  observed_until: as for `count_views`.
        The log is read four times, and held only as the numbers that are searched: 16 bytes an event and window.
        """
        users = asked.select("user_id").unique().sort("user_id").with_row_index("user")
        first, last = asked.select(first=pl.col("as_of").min(), last=pl.col("as_of").max()).row(0)
        timeline = Timeline(first, last, users.height)
        posted = (
            photos.select("photo_id", "user_id", "posted_at")
            .join(users.lazy(), on="user_id")
            .collect(engine="streaming")
            .lazy()
        )
        weighted = weighted_events(events)
        views = count_views(posted, weighted, observed_until).collect(engine="streaming")
        is_near = (known_at() < pl.lit(last)) & (pl.col("at") >= pl.lit(first - WINDOW))
        acts = _acts(weighted.filter(is_near))
        counts = _received_count(timeline, acts, posted) | _own_counts(timeline, acts, users)
        return cls(users, timeline, counts, _popularity(timeline, posted, views.lazy()), views)

    def ask(self, entities: pl.DataFrame) -> pl.DataFrame:
        """Entities, in their order, with FEATURES. entities: user_id, as_of, joined_at, any others.

        Raises ValueError if one's user or moment is not among those that the history is of.
        """
        place = self.timeline.place(pl.col("user"), pl.col("as_of"))
        asked = entities.select("user_id", "as_of").join(self.users, on="user_id", how="left", maintain_order="left")
        is_told = pl.col("user").is_not_null() & pl.col("as_of").is_between(self.timeline.first, self.timeline.last)
        if not asked.select(is_told.all()).item():
            raise ValueError("Asked of a user or a moment that is not in the history: ask for it when making the history.")
        ordered = asked.select(place=place).with_row_index("row").sort("place")
        places = ordered["place"]
        total, number = self.popularity.at(places)
        answers = (
            ordered.select(
                "row", **{name: count.at(places) for name, count in self.counts.items()}, total=total, number=number
            )
            .sort("row")
            .with_columns(mean_popularity_30d=_mean)
        )
        age = (pl.col("as_of") - pl.col("joined_at")).dt.total_days().clip(0).cast(pl.Int32)
        return entities.with_columns(days_since_joining=age).hstack(answers.select(FEATURES[1:]))


_mean = pl.when(pl.col("number") > 0).then(pl.col("total") / pl.col("number") / _FIXED_POINT).cast(pl.Float32)


def _acts(weighted: pl.LazyFrame) -> pl.DataFrame:
    """What is not a view. Returns user_id, photo_id, kind (Enum), at, known, weight."""
    return (
        weighted.filter(pl.col("kind").is_in(_ACTS.categories.to_list()))
        .select("user_id", "photo_id", "at", "weight", kind=pl.col("kind").cast(_ACTS), known=known_at())
        .collect(engine="streaming")
    )


def _own_counts(timeline: Timeline, acts: pl.DataFrame, users: pl.DataFrame) -> dict[str, Count]:
    """Logins, posts and likes given."""

    def counts(kind: str, **windows: timedelta) -> dict[str, Count]:
        own = (
            acts.lazy()
            .filter(pl.col("kind") == kind)
            .join(users.lazy(), on="user_id")
            .select("user", "at", "known", "weight")
            .collect(engine="streaming")
        )
        return {name: Count.of(timeline, own, pl.col("known"), pl.col("at") + window) for name, window in windows.items()}

    return (
        counts("login", logins_1d=timedelta(days=1), logins_7d=timedelta(days=7), logins_30d=WINDOW)
        | counts("post", posts_30d=WINDOW)
        | counts("like", likes_given_30d=WINDOW)
    )


def _received_count(timeline: Timeline, acts: pl.DataFrame, photos: pl.LazyFrame) -> dict[str, Count]:
    """Likes by others, from the moment that both the like and the photo are known."""
    likes = (
        acts.lazy()
        .filter(pl.col("kind") == "like")
        .select("photo_id", "at", "known", "weight", liker_id="user_id")
        .join(photos, on="photo_id")
        .filter(pl.col("liker_id") != pl.col("user_id"))
        .select(
            "user",
            "weight",
            known=pl.max_horizontal("known", "posted_at"),
            end=pl.min_horizontal(pl.col("at") + WINDOW, pl.col("posted_at") + PHOTO_LOOKBACK),
        )
        .collect(engine="streaming")
    )
    return {"likes_received_30d": Count.of(timeline, likes, pl.col("known"), pl.col("end"))}


def _popularity(timeline: Timeline, photos: pl.LazyFrame, views: pl.LazyFrame) -> Total:
    """Each photo enters its owner's mean when it matures and leaves it 30 days later."""
    scaled = (popularity(pl.col("at_maturity").fill_null(0)) * _FIXED_POINT).round().cast(pl.Int64)
    matured = (
        photos.join(views, on="photo_id", how="left")
        .select("user", mature_at=pl.col("posted_at") + MATURITY, value=scaled)
        .collect(engine="streaming")
    )
    return Total.of(timeline, matured, pl.col("mature_at"), pl.col("mature_at") + WINDOW)
