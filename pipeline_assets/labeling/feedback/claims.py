"""Claims: what users say of photos, read from events; each claim once. Pure.

What lives here: which events are claims, of which photo. What does not: how much a claim counts (`trust.py`).
"""

from collections.abc import Mapping
from datetime import timedelta

import polars as pl

from pipeline_assets.framework.schemas import Rejected
from pipeline_assets.ingestion.logs.event_lines import LABEL_FIELDS
from pipeline_assets.ingestion.schemas import FEEDBACK_KINDS

PHOTO_DAYS = 60
"""A claim on a photo that was uploaded earlier counts nothing."""
MAX_RAW_CHARACTERS = 2_000
_ORDER = ("arrived_at", "at", "event_id", "user_id", "photo_id", "kind", "label", "not_label")
_STATEMENT = ("user_id", "photo_id", "kind", "label", "not_label")
_WHY: Mapping[str, str] = {
    "duplicate_event": "the event was delivered before, and counts once",
    "repeated": "the user has said the same of this photo before, and it counts once",
    "unknown_photo": "photo_metadata of the days before has no such photo",
}


def of_events(events: pl.LazyFrame) -> pl.LazyFrame:
    """Claims in events (`EventLog`): day, event_id, user_id, photo_id, kind, label, not_label, at, arrived_at.

    Labels are null unless it is a correction; white space around them is cut.
    """
    is_correction = pl.col("kind") == "correct"
    labels = {
        name: pl.when(is_correction).then(pl.col("extra_json").str.json_path_match(f"$.{name}").str.strip_chars())
        for name in LABEL_FIELDS
    }
    return (
        events.filter(pl.col("kind").is_in(FEEDBACK_KINDS), pl.col("photo_id").is_not_null())
        .with_columns(**labels)
        .select("day", "event_id", "user_id", "photo_id", "kind", *LABEL_FIELDS, "at", "arrived_at")
    )


def once(claims: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Each claim once, by arrival, and the others with a `reason`: a delivery again, or the same said again by the user.

    The first to arrive counts; the order of rows does not matter.
    """
    ordered = claims.sort(_ORDER, nulls_last=True)
    is_first = pl.col("event_id").is_first_distinct()
    delivered, again = ordered.filter(is_first), ordered.filter(~is_first).with_columns(reason=pl.lit("duplicate_event"))
    is_new = pl.struct(_STATEMENT).is_first_distinct()
    return delivered.filter(is_new), pl.concat([again, delivered.filter(~is_new).with_columns(reason=pl.lit("repeated"))])


def with_photos(claims: pl.DataFrame, photos: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Claims with photo_day, key and is_owner, and those of unknown photos with a `reason`, both in their order.

    photos: `PhotoMetadata`; of a photo_id on two days, the later counts. A photo is known to a claim of its day and of the
    PHOTO_DAYS after.
    """
    rows = claims.with_row_index("_row")
    named = photos.select("photo_id", "key", photo_day="day", owner="user_id")
    age = pl.col("day") - pl.col("photo_day")
    known = (
        rows.join(named, on="photo_id")
        .filter(age.is_between(timedelta(), timedelta(days=PHOTO_DAYS)))
        .sort("_row", "photo_day", "key")
        .unique("_row", keep="last", maintain_order=True)
        .with_columns(is_owner=pl.col("owner") == pl.col("user_id"))
    )
    unknown = rows.join(known, on="_row", how="anti", maintain_order="left").with_columns(reason=pl.lit("unknown_photo"))
    return known.drop("owner", "_row"), unknown.drop("_row")


def rejected(claims: pl.DataFrame) -> pl.DataFrame:
    """Claims with a `reason` as rows of `Rejected`; the text of a claim names no user."""
    return claims.select(
        "day",
        pl.col("event_id").alias("source"),
        "reason",
        pl.col("reason").replace_strict(_WHY, return_dtype=pl.String).alias("detail"),
        pl.struct("event_id", "photo_id", "kind", *LABEL_FIELDS)
        .struct.json_encode()
        .str.head(MAX_RAW_CHARACTERS)
        .alias("raw"),
    ).select(Rejected.column_names())
