"""Validates the users of the application's database: those with a known joining time, and the others.

Functions of frames. `assets.py` reads the rows.
"""

from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl

from pipeline_assets.framework.schemas import Rejected
from pipeline_assets.ingestion.photo_rows import is_no_moment, moment
from pipeline_assets.ingestion.schemas import MOMENTS

COLUMNS = {"user_id": "bigint", "joined_us": "bigint", "joined_last_us": "bigint"}
"""The columns of a user: the earliest and the latest `joined_at` of their rows, in microseconds since 1970."""
LATEST_US = (MOMENTS[1] - MOMENTS[0]) // timedelta(microseconds=1)
_RULES = (
    ("bad_user_id", ~(pl.col("user_id") >= 0).fill_null(False), "users.user_id is no whole number from 0 on"),
    (
        "user_is_ambiguous",
        pl.col("joined_us").ne_missing(pl.col("joined_last_us")),
        "users has several rows of this user_id, and their joined_at differ",
    ),
    (
        "bad_joined_at",
        is_no_moment("joined_us"),
        f"users.joined_at is null, or not in {MOMENTS[0].year} to {MOMENTS[1].year - 1}",
    ),
)


def judge(rows: pl.DataFrame, days: Sequence[date]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Valid users (user_id, joined_at), and rows of `Rejected`: each other user on each day. rows: COLUMNS."""
    typed_rows = rows.select(pl.col(name).cast(pl.Int64) for name in COLUMNS)
    reason = pl.coalesce(pl.when(applies).then(pl.lit(name)) for name, applies, _ in _RULES)
    ruled = typed_rows.with_columns(reason=reason)
    valid = ruled.filter(pl.col("reason").is_null()).select("user_id", joined_at=moment("joined_us"))
    rejected = (
        ruled.filter(pl.col("reason").is_not_null())
        .join(pl.DataFrame({"day": list(days)}, schema={"day": pl.Date}), how="cross")
        .select(
            "day",
            "reason",
            source=pl.format("user {}", pl.col("user_id").cast(pl.String).fill_null("without an id")),
            detail=pl.col("reason").replace_strict({name: detail for name, _, detail in _RULES}, return_dtype=pl.String),
            raw=pl.struct(list(COLUMNS)).struct.json_encode(),
        )
    )
    return valid.sort("user_id"), rejected.select(Rejected.column_names()).sort("day", "source")
