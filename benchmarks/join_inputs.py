"""Seeded inputs of the point-in-time join, as Parquet files."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

START = datetime(2025, 1, 1, tzinfo=UTC)
SPAN_DAYS = 60
DAYS = [date(2025, 1, 1) + timedelta(days=n) for n in range(SPAN_DAYS)]
OBSERVED_UNTIL = START + timedelta(days=SPAN_DAYS)
INPUTS = ("raw_uploads", "photo_metadata", "photo_classes", "photo_styles", "event_log")
STYLES = ("brightness", "contrast", "saturation", "colourfulness", "sharpness", "aspect")
TIME = pl.Datetime("us", "UTC")
DAY_US = 86_400_000_000


def write_inputs(folder: Path, events: int, photos: int, users: int, seed: int) -> None:
    """The five inputs as Parquet: 60 days; 60 % views, 20 % logins, 15 % likes, 5 % posts; 1 % delivered twice."""
    rng = np.random.default_rng(seed)
    posted = rng.integers(0, SPAN_DAYS * DAY_US, photos)
    frame = (
        pl.DataFrame({"photo_id": np.arange(photos), "user_id": rng.integers(0, users, photos), "posted": posted})
        .sort("posted")
        .with_columns(posted_at=_moment("posted"), sha256=pl.col("photo_id").cast(pl.String).str.zfill(64))
        .with_columns(day=pl.col("posted_at").dt.date(), key=pl.format("uploads/{}", "photo_id"))
    )
    usable = {"media_type": pl.lit("image/jpeg"), "verdict": pl.lit("ok")}
    uploads = frame.select("day", "key", "sha256", **usable, version_id=pl.lit("v"), uploaded_at="posted_at")
    uploads.write_parquet(folder / "raw_uploads.parquet")
    frame.select(
        *("day", "photo_id", "user_id", "key", "posted_at"),
        title=pl.lit("a title"),
        location=pl.lit(None, pl.String),
        followers_at_post=pl.col("user_id") % 100,
        user_joined_at=pl.lit(START - timedelta(days=90)).cast(TIME),
    ).write_parquet(folder / "photo_metadata.parquet")
    quarter = pl.lit(0.25, pl.Float32)
    frame.select(
        *("day", "sha256"),
        model_id=pl.lit("m"),
        top5_label=pl.concat_list(pl.lit("tabby")),
        top5_probability=pl.concat_list(quarter),
        embedding=pl.concat_list([quarter] * 4),
    ).write_parquet(folder / "photo_classes.parquet")
    frame.select("day", "sha256", *(pl.lit(0.5, pl.Float32).alias(name) for name in STYLES)).write_parquet(
        folder / "photo_styles.parquet"
    )
    _events(rng, events, posted, users).sink_parquet(folder / "event_log.parquet")


def _moment(column: str) -> pl.Expr:
    return pl.lit(START).cast(TIME) + pl.duration(microseconds=pl.col(column))


def _events(rng: np.random.Generator, count: int, posted: np.ndarray, users: int) -> pl.LazyFrame:
    kind = rng.choice(4, count, p=[0.6, 0.15, 0.2, 0.05]).astype(np.int8)
    photo_id = rng.integers(0, len(posted), count)
    after = (rng.exponential(3.0, count) * DAY_US).astype(np.int64)
    at = np.where(kind < 2, posted[photo_id] + after, rng.integers(0, SPAN_DAYS * DAY_US, count))
    late = (rng.exponential(0.05, count) * DAY_US).astype(np.int64)
    ids = rng.integers(0, 2**63, count)
    user_id = rng.integers(0, users, count)
    kinds = pl.lit(pl.Series(["view", "like", "login", "post"]))
    events = pl.DataFrame({"id": ids, "user_id": user_id, "photo": photo_id, "number": kind, "at": at, "arrived": at + late})
    twice = events.head(count // 100).with_columns(pl.col("arrived") + DAY_US)
    return (
        pl.concat([events, twice])
        .sort("arrived")
        .lazy()
        .select(
            "user_id",
            event_id=pl.format("e-{}", pl.col("id").cast(pl.String).str.zfill(30)),
            photo_id=pl.when(pl.col("number") < 2).then("photo"),
            kind=kinds.gather(pl.col("number")),
            at=_moment("at"),
            arrived_at=_moment("arrived"),
        )
        .with_columns(day=pl.col("arrived_at").dt.date())
    )
