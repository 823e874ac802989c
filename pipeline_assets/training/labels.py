"""Labels of photos, once they are known."""

import polars as pl

from pipeline_assets.features.event_log import weighted_events
from pipeline_assets.features.popularity import MATURITY, count_views, popularity


def labels(photos: pl.LazyFrame, events: pl.LazyFrame) -> pl.LazyFrame:
    """Each photo's label: null until it is mature, posted_at + 7 d <= observed_until.

    photos: photo_id (unique), posted_at, observed_until: the end of the gapless log for the photo, from `observation`;
    null for none. events: of `EventLog`; views that arrived before that, and before posted_at + 8 d, count.
    Returns photo_id, views_7d (Int64), popularity (Float32, log2(views_7d / 7 + 1)), in any order.
    """
    entities = photos.select("photo_id", "posted_at", "observed_until")
    return labelled(entities, count_views(entities, weighted_events(events))).drop("posted_at")


def labelled(photos: pl.LazyFrame, views: pl.LazyFrame) -> pl.LazyFrame:
    """Photos, in their order, with views_7d and popularity instead of `observed_until`. views: from `count_views`."""
    is_mature = (pl.col("posted_at") + MATURITY <= pl.col("observed_until")).fill_null(value=False)
    return (
        photos.join(views.select("photo_id", "observed"), on="photo_id", how="left", maintain_order="left")
        .with_columns(views_7d=pl.when(is_mature).then(pl.col("observed").fill_null(0)))
        .with_columns(popularity=popularity(pl.col("views_7d")).cast(pl.Float32))
        .drop("observed", "observed_until")
    )
