"""Popularity of photos from their views, and when it is known.

What lives here: the definition shared by the label and the feature `mean_popularity_30d`. What does not: when a label may
be used for training (`training/labels.py`).
"""

from datetime import timedelta

import polars as pl

MATURITY_DAYS = 7
"""Days after posting whose views make a photo's popularity."""
MATURITY = timedelta(days=MATURITY_DAYS)
LATE = timedelta(days=1)
"""Views that arrive longer than this after maturity do not count, so that a label becomes final."""
FINAL_DAYS = (MATURITY + LATE) // timedelta(days=1)
"""Days after posting until a photo's label is final."""
FIXED_POINT = 2**32
"""Popularities are added as integers of this scale: a sum that depends on no order and leaves no rounding behind."""


def popularity(views_7d: pl.Expr) -> pl.Expr:
    """log2(views_7d / 7 + 1), Float64: for the label, the feature and the simulator's truth."""
    return (views_7d / MATURITY_DAYS + 1).log(2)


def in_fixed_point(views_7d: pl.Expr) -> pl.Expr:
    """The popularity times FIXED_POINT, Int64, to be added."""
    return (popularity(views_7d) * FIXED_POINT).round().cast(pl.Int64)


def count_views(photos: pl.LazyFrame, weighted: pl.LazyFrame) -> pl.LazyFrame:
    """Views of a photo's first 7 days, by anyone: posted_at <= at < posted_at + 7 d.

    photos: photo_id (unique), posted_at, and for labels `observed_until` (UTC): the end of the log for each photo, or
    null.  weighted: from `event_log.weighted_events`.
    Returns photo_id, at_maturity (Int64: views that arrived before posted_at + 7 d, final from then on) and, with
    `observed_until`, observed (Int64: views that arrived before it and before posted_at + 7 d + LATE); photos without such
    views are absent.
    """
    mature_at = pl.col("posted_at") + MATURITY
    observed_columns = ["observed_until"] if "observed_until" in photos.collect_schema().names() else []
    limits = {"at_maturity": mature_at}
    if observed_columns:
        limits["observed"] = pl.min_horizontal(pl.col("observed_until"), mature_at + LATE)
    return (
        weighted.filter(pl.col("kind") == "view")
        .select("photo_id", "at", "arrived_at", "weight")
        .join(photos.select("photo_id", "posted_at", *observed_columns), on="photo_id")
        .filter(pl.col("at") >= pl.col("posted_at"), pl.col("at") < mature_at)
        .select("photo_id", **{name: pl.col("weight") * (pl.col("arrived_at") < limit) for name, limit in limits.items()})
        .group_by("photo_id")
        .agg(pl.col(name).sum().cast(pl.Int64) for name in limits)
    )
