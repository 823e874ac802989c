"""Validates the annotations of the application's database row by row, before they are compared with their upload.

What lives here: rules that hold for any row. What does not: how rows are read (`assets.py`), and whether labels fit their
upload (`annotations.py`). Functions of frames.
"""

import polars as pl

from pipeline_assets.framework.schemas import Rejected
from pipeline_assets.ingestion.photo_rows import MAX_CHARACTERS, is_no_moment, moment
from pipeline_assets.ingestion.schemas import MOMENTS
from pipeline_assets.labeling.schemas import TARGETS

COLUMNS = {
    "day": "bigint",
    "has_day": "bigint",
    "key": "text",
    "target": "text",
    "labels_json": "text",
    "annotator": "text",
    "annotated_us": "bigint",
}
"""The columns of an annotation, with the database's types."""
_MAX_RAW_CHARACTERS = 2_000
_TYPES = {"bigint": pl.Int64(), "text": pl.String()}
_A_TEXT = f"of up to {MAX_CHARACTERS:,} characters without NUL"


def _is_odd(name: str) -> pl.Expr:
    text = pl.col(name)
    return (text.str.len_chars() > MAX_CHARACTERS) | text.str.contains("\0", literal=True)


_RULES = (
    ("no_day", pl.col("has_day") == 0, "annotations.day is null, infinite, or no date; this is the day of annotated_at"),
    ("bad_key", (pl.col("key").fill_null("") == "") | _is_odd("key"), f"annotations.key is no text {_A_TEXT}, or is empty"),
    ("bad_target", ~pl.col("target").is_in(TARGETS).fill_null(False), f"annotations.target is none of {', '.join(TARGETS)}"),
    (
        "bad_annotated_at",
        is_no_moment("annotated_us"),
        f"annotations.annotated_at is null, or not in {MOMENTS[0].year} to {MOMENTS[1].year - 1}",
    ),
    ("bad_annotator", _is_odd("annotator"), f"annotations.annotator is no text {_A_TEXT}"),
    ("bad_labels", pl.col("labels_json").is_null(), "annotations.labels is null, or no JSON"),
    ("not_the_newest", pl.col("newer") > 0, "annotations has a newer row of this key and target"),
)
"""In order: a row gets the first reason that applies."""
_IS_ODD = pl.any_horizontal(applies.fill_null(False) for name, applies, _ in _RULES if name != "not_the_newest")


def judge(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows to compare with uploads, and rows of `Rejected`; each row of `rows` is in one of them. rows: COLUMNS.

    The first have day, key, target, labels_json, annotator, annotated_at (UTC): for each day, key and target the newest
    row that is otherwise valid, so that a placeholder time hides no other row.
    """
    typed_rows = (
        rows.select(pl.col(name).cast(_TYPES[kind]) for name, kind in COLUMNS.items())
        .with_columns(pl.col("day").cast(pl.Date))
        .sort("annotated_us", "labels_json", "annotator", descending=True, nulls_last=True)
        .with_columns(newer=pl.int_range(pl.len()).over("day", "key", "target", _IS_ODD))
    )
    reason = pl.coalesce(pl.when(applies.fill_null(False)).then(pl.lit(name)) for name, applies, _ in _RULES)
    ruled = typed_rows.with_columns(reason=reason)
    accepted = ruled.filter(pl.col("reason").is_null()).with_columns(annotated_at=moment("annotated_us"))
    raw = pl.struct(list(COLUMNS)).struct.json_encode().str.head(_MAX_RAW_CHARACTERS)
    rejected = ruled.filter(pl.col("reason").is_not_null()).select(
        "day",
        "reason",
        source=pl.col("key").fill_null("an annotation without a key").str.head(_MAX_RAW_CHARACTERS),
        detail=pl.col("reason").replace_strict({name: detail for name, _, detail in _RULES}, return_dtype=pl.String),
        raw=raw,
    )
    columns = ("day", "key", "target", "labels_json", "annotator", "annotated_at")
    return accepted.select(columns).sort("day", "key", "target"), rejected.select(Rejected.column_names())
