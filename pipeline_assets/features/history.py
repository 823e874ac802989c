"""An index of what is known of users, for features at any number of moments.

What lives here: which events make which feature, and the queries. What does not: the arithmetic of windows
(`windows.py`), duplicates in the log (`event_log.py`), and the choice of users and moments (`user_features.py`).

Every window is bounded, so that a day's work does not grow with history. Only photos posted in the 37 days before a moment
count: older ones mature before the window and receive no counted likes. Photos posted far from the day of their upload
(`postings.py`) do not count, since a window of days has them only by chance.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import polars as pl
import polars.selectors as cs

from pipeline_assets.features.event_log import known_at, weighted_events
from pipeline_assets.features.popularity import FIXED_POINT, MATURITY, count_views, in_fixed_point
from pipeline_assets.features.postings import is_near_upload, known_from
from pipeline_assets.features.windows import Count, Timeline, Total

WINDOW = timedelta(days=30)
PHOTO_LOOKBACK = WINDOW + MATURITY
"""Photos posted longer than this before a moment do not affect it."""

COUNTS = ("logins_1d", "logins_7d", "logins_30d", "posts_30d", "likes_given_30d", "likes_received_30d")
FEATURES = ("days_since_joining", *COUNTS, "mean_popularity_30d")
FEATURE_TYPES: Mapping[str, pl.DataType] = {
    "days_since_joining": pl.Int32(),
    **dict.fromkeys(COUNTS, pl.Int32()),
    "mean_popularity_30d": pl.Float32(),
}

_ACTS = pl.Enum(["login", "post", "like"])


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
    def of(cls, entities: pl.DataFrame, events: pl.LazyFrame, photos: pl.LazyFrame) -> "History":
        """The history of the users in `entities`, from first to last moment. entities: user_id, as_of; not empty.

        events, photos: as for `user_features_as_of`; photos with `observed_until` if `count_views` should use it. The log is
        read four times, and only search keys are in memory: 16 bytes per event and window.
        """
        users = entities.select("user_id").unique().sort("user_id").with_row_index("user")
        first, last = entities.select(first=pl.col("as_of").min(), last=pl.col("as_of").max()).row(0)
        timeline = Timeline(first, last, users.height)
        posted = (
            photos.filter(is_near_upload())
            .select(
                "day",
                "photo_id",
                "user_id",
                "posted_at",
                cs.by_name("observed_until", require_all=False),
                known=known_from(),
            )
            .join(users.lazy(), on="user_id")
            .collect(engine="streaming")
            .pipe(_unique_photos)
            .lazy()
        )
        weighted = weighted_events(events)
        views = count_views(posted, weighted).collect(engine="streaming")
        is_near = (known_at() < pl.lit(last)) & (pl.col("at") >= pl.lit(first - WINDOW))
        acts = _acts(weighted.filter(is_near))
        counts = _received_count(timeline, acts, posted) | _own_counts(timeline, acts, users)
        return cls(users, timeline, counts, _popularity(timeline, posted, views.lazy()), views)

    def ask(self, entities: pl.DataFrame) -> pl.DataFrame:
        """Entities, in their order, with FEATURES. entities: user_id, as_of, joined_at, any other columns.

        Raises ValueError for a user or moment that the history does not cover.
        """
        place = self.timeline.place(pl.col("user"), pl.col("as_of"))
        placed = entities.select("user_id", "as_of").join(self.users, on="user_id", how="left", maintain_order="left")
        is_covered = pl.col("user").is_not_null() & pl.col("as_of").is_between(self.timeline.first, self.timeline.last)
        if not placed.select(is_covered.all()).item():
            raise ValueError(
                "The history does not cover one of these users or moments: include it when you build the history."
            )
        ordered = placed.select(place=place).with_row_index("row").sort("place")
        places = ordered["place"]
        total, number = self.popularity.at(places)
        features = (
            ordered.select(
                "row", **{name: count.at(places) for name, count in self.counts.items()}, total=total, number=number
            )
            .sort("row")
            .with_columns(mean_popularity_30d=_mean)
        )
        age = (pl.col("as_of") - pl.col("joined_at")).dt.total_days().clip(0).cast(pl.Int32)
        return entities.with_columns(days_since_joining=age).hstack(features.select(FEATURES[1:]))


def _unique_photos(photos: pl.DataFrame) -> pl.DataFrame:
    """Unique photos, without `day`: a photo whose row moved has a copy on its old day until that day is computed again.

    The copy of the earliest day counts: each later day reads it too, so that a range of days equals its single days.
    """
    if photos["photo_id"].is_duplicated().any():
        photos = photos.sort("photo_id", "day").unique("photo_id", keep="first", maintain_order=True)
    return photos.drop("day")


_mean = pl.when(pl.col("number") > 0).then(pl.col("total") / pl.col("number") / FIXED_POINT).cast(pl.Float32)


def _acts(weighted: pl.LazyFrame) -> pl.DataFrame:
    """Events other than views. Returns user_id, photo_id, kind (Enum), at, known, weight."""
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
    """Likes by others, from the moment that both the like and the photo are known. photos: `known` from `known_from`."""
    likes = (
        acts.lazy()
        .filter(pl.col("kind") == "like")
        .select("photo_id", "at", "known", "weight", liker_id="user_id")
        .join(photos.rename({"known": "photo_known"}), on="photo_id")
        .filter(pl.col("liker_id") != pl.col("user_id"))
        .select(
            "user",
            "weight",
            known=pl.max_horizontal("known", "photo_known"),
            end=pl.min_horizontal(pl.col("at") + WINDOW, pl.col("posted_at") + PHOTO_LOOKBACK),
        )
        .collect(engine="streaming")
    )
    return {"likes_received_30d": Count.of(timeline, likes, pl.col("known"), pl.col("end"))}


def _popularity(timeline: Timeline, photos: pl.LazyFrame, views: pl.LazyFrame) -> Total:
    """Each photo enters its owner's mean when it matures and leaves it 30 days later."""
    matured = (
        photos.join(views, on="photo_id", how="left")
        .select("user", mature_at=pl.col("posted_at") + MATURITY, value=in_fixed_point(pl.col("at_maturity").fill_null(0)))
        .collect(engine="streaming")
    )
    return Total.of(timeline, matured, pl.col("mature_at"), pl.col("mature_at") + WINDOW)
