"""The popularity model's inputs besides the embedding: the only place where a column becomes a number.

Training (through staged shards) and prediction (on a frame) both call `features` and `embeddings`, so that they can't
diverge. Nothing is fitted here: standardisation belongs to the model, from training rows only.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline_assets.errors import SchemaMismatch

CONTENT = "content embedding"
"""Name of the whole embedding where features are listed by label."""


class Feature(NamedTuple):
    """One input number. Features of one `label` belong together, such as sine and cosine of an hour."""

    name: str
    source: str
    label: str
    value: pl.Expr


def _number(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.Float64)


def _log(column: str, source: str) -> Feature:
    # Counts and times spread over decades; null is 0 here, with its own flag.
    return Feature(f"log_{column}", source, column, _number(column).fill_null(0.0).log1p())


def _missing(column: str, source: str) -> Feature:
    return Feature(f"{column}_missing", source, column, pl.col(column).is_null() | _number(column).is_nan())


def _cycle(column: str, period: int) -> tuple[Feature, Feature]:
    angle = _number(column) * (2 * math.pi / period)
    return (
        Feature(f"{column}_sin", "metadata", column, angle.sin()),
        Feature(f"{column}_cos", "metadata", column, angle.cos()),
    )


FEATURES: tuple[Feature, ...] = (
    *_cycle("posted_hour", 24),
    *_cycle("posted_weekday", 7),
    _log("title_length", "metadata"),
    Feature("has_location", "metadata", "has_location", pl.col("has_location")),
    _log("followers_at_post", "metadata"),
    _missing("followers_at_post", "metadata"),
    *(
        _log(column, "user")
        for column in (
            "days_since_joining",
            "logins_1d",
            "logins_7d",
            "logins_30d",
            "posts_30d",
            "likes_given_30d",
            "likes_received_30d",
        )
    ),
    Feature(
        "mean_popularity_30d",
        "user",
        "mean_popularity_30d",
        _number("mean_popularity_30d").fill_nan(None).fill_null(0.0),
    ),
    _missing("mean_popularity_30d", "user"),
    *(
        Feature(column, "style", column, _number(column))
        for column in ("brightness", "contrast", "saturation", "colourfulness")
    ),
    _log("sharpness", "style"),
    _log("aspect", "style"),
)
"""In the order of the matrix's columns; `source` is metadata (known at posting), user (from logs) or style."""

NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)
COLUMNS: tuple[str, ...] = tuple(dict.fromkeys(feature.label for feature in FEATURES))
"""Columns of the training table that `features` reads."""


def positions(*, source: str | None = None, label: str | None = None) -> list[int]:
    """Columns of the feature matrix that come from `source` and carry `label`, ascending."""
    return [i for i, feature in enumerate(FEATURES) if source in (None, feature.source) and label in (None, feature.label)]


def features(rows: pl.DataFrame) -> npt.NDArray[np.float32]:
    """Raw feature matrix of training-table rows, (B, F) float32 in C order, not standardised.

    Missing values are 0 beside their flag's 1. Raises SchemaMismatch naming the columns that are not finite.
    """
    values = rows.select(feature.value.cast(pl.Float32).alias(feature.name) for feature in FEATURES)
    unusable = [name for name in values.columns if not values[name].is_finite().all() or values[name].has_nulls()]
    if unusable:
        raise SchemaMismatch(
            f"features {', '.join(unusable)} are null or not finite in some rows: correct the training table's columns"
        )
    return np.ascontiguousarray(values.to_numpy().reshape(rows.height, len(FEATURES)), dtype=np.float32)


def embeddings(rows: pl.DataFrame, dim: int) -> npt.NDArray[np.float32]:
    """Embeddings of training-table rows, (B, dim) float32.

    Raises SchemaMismatch naming the first photo whose embedding is not `dim` finite values.
    """
    column = rows["embedding"]
    ragged = column.is_null() | (column.list.len() != dim)
    if ragged.any():
        raise SchemaMismatch(
            f"{ragged.sum()} rows have an embedding that is not {dim} long, first photo "
            f"{rows.filter(ragged)['photo_id'][0]}: classify these days again with one model"
        )
    flat = column.explode().to_numpy() if rows.height else ()
    # A copy, since torch needs writable arrays and polars' memory is read-only.
    values = np.array(flat, dtype=np.float32).reshape(rows.height, dim)
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        photo = rows["photo_id"][int(np.argmin(finite))]
        raise SchemaMismatch(f"the embedding of photo {photo} is not finite: classify its day again")
    return values
