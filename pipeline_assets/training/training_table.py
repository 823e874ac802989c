"""The training table: each photo with what was known when it was posted and, once mature, its label.

What lives here: the joins and which photos become rows. What does not: features (`features/user_features.py`), labels
(`labels.py`), the split (`split.py`).
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime

import polars as pl

from pipeline_assets.batches import in_batches
from pipeline_assets.features.history import History
from pipeline_assets.ingestion.schemas import IS_PHOTO
from pipeline_assets.training.labels import labelled
from pipeline_assets.training.schemas import TrainingTable
from pipeline_assets.training.split import DEFAULT_FRACTIONS, split_of

DROP_REASONS = ("not_uploaded", "quarantined", "not_classified", "not_styled", "not_yet_posted")
"""Why a photo is no row, in the order in which they are looked for: a photo has at most one."""

BATCH_ROWS = 100_000
"""Rows that are joined and held at a time, or a day's if those are more: 512 MB at an embedding of 1,280 floats."""

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
    posts = _posts(photo_metadata, days).filter(pl.col("posted_at") < pl.lit(observed_until))

    def batches() -> Iterator[pl.DataFrame]:
        photos = posts.with_columns(*_posting(), as_of="posted_at", joined_at="user_joined_at").drop("title", "location")
        asked = _with_contents(photos, raw_uploads).collect(engine="streaming")
        if asked.is_empty():
            return
        history = History.of(asked, event_log, photo_metadata, observed_until)
        known = labelled(history.ask(asked).lazy(), history.views.lazy(), observed_until).collect(engine="streaming")
        del asked, history
        for batch in _by_days(known):
            yield (
                batch.lazy()
                .with_columns(split=split_of(pl.col("user_id"), fractions))
                .join(_style_columns(_in_days(photo_styles, batch["upload_day"])), on=_CONTENT)
                .sort("day", "photo_id")
                # Last and in order: embeddings are nearly all of a row, and so are moved once.
                .join(_class_columns(_in_days(photo_classes, batch["upload_day"])), on=_CONTENT, maintain_order="left")
                .select(TrainingTable.column_names())
                .collect(engine="streaming")
            )

    return in_batches(batches, TrainingTable.create_empty().schema)


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
    posts = _posts(photo_metadata, days)
    return (
        posts.select("day", "photo_id", "key", "posted_at")
        .join(raw_uploads.select("key", _uploads=True).unique(), on="key", how="left")
        .join(
            _with_contents(posts.select("day", "photo_id", "key"), raw_uploads).drop("day").with_columns(_ok=True),
            on="photo_id",
            how="left",
        )
        .join(photo_classes.select(*_content_keys(), _class=True), on=_CONTENT, how="left")
        .join(photo_styles.select(*_content_keys(), _style=True), on=_CONTENT, how="left")
        .select("day", "photo_id", *_CONTENT, reason=reason)
    )


def _with_contents(photos: pl.LazyFrame, raw_uploads: pl.LazyFrame) -> pl.LazyFrame:
    """Photos that have an ok upload, by day and photo_id, with the last of them: upload_day and sha256 instead of key."""
    uploads = raw_uploads.filter(IS_PHOTO).select("key", "uploaded_at", "version_id", "sha256", upload_day="day")
    is_last = (pl.col("photo_id") != pl.col("photo_id").shift(-1)).fill_null(True)
    return (
        photos.join(uploads, on="key")
        .drop("key")
        .sort("day", "photo_id", "uploaded_at", "version_id")
        .filter(is_last)
        .drop("uploaded_at", "version_id")
    )


def _by_days(known: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Slices of whole days, of BATCH_ROWS or of one day. known: not empty, by day."""
    start, rows = 0, 0
    for size in known.group_by("day", maintain_order=True).len()["len"]:
        if rows and rows + size > BATCH_ROWS:
            yield known.slice(start, rows)
            start, rows = start + rows, 0
        rows += size
    yield known.slice(start, rows)


def _in_days(table: pl.LazyFrame, days: pl.Series) -> pl.LazyFrame:
    """The rows of these days. Their range is told as well: by it storage skips what it need not open."""
    is_near = pl.col("day").is_between(pl.lit(days.min()), pl.lit(days.max()))
    return table.filter(is_near, pl.col("day").is_in(days.unique().implode()))


def _content_keys() -> tuple[pl.Expr, pl.Expr]:
    """What a row of a classifier output is known by: the same bytes have a row on each day that they were uploaded."""
    return pl.col("day").alias("upload_day"), pl.col("sha256")


def _style_columns(photo_styles: pl.LazyFrame) -> pl.LazyFrame:
    return photo_styles.select(*_content_keys(), *_STYLES)


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
