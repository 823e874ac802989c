"""Labelled items with embeddings in clear classes, for the tests of suspects."""

import hashlib
from datetime import date

import numpy as np
import polars as pl

DAY = date(2026, 1, 2)
CLASSES = ("cat", "dog", "fox")


def sha256(number):
    return hashlib.sha256(f"{number}".encode()).hexdigest()


def items(count=150, seed=0, dim=24, classes=CLASSES):
    """Rows of `with_facts`: embeddings around one centre a class, the class in turn, all labels right."""
    random = np.random.default_rng(seed)
    numbers = np.arange(count) % len(classes)
    centres = random.normal(size=(len(classes), dim))
    vectors = centres[numbers] + 0.4 * random.normal(size=(count, dim))
    hashes = [sha256(number) for number in range(count)]
    return pl.DataFrame(
        {
            "task_key": hashes,
            "campaign": ["subject"] * count,
            "version": pl.Series([1] * count, dtype=pl.Int64),
            "key": [f"uploads/{DAY}/7/{number}.jpg" for number in range(count)],
            "target": ["upload"] * count,
            "sha256": hashes,
            "photo_day": [DAY] * count,
            "given": [classes[number] for number in numbers],
            "proposal": pl.Series([None] * count, dtype=pl.String),
            "proposal_probability": pl.Series([None] * count, dtype=pl.Float64),
            "phash": pl.Series([None] * count, dtype=pl.String),
            "model_id": ["model"] * count,
            "embedding": pl.Series(vectors.astype(np.float32).tolist(), dtype=pl.List(pl.Float32)),
            "is_settled": [False] * count,
        },
        schema_overrides=dict.fromkeys(("task_key", "campaign", "key", "target", "sha256", "given", "model_id"), pl.String)
        | {"photo_day": pl.Date, "is_settled": pl.Boolean},
    )


def changed(rows, number, **values):
    """The rows, with other values in one of them."""
    is_row = pl.col("task_key") == sha256(number)
    typed = {name: pl.Series([value], dtype=rows.schema[name]) for name, value in values.items()}
    return rows.with_columns(
        pl.when(is_row).then(pl.lit(value).first()).otherwise(pl.col(name)).alias(name) for name, value in typed.items()
    )
