"""Labels: what a model is trained to predict, once it can be known."""

from datetime import datetime, timedelta

import polars as pl

from pipeline_assets.features.event_log import weighted_events
from pipeline_assets.features.popularity import LATE, MATURITY, MATURITY_DAYS, count_views, popularity

EVENT_DAYS_AFTER = MATURITY_DAYS + LATE // timedelta(days=1)
"""Partitions of the event log after a photo's day that can change its label."""


def labels(photos: pl.LazyFrame, events: pl.LazyFrame, observed_until: datetime) -> pl.LazyFrame:
    """Each photo's label: null until it is mature, posted_at + 7 d <= observed_until.

    photos: photo_id (unique), posted_at.  events: of `EventLog`.  observed_until: UTC, the end of the last day of the
    event log that is loaded; views that arrived before it, and before posted_at + 8 d, count.
    Returns photo_id, views_7d (Int64), popularity (Float32, log2(views_7d / 7 + 1)), in any order.
    """
    views = count_views(photos, weighted_events(events), observed_until)
    return labelled(photos.select("photo_id", "posted_at"), views, observed_until).drop("posted_at")


def labelled(photos: pl.LazyFrame, views: pl.LazyFrame, observed_until: datetime) -> pl.LazyFrame:
    """Photos, in their order, with views_7d and popularity. views: of `count_views` up to the same `observed_until`."""
    is_mature = pl.col("posted_at") + MATURITY <= pl.lit(observed_until)
    return (
        photos.join(views.select("photo_id", "observed"), on="photo_id", how="left", maintain_order="left")
        .with_columns(views_7d=pl.when(is_mature).then(pl.col("observed").fill_null(0)))
        .with_columns(popularity=popularity(pl.col("views_7d")).cast(pl.Float32))
        .drop("observed")
    )
