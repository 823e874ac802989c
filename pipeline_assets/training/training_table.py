"""The training table: each photo with the data known when it was posted and, once mature, its label.

What lives here: the joins and which photos become rows. What does not: features (`features/user_features.py`), labels
(`labels.py`), the split (`split.py`).
"""

from collections.abc import Iterator, Sequence
from datetime import date

import polars as pl

from pipeline_assets.features import postings
from pipeline_assets.features.history import History
from pipeline_assets.framework.schemas import Rejected
from pipeline_assets.ingestion.schemas import IS_PHOTO
from pipeline_assets.runtime.batches import in_batches
from pipeline_assets.training.labels import labelled
from pipeline_assets.training.observation import Observation
from pipeline_assets.training.schemas import SPLITS, TrainingTable
from pipeline_assets.training.split import DEFAULT_FRACTIONS, split_of

FAR, FAMILY_IN_TWO_SPLITS = "posted_far_from_upload", "family_in_two_splits"
DROP_REASONS = (
    FAR,
    "not_uploaded",
    "quarantined",
    "not_classified",
    "not_styled",
    "not_yet_posted",
    FAMILY_IN_TWO_SPLITS,
)
"""Why a photo is no row, in order: a photo has at most one reason."""

_DETAILS = {
    FAR: f"it was posted more than {postings.SLACK_DAYS} day before or after the UTC day of its upload: the days of the log "
    "that are read for that day do not cover its features and its label",
    FAMILY_IN_TWO_SPLITS: "the same picture, or one that looks like it, belongs to a user of another split",
}
"""Reasons of rejected rows: such a photo never becomes a row by waiting."""

NONE_LEAKING = pl.DataFrame(schema={"day": pl.Date, "sha256": pl.String})
"""No photo has a family in two splits."""

BATCH_ROWS = 100_000
"""Rows joined at once, or those of a day if more: 512 MB with embeddings of 1,280 floats."""

_STYLES = ("brightness", "contrast", "saturation", "colourfulness", "sharpness", "aspect")
_CONTENT = ("day", "sha256")
"""The key of a classifier's output: the same bytes have a row on each day of their upload."""


def training_table(
    raw_uploads: pl.LazyFrame,
    photo_metadata: pl.LazyFrame,
    photo_classes: pl.LazyFrame,
    photo_styles: pl.LazyFrame,
    event_log: pl.LazyFrame,
    *,
    days: Sequence[date],
    observed: Observation,
    leaking: pl.DataFrame = NONE_LEAKING,
    fractions: tuple[float, float, float] = DEFAULT_FRACTIONS,
) -> pl.LazyFrame:
    """Rows of `TrainingTable` for the photos of `days`, by day and photo_id; `reconcile` counts what is missing.

    raw_uploads, photo_classes, photo_styles: at least the partitions of `days`. A photo's content is the last ok version
    of its key that was uploaded by its posting, else the first ok one (ties: by version id). Uploads of other days than
    the photo's do not count, since a run of its day alone does not read them.
    photo_metadata: `observation.DAYS_BEFORE` before the first day, too.  event_log: from as long before the first day to
    `observation.DAYS_AFTER` after the last.  observed: the complete days of the log, which decide the labels that are
    mature.  leaking: (day, sha256) of uploads whose family is in two splits: only those in the last split are rows.
    A range of days equals its single days. Personal EXIF columns of `raw_uploads` are never read.
    """
    posts = _posts(photo_metadata, days).filter(postings.is_near_upload(), observed.is_posted(days))

    def batches() -> Iterator[pl.DataFrame]:
        until = observed.labels_until(days)
        photos = posts.with_columns(
            *_posting(), as_of=postings.as_of(), joined_at="user_joined_at", observed_until=until
        ).drop("title", "location")
        entities = _with_contents(photos, raw_uploads).pipe(_without_leaking, leaking, fractions).collect(engine="streaming")
        if entities.is_empty():
            return
        history = History.of(entities, event_log, photo_metadata.with_columns(observed_until=until))
        labelled_rows = labelled(history.ask(entities).lazy(), history.views.lazy()).collect(engine="streaming")
        del entities, history
        for batch in _by_days(labelled_rows):
            yield (
                batch.lazy()
                .join(_style_columns(_in_days(photo_styles, batch["day"])), on=_CONTENT)
                .sort("day", "photo_id")
                # Last and in order: embeddings are nearly all of a row, and so are moved once.
                .join(_class_columns(_in_days(photo_classes, batch["day"])), on=_CONTENT, maintain_order="left")
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
    observed: Observation,
    leaking: pl.DataFrame = NONE_LEAKING,
) -> pl.LazyFrame:
    """Counts of the photos of `days`: day, photos, uploads_ok, each of DROP_REASONS, rows; one row per day with photos.

    photos = rows + the sum of DROP_REASONS, and `rows` is what `training_table` of the same inputs has for the day.
    """
    fates = _fates(raw_uploads, photo_metadata, photo_classes, photo_styles, days, observed, leaking)
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


def rejected_photos(
    raw_uploads: pl.LazyFrame,
    photo_metadata: pl.LazyFrame,
    photo_classes: pl.LazyFrame,
    photo_styles: pl.LazyFrame,
    *,
    days: Sequence[date],
    observed: Observation,
    leaking: pl.DataFrame = NONE_LEAKING,
) -> pl.LazyFrame:
    """Rows of `Rejected` for the photos of `days` that never become rows, by day and photo_id."""
    fates = _fates(raw_uploads, photo_metadata, photo_classes, photo_styles, days, observed, leaking)
    return (
        fates.filter(pl.col("reason").is_in(list(_DETAILS)))
        .sort("day", "photo_id")
        .select(
            "day",
            "reason",
            source=pl.format("photo {}", "photo_id"),
            detail=pl.col("reason").replace_strict(_DETAILS),
            raw=pl.lit(None, pl.String),
        )
        .select(Rejected.column_names())
    )


def _posts(photo_metadata: pl.LazyFrame, days: Sequence[date]) -> pl.LazyFrame:
    return photo_metadata.filter(pl.col("day").is_in(list(days))).drop("details_json", strict=False)


def _fates(
    raw_uploads: pl.LazyFrame,
    photo_metadata: pl.LazyFrame,
    photo_classes: pl.LazyFrame,
    photo_styles: pl.LazyFrame,
    days: Sequence[date],
    observed: Observation,
    leaking: pl.DataFrame,
) -> pl.LazyFrame:
    """Each photo of `days` with its upload and its first reason to be no row (null for rows).

    Returns day, photo_id, sha256, reason.
    """
    has_upload, is_ok, is_classified, is_styled = (pl.col(f"_{name}") for name in ("uploads", "ok", "class", "style"))
    reason = (
        pl.when(~postings.is_near_upload())
        .then(pl.lit(FAR))
        .when(has_upload.is_null())
        .then(pl.lit("not_uploaded"))
        .when(is_ok.is_null())
        .then(pl.lit("quarantined"))
        .when(is_classified.is_null())
        .then(pl.lit("not_classified"))
        .when(is_styled.is_null())
        .then(pl.lit("not_styled"))
        .when(~observed.is_posted(days))
        .then(pl.lit("not_yet_posted"))
        .when(pl.col("_kept").is_null())
        .then(pl.lit(FAMILY_IN_TWO_SPLITS))
    )
    posts = _posts(photo_metadata, days).select("day", "photo_id", "key", "user_id", "posted_at")
    contents = _with_contents(posts, raw_uploads)
    allowed = _without_leaking(contents, leaking).select("day", "photo_id", _kept=True)
    return (
        posts.join(raw_uploads.select("day", "key", _uploads=True).unique(), on=["day", "key"], how="left")
        .join(contents.select("day", "photo_id", "sha256", _ok=True), on=["day", "photo_id"], how="left")
        .join(allowed, on=["day", "photo_id"], how="left")
        .join(photo_classes.select(*_CONTENT, _class=True), on=_CONTENT, how="left")
        .join(photo_styles.select(*_CONTENT, _style=True), on=_CONTENT, how="left")
        .select("day", "photo_id", "sha256", reason=reason)
    )


def _with_contents(photos: pl.LazyFrame, raw_uploads: pl.LazyFrame) -> pl.LazyFrame:
    """Photos that have an ok upload of their day, by day and photo_id, with sha256 instead of key: of what was posted.

    photos: day, photo_id, key, posted_at, any others. Of a key's ok versions the last that was uploaded by the posting
    counts; without one, the first: views of earlier bytes do not belong to later ones.
    """
    uploads = raw_uploads.filter(IS_PHOTO).select("day", "key", "uploaded_at", "version_id", "sha256")
    is_last = (pl.struct("day", "photo_id") != pl.struct("day", "photo_id").shift(-1)).fill_null(True)
    lead = (pl.col("posted_at") - pl.col("uploaded_at")).dt.total_microseconds()
    return (
        photos.join(uploads, on=["day", "key"])
        .drop("key")
        # Before the posting, the smallest lead is the last version; after it, the greatest is the first.
        .with_columns(_is_before=lead >= 0, _nearness=-lead.abs())
        .sort("day", "photo_id", "_is_before", "_nearness", "version_id")
        .filter(is_last)
        .drop("_is_before", "_nearness", "uploaded_at", "version_id")
    )


def _without_leaking(
    photos: pl.LazyFrame, leaking: pl.DataFrame, fractions: tuple[float, float, float] = DEFAULT_FRACTIONS
) -> pl.LazyFrame:
    """Photos, in their order, with their `split`, without leaking ones, except those in the last split.

    So no test photo has a relative among the training photos. photos: user_id, day, sha256.
    """
    is_leaking = leaking.lazy().select(*_CONTENT, _torn=True)
    return (
        photos.with_columns(split=split_of(pl.col("user_id"), fractions))
        .join(is_leaking, on=_CONTENT, how="left", maintain_order="left")
        .filter(pl.col("_torn").is_null() | (pl.col("split") == SPLITS[-1]))
        .drop("_torn")
    )


def _by_days(rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Slices of whole days, of BATCH_ROWS or of one day. rows: not empty, by day."""
    start, count = 0, 0
    for size in rows.group_by("day", maintain_order=True).len()["len"]:
        if count and count + size > BATCH_ROWS:
            yield rows.slice(start, count)
            start, count = start + count, 0
        count += size
    yield rows.slice(start, count)


def _in_days(table: pl.LazyFrame, days: pl.Series) -> pl.LazyFrame:
    """The rows of these days. The filter includes their range, by which storage skips files."""
    is_near = pl.col("day").is_between(pl.lit(days.min()), pl.lit(days.max()))
    return table.filter(is_near, pl.col("day").is_in(days.unique().implode()))


def _style_columns(photo_styles: pl.LazyFrame) -> pl.LazyFrame:
    return photo_styles.select(*_CONTENT, *_STYLES)


def _class_columns(photo_classes: pl.LazyFrame) -> pl.LazyFrame:
    return photo_classes.select(
        *_CONTENT,
        "model_id",
        "embedding",
        top_class=pl.col("top5_label").list.first(),
        top_probability=pl.col("top5_probability").list.first(),
    )


def _posting() -> list[pl.Expr]:
    """Columns of the posting: its UTC hour and weekday, its title and place."""
    return [
        pl.col("posted_at").dt.hour().cast(pl.Int8).alias("posted_hour"),
        pl.col("posted_at").dt.weekday().cast(pl.Int8).alias("posted_weekday"),
        pl.col("title").str.len_chars().cast(pl.Int32).alias("title_length"),
        pl.col("location").fill_null("").str.strip_chars().ne("").alias("has_location"),
    ]
