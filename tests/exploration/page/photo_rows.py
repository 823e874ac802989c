"""Rows of a training table, as many and as odd as a test wants."""

from datetime import UTC, date, datetime, timedelta

import polars as pl

from pipeline_assets.training.schemas import TrainingTable

DAY = date(2026, 1, 1)


def training_rows(count: int, **columns: object) -> pl.DataFrame:
    """Photos 1 to count over ten days; `columns` replace those of the same name."""
    numbers = range(count)
    rows = TrainingTable.create_empty().clear(count).drop("embedding")
    return rows.with_columns(
        day=pl.Series([DAY + timedelta(days=number % 10) for number in numbers], dtype=pl.Date),
        photo_id=pl.Series([number + 1 for number in numbers], dtype=pl.Int64),
        user_id=pl.Series([number % 7 for number in numbers], dtype=pl.Int64),
        sha256=pl.Series([f"{number:064x}" for number in numbers], dtype=pl.String),
        posted_at=pl.lit(datetime(2026, 1, 1, tzinfo=UTC)),
        top_class=pl.Series([f"class {number % 5}" for number in numbers], dtype=pl.String),
        brightness=pl.Series([number % 11 / 10 for number in numbers], dtype=pl.Float32),
        saturation=pl.Series([number % 13 / 12 for number in numbers], dtype=pl.Float32),
        split=pl.lit("train"),
        has_location=pl.Series([number % 3 == 0 for number in numbers], dtype=pl.Boolean),
        views_7d=pl.Series([number if number % 4 else None for number in numbers], dtype=pl.Int64),
        popularity=pl.Series([number / 100 if number % 4 else None for number in numbers], dtype=pl.Float32),
    ).with_columns(**columns)
