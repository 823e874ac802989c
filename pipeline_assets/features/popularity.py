"""Popularity of photos from their views, and the moments at which it is known.

What lives here: the definition that the label and the feature `mean_popularity_30d` share. What does not: when a label
may be trained on (`training/labels.py`).
"""

from datetime import datetime, timedelta

import polars as pl

MATURITY_DAYS = 7
"""Views of this many days after posting make a photo's popularity."""
MATURITY = timedelta(days=MATURITY_DAYS)
LATE = timedelta(days=1)
"""Views that arrive longer than this after maturity are not counted: so a label is final, whatever is read later."""


def popularity(views_7d: pl.Expr) -> pl.Expr:
    """log2(views_7d / 7 + 1), Float64."""
    return (views_7d / MATURITY_DAYS + 1).log(2)


def count_views(photos: pl.LazyFrame, weighted: pl.LazyFrame, observed_until: datetime | None = None) -> pl.LazyFrame:
    """Views of a photo's first 7 days: posted_at <= at < posted_at + 7 d, whoever viewed.

    photos: photo_id (unique), posted_at.  weighted: of `event_log.weighted_events`.
    Returns photo_id, at_maturity (Int64: those that had arrived before posted_at + 7 d, a number that never changes
    after that moment) and, if `observed_until` is given, observed (Int64: those that arrived before it and before
    posted_at + 7 d + LATE); photos with no such view are absent.
    """
    mature_at = pl.col("posted_at") + MATURITY
    counted = {"at_maturity": mature_at} | (
        {} if observed_until is None else {"observed": pl.min_horizontal(pl.lit(observed_until), mature_at + LATE)}
    )
    return (
        weighted.filter(pl.col("kind") == "view")
        .select("photo_id", "at", "arrived_at", "weight")
        .join(photos.select("photo_id", "posted_at"), on="photo_id")
        .filter(pl.col("at") >= pl.col("posted_at"), pl.col("at") < mature_at)
        .select("photo_id", **{name: pl.col("weight") * (pl.col("arrived_at") < before) for name, before in counted.items()})
        .group_by("photo_id")
        .agg(pl.col(name).sum().cast(pl.Int64) for name in counted)
    )
