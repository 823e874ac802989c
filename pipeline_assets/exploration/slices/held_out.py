"""Photos on which a night's model was not trained, with what it predicts for them. Pure functions of frames."""

import polars as pl

from pipeline_assets.exploration.embeddings import ARE_FINITE
from pipeline_assets.exploration.slices.predicates import COLUMNS
from pipeline_assets.training.model import feature_matrix, prediction

HELD_OUT = ("validation", "test")
"""Splits whose users the weights never saw; validation chose when to stop, and the penalties."""
READ = ("day", "user_id", "photo_id", "sha256", "model_id", "embedding", "popularity", *feature_matrix.COLUMNS)


def predicted(
    training_table: pl.LazyFrame, weights: bytes, photo_styles: pl.LazyFrame, embedding_map: pl.LazyFrame
) -> pl.DataFrame:
    """The mature photos of held-out users with the columns `prediction`, `look` and `cluster`: what `slices` needs.

    training_table, photo_styles: the days of the model; embedding_map: its night. Photos whose embedding is another
    classifier's or not finite are left out: the model says nothing of them. Raises ModelUnusable for bytes that are
    no weights.
    """
    model = prediction.load(weights)
    columns = tuple(dict.fromkeys((*READ, *COLUMNS)))
    rows = (
        training_table.filter(pl.col("split").is_in(HELD_OUT), pl.col("popularity").is_not_null())
        .filter(pl.col("model_id") == model.model_id)
        .select(columns)
        .filter(ARE_FINITE)
        .collect()
    )
    looks = photo_styles.select("day", "sha256", "look").collect()
    clusters = embedding_map.select("sha256", "model_id", "cluster").unique(["sha256", "model_id"], keep="any").collect()
    return (
        rows.with_columns(model.predict(rows)["prediction"])
        .drop("embedding")
        .join(looks, on=["day", "sha256"], how="left", maintain_order="left")
        .join(clusters, on=["sha256", "model_id"], how="left", maintain_order="left")
    )
