"""Training-table rows with a known signal, for the tests of staging, datasets and the popularity model."""

import datetime as dt
import hashlib

import numpy as np
import polars as pl

FIRST_DAY = dt.date(2026, 5, 1)


def training_rows(
    rows: int, *, seed: int = 0, dim: int = 48, days: int = 5, noise: float = 0.3, interaction: float = 0.0
) -> pl.DataFrame:
    """Rows whose label is linear in followers, posting hour and three hidden directions of the embedding, plus noise.

    `interaction` weighs a product of two standardised inputs, which no straight line can follow. The column
    `expected_popularity`, beside those of TrainingTable, is the label without its noise.
    """
    random = np.random.default_rng(seed)
    hidden = random.normal(size=(rows, 3))
    embedding = hidden @ np.random.default_rng(99).normal(size=(3, dim)) + 0.3 * random.normal(size=(rows, dim))
    hour, followers = random.integers(0, 24, rows), np.exp(random.normal(4, 1, rows)).astype(int)
    popularity = random.normal(5, 1, rows)
    brightness = random.random(rows)
    expected = 6 + hidden @ [0.5, -0.4, 0.3] + 0.5 * np.cos(2 * np.pi * hour / 24) + 0.6 * (np.log1p(followers) - 4)
    expected += interaction * (np.log1p(followers) - 4) * (brightness - 0.5) * 12**0.5
    # At random, not by user: with so few rows that keeps every split filled.
    split = random.choice(["train", "validation", "test"], rows, p=[0.7, 0.15, 0.15])
    day = [FIRST_DAY + dt.timedelta(days=int(d)) for d in np.sort(random.integers(0, days, rows))]
    return pl.DataFrame(
        {
            "day": pl.Series(day, dtype=pl.Date),
            "photo_id": pl.Series(random.permutation(rows) + 1, dtype=pl.Int64),
            "user_id": random.integers(1, 40, rows),
            "sha256": [hashlib.sha256(f"{seed} {i}".encode()).hexdigest() for i in range(rows)],
            "posted_hour": pl.Series(hour, dtype=pl.Int8),
            "posted_weekday": pl.Series(random.integers(1, 8, rows), dtype=pl.Int8),
            "title_length": pl.Series(random.integers(0, 60, rows), dtype=pl.Int32),
            "has_location": random.random(rows) < 0.4,
            "followers_at_post": pl.Series(followers, dtype=pl.Int64),
            **{
                name: pl.Series(random.poisson(5, rows), dtype=pl.Int32)
                for name in (
                    "days_since_joining",
                    "logins_1d",
                    "logins_7d",
                    "logins_30d",
                    "posts_30d",
                    "likes_given_30d",
                    "likes_received_30d",
                )
            },
            "mean_popularity_30d": pl.Series(np.where(random.random(rows) < 0.3, np.nan, popularity)).fill_nan(None),
            "model_id": ["efficientnet-lite0"] * rows,
            "embedding": pl.Series(embedding.astype(np.float32).tolist(), dtype=pl.List(pl.Float32)),
            **{
                name: pl.Series(values, dtype=pl.Float32)
                for name, values in {
                    "brightness": brightness,
                    "contrast": random.random(rows),
                    "saturation": random.random(rows),
                    "colourfulness": random.random(rows) * 80,
                    "sharpness": random.random(rows) * 900,
                    "aspect": random.random(rows) + 0.5,
                }.items()
            },
            "split": split,
            "popularity": pl.Series(np.maximum(expected + noise * random.normal(size=rows), 0), dtype=pl.Float32),
            "expected_popularity": expected,
        }
    ).with_columns(pl.col("mean_popularity_30d").cast(pl.Float32))
