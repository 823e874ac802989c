"""The point-in-time join as one writes it by hand in polars, on the installed polars; run by `benchmarks.join`.

    python -m benchmarks.rivals.join_polars FOLDER OUTPUT

Only repeated ids are grouped, every user's events are joined to every photo of that user, filtered to the windows, counted.
That explodes where a user does a lot; the benchmark's data are kind to it: users are equally busy.
"""

import sys
from datetime import timedelta
from pathlib import Path

import polars as pl

from benchmarks.join_inputs import INPUTS, OBSERVED_UNTIL
from benchmarks.rivals.reported import reported
from pipeline_assets.features.popularity import LATE
from pipeline_assets.training.schemas import TrainingTable
from pipeline_assets.training.split import split_of

WEEK, MONTH = timedelta(days=7), timedelta(days=30)


def by_hand(*inputs: pl.LazyFrame) -> pl.LazyFrame:
    """The straightforward join, of INPUTS: a user's events by the user's photos, filtered and counted."""
    uploads, photos, classes, styles, log = inputs
    counts = counts_by_hand(photos.select("photo_id", "user_id", "posted_at"), once(log))
    ok = uploads.filter(pl.col("verdict") == "ok").sort("uploaded_at", "version_id").unique("key", keep="last")
    moment = pl.col("posted_at")
    is_mature = moment + WEEK <= OBSERVED_UNTIL
    rows = photos.join(ok.select("key", "sha256"), on="key")
    for part in counts:
        rows = rows.join(part, on="photo_id", how="left")
    return (
        rows.join(classes, on=["day", "sha256"])
        .join(styles, on=["day", "sha256"])
        .with_columns(
            pl.col("^(logins|posts|likes)_.*d$").fill_null(0),
            posted_hour=moment.dt.hour(),
            posted_weekday=moment.dt.weekday(),
            title_length=pl.col("title").str.len_chars(),
            has_location=pl.col("location").is_not_null(),
            days_since_joining=(moment - pl.col("user_joined_at")).dt.total_days(),
            top_class=pl.col("top5_label").list.first(),
            top_probability=pl.col("top5_probability").list.first(),
            split=split_of(pl.col("user_id")),
            views_7d=pl.when(is_mature).then(pl.col("views_7d").fill_null(0)),
        )
        .with_columns(popularity=(pl.col("views_7d") / 7 + 1).log(2))
        .select(pl.col(name).cast(kind) for name, kind in TrainingTable.create_empty().schema.items())
        .sort("day", "photo_id")
    )


def once(log: pl.LazyFrame) -> pl.LazyFrame:
    """Every event once, from its first arrival. Grouping all ids would cost five times as much."""
    details = pl.col("user_id", "photo_id", "kind", "at", "arrived_at")
    hashed = pl.col("event_id").hash()
    repeated = log.group_by(id_hash=hashed).len().filter(pl.col("len") > 1).collect(engine="streaming")["id_hash"]
    is_repeated = hashed.is_in(repeated.implode())
    first = log.filter(is_repeated).group_by("event_id").agg(details.sort_by(pl.max_horizontal("at", "arrived_at")).first())
    events = pl.concat([log.filter(~is_repeated).select(details), first.select(details)])
    return events.collect(engine="streaming").lazy()


def counts_by_hand(photos: pl.LazyFrame, events: pl.LazyFrame) -> list[pl.LazyFrame]:
    """Frames by photo_id of what was known at its posting, and of its views. photos: photo_id, user_id, posted_at."""
    at, arrived, moment, kind = pl.col("at"), pl.col("arrived_at"), pl.col("posted_at"), pl.col("kind")
    is_visible = (at < moment, arrived < moment, at >= moment - MONTH)
    acts = events.filter(kind != "view").select("user_id", "kind", "at", "arrived_at")
    is_login = kind == "login"
    own_acts = photos.join(acts, on="user_id").filter(*is_visible).group_by("photo_id")
    owned = photos.select("photo_id", owner="user_id", liked_at="posted_at")
    likes = events.filter(kind == "like").join(owned, on="photo_id").filter(pl.col("owner") != pl.col("user_id"))
    received = photos.join(likes.drop("photo_id", "user_id"), left_on="user_id", right_on="owner").filter(
        *is_visible, pl.col("liked_at") < moment, pl.col("liked_at") >= moment - MONTH - WEEK
    )
    viewed = events.filter(kind == "view").join(photos.select("photo_id", "posted_at"), on="photo_id")
    views = (
        viewed.filter(at >= moment, at < moment + WEEK)
        .group_by("photo_id")
        .agg(
            views_7d=((arrived < OBSERVED_UNTIL) & (arrived < moment + WEEK + LATE)).sum(),
            early=(arrived < moment + WEEK).sum(),
        )
    )
    early = (pl.col("early").fill_null(0) / 7 + 1).log(2)
    matured = photos.join(views, on="photo_id", how="left").select("user_id", mature_at=moment + WEEK, early=early)
    earlier_photos = photos.join(matured, on="user_id").filter(
        pl.col("mature_at") < moment, pl.col("mature_at") >= moment - MONTH
    )
    return [
        own_acts.agg(
            logins_1d=(is_login & (at >= moment - timedelta(days=1))).sum(),
            logins_7d=(is_login & (at >= moment - WEEK)).sum(),
            logins_30d=is_login.sum(),
            posts_30d=(kind == "post").sum(),
            likes_given_30d=(kind == "like").sum(),
        ),
        received.group_by("photo_id").agg(likes_received_30d=pl.len()),
        views,
        earlier_photos.group_by("photo_id").agg(mean_popularity_30d=pl.col("early").mean()),
    ]


def main(folder: Path, output: Path) -> None:
    """Join the inputs in `folder` into `output`."""
    by_hand(*(pl.scan_parquet(folder / f"{name}.parquet") for name in INPUTS)).sink_parquet(output)


if __name__ == "__main__":
    reported(lambda: main(Path(sys.argv[1]), Path(sys.argv[2])))
