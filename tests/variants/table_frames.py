"""Frames that tests of table variants share."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl

KEYS = ["day", "user_id"]


def users(rows=600, seed=0):
    """Correlated columns of every type that has an order: counts, measures with nulls, text, truths, times."""
    random = np.random.default_rng(seed)
    activity = random.gamma(0.7, 1, rows)
    posts = random.poisson(activity * 2)
    mean = np.where(posts > 0, activity + random.normal(size=rows) * 0.3, np.nan)
    return pl.DataFrame(
        {
            "day": [date(2026, 5, 1)] * rows,
            "user_id": np.arange(1, rows + 1),
            "logins": random.poisson(activity * 6).astype(np.int32),
            "posts": posts.astype(np.uint16),
            "score": activity * 10 + random.normal(size=rows),
            "mean": pl.Series(mean.astype(np.float32)).fill_nan(None),
            "country": random.choice(["de", "fr", "pl", "jp"], rows, p=[0.5, 0.3, 0.15, 0.05]),
            "plan": pl.Series(np.where(activity > 1, "paid", "free"), dtype=pl.Enum(["free", "paid", "team"])),
            "is_new": random.random(rows) < 0.2,
            "seen_at": pl.Series(
                [datetime(2026, 5, 1, tzinfo=UTC) + timedelta(seconds=int(s)) for s in random.integers(0, 86_400, rows)]
            ),
        }
    )
