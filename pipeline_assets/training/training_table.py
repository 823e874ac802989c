"""The training table: each photo with what was known when it was posted and, once mature, its label.

What lives here: the joins and which photos become rows. What does not: features (`features/user_features.py`), labels
(`labels.py`), the split (`split.py`).
"""

from collections.abc import Sequence
from datetime import date, datetime

import polars as pl

from pipeline_assets.features.event_log import weighted_events
from pipeline_assets.features.popularity import count_views
from pipeline_assets.features.user_features import user_features_from
from pipeline_assets.training.labels import labels_from
from pipeline_assets.training.schemas import TrainingTable
from pipeline_assets.training.split import DEFAULT_FRACTIONS, split_of

DROP_REASONS = ("not_uploaded", "quarantined", "not_classified", "not_styled", "not_yet_posted")
"""Why a photo is no row, in the order in which they are looked for: a photo has at most one."""

_STYLES = ("brightness", "contrast", "saturation", "colourfulness", "sharpness", "aspect")
_CONTENT = ("upload_day", "sha256")


def training_table(
    raw_uploads: pl.LazyFrame,
    photo_metadata: pl.LazyFrame,
    photo_classes: pl.LazyFrame,
    photo_styles: pl.LazyFrame,
    event_log: pl.LazyFrame,
    *,
    days: Sequence[date],
    observed_until: datetime,
    fractions: tuple[float, float, float] = DEFAULT_FRACTIONS,
) -> pl.LazyFrame:
    """Rows of `TrainingTable` for the photos of `days`, by day and photo_id; `reconcile` counts what is missing.

    raw_uploads, photo_classes, photo_styles: at least the partitions of `days`. A photo's content is the last uploaded
    version of its key that is ok (ties: by version id), and its outputs are those of that upload's day.
    photo_metadata: LOOKBACK_DAYS before the first day, too.  event_log: LOOKBACK_DAYS before the first day until
    `observed_until` (UTC), the end of its last loaded day, which decides the labels that are mature.
    Personal EXIF columns of `raw_uploads` are never read.
    """
    # Features are computed for all photos of the days: what depends on the other inputs joins last and is read once.
    posts = _posts(photo_metadata, days).filter(pl.col("posted_at") < pl.lit(observed_until))
    entities = posts.select("photo_id", "user_id", as_of="posted_at", joined_at="user_joined_at")
    own_photos = photo_metadata.select("photo_id", "user_id", "posted_at").join(
        entities.select("user_id").unique(), on="user_id", how="semi"
    )
    weighted = weighted_events(event_log)
    views = count_views(own_photos, weighted, observed_until).cache()
    features = user_features_from(entities, weighted, own_photos, views).drop("user_id", "as_of", "joined_at")
    return (
        posts.with_columns(*_posting(), split=split_of(pl.col("user_id"), fractions))
        .join(features, on="photo_id")
        .join(labels_from(posts, views, observed_until), on="photo_id")
        .join(_current_uploads(raw_uploads), on="key")
        .join(photo_styles.select(*_content_keys(), *_STYLES), on=_CONTENT)
        .join(_class_columns(photo_classes), on=_CONTENT)
        .select(TrainingTable.column_names())
        .sort("day", "photo_id")
    )


def reconcile(
    raw_uploads: pl.LazyFrame,
    photo_metadata: pl.LazyFrame,
    photo_classes: pl.LazyFrame,
    photo_styles: pl.LazyFrame,
    *,
    days: Sequence[date],
    observed_until: datetime,
) -> pl.LazyFrame:
    """Where the photos of `days` went: day, photos, uploads_ok, each of DROP_REASONS, rows; one row a day with photos.

    photos = rows + the sum of DROP_REASONS, and `rows` is what `training_table` of the same inputs has for the day.
    """
    fates = _fates(raw_uploads, photo_metadata, photo_classes, photo_styles, days, observed_until)
    reason = pl.col("reason")
    return (
        fates.group_by("day")
        .agg(
            photos=pl.len(),
            uploads_ok=pl.col("sha256").is_not_null().sum(),
            **{name: (reason == name).sum() for name in DROP_REASONS},
            rows=reason.is_null().sum(),
        )
        .with_columns(pl.all().exclude("day").cast(pl.Int64))
        .sort("day")
    )


def _posts(photo_metadata: pl.LazyFrame, days: Sequence[date]) -> pl.LazyFrame:
    return photo_metadata.filter(pl.col("day").is_in(list(days))).drop("details_json", strict=False)


def _fates(
    raw_uploads: pl.LazyFrame,
    photo_metadata: pl.LazyFrame,
    photo_classes: pl.LazyFrame,
    photo_styles: pl.LazyFrame,
    days: Sequence[date],
    observed_until: datetime,
) -> pl.LazyFrame:
    """Each photo of `days` with the upload it stands for and its first reason to be no row (null: it is one).

    Returns day, photo_id, upload_day, sha256, reason.
    """
    has_upload, is_ok, is_classified, is_styled = (pl.col(f"_{name}") for name in ("uploads", "ok", "class", "style"))
    reason = (
        pl.when(has_upload.is_null())
        .then(pl.lit("not_uploaded"))
        .when(is_ok.is_null())
        .then(pl.lit("quarantined"))
        .when(is_classified.is_null())
        .then(pl.lit("not_classified"))
        .when(is_styled.is_null())
        .then(pl.lit("not_styled"))
        .when(pl.col("posted_at") >= pl.lit(observed_until))
        .then(pl.lit("not_yet_posted"))
    )
    return (
        _posts(photo_metadata, days)
        .select("day", "photo_id", "key", "posted_at")
        .join(raw_uploads.select("key", _uploads=True).unique(), on="key", how="left")
        .join(_current_uploads(raw_uploads).with_columns(_ok=True), on="key", how="left")
        .join(photo_classes.select(*_content_keys(), _class=True), on=_CONTENT, how="left")
        .join(photo_styles.select(*_content_keys(), _style=True), on=_CONTENT, how="left")
        .select("day", "photo_id", *_CONTENT, reason=reason)
    )


def _current_uploads(raw_uploads: pl.LazyFrame) -> pl.LazyFrame:
    """The last ok version of each key. Returns key, upload_day, sha256."""
    return (
        raw_uploads.filter(pl.col("verdict") == "ok")
        .select("key", "uploaded_at", "version_id", "sha256", upload_day="day")
        .group_by("key")
        .agg(pl.col("upload_day", "sha256").sort_by("uploaded_at", "version_id").last())
    )


def _content_keys() -> tuple[pl.Expr, pl.Expr]:
    """What a row of a classifier output is known by: the same bytes have a row on each day that they were uploaded."""
    return pl.col("day").alias("upload_day"), pl.col("sha256")


def _class_columns(photo_classes: pl.LazyFrame) -> pl.LazyFrame:
    return photo_classes.select(
        *_content_keys(),
        "model_id",
        "embedding",
        top_class=pl.col("top5_label").list.first(),
        top_probability=pl.col("top5_probability").list.first(),
    )


def _posting() -> list[pl.Expr]:
    """Columns on the posting itself: its UTC hour and weekday, its title and place."""
    return [
        pl.col("posted_at").dt.hour().cast(pl.Int8).alias("posted_hour"),
        pl.col("posted_at").dt.weekday().cast(pl.Int8).alias("posted_weekday"),
        pl.col("title").str.len_chars().cast(pl.Int32).alias("title_length"),
        pl.col("location").fill_null("").str.strip_chars().ne("").alias("has_location"),
    ]
