"""The labelled items that are judged, with what is known of them. Pure functions of frames."""

from datetime import date

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline_assets.exploration.answers import ARE_CLASSES, CHOICE
from pipeline_assets.exploration.embeddings import ARE_FINITE

Floats = npt.NDArray[np.float32]

MAX_ITEMS = 20_000
"""Of one version of a question; the newest ones. Older ones were judged on earlier nights."""


def labels(label_consensus: pl.LazyFrame, first: date, last: date) -> pl.DataFrame:
    """The answers to questions of one class about uploads of these days, each content once: the newest.

    Those that people must decide yet are left out: they are asked about already.
    """
    return (
        label_consensus.filter(
            pl.col("day").is_between(first, last),
            ARE_CLASSES,
        )
        .select(
            "task_key",
            "campaign",
            "version",
            "key",
            "target",
            "sha256",
            photo_day="day",
            given=CHOICE,
            is_adjudicated=pl.col("adjudicator").is_not_null(),
        )
        .drop_nulls("given")
        .collect()
        .sort("photo_day", "task_key", descending=[True, False])
        .unique("task_key", keep="first", maintain_order=True)
        .filter(pl.int_range(pl.len()).over("campaign", "version") < MAX_ITEMS)
        .sort("campaign", "version", "sha256")
    )


def with_facts(
    given: pl.DataFrame, label_tasks: pl.LazyFrame, raw_uploads: pl.LazyFrame, photo_classes: pl.LazyFrame
) -> pl.DataFrame:
    """`labels` with is_settled (gold, or adjudicated), proposal, proposal_probability, phash, model_id and embedding.

    Null where the tables have none. In the order of `given`.
    """
    keys, contents = given.lazy().select("task_key"), given.lazy().select("sha256").unique()
    tasks = (
        label_tasks.join(keys, on="task_key", how="semi")
        .sort("day")
        .unique("task_key", keep="last", maintain_order=True)
        .select(
            "task_key",
            "is_gold",
            proposal=pl.col("prediction_json").str.json_path_match("$.choice"),
            proposal_probability="prediction_probability",
        )
    )
    photos = raw_uploads.filter(pl.col("phash").is_not_null()).select("sha256", "phash")
    seen = photo_classes.join(contents, on="sha256", how="semi").select("day", "sha256", "model_id", "embedding").sort("day")
    return (
        given.lazy()
        .join(tasks, on="task_key", how="left")
        .join(photos.join(contents, on="sha256", how="semi").unique("sha256", keep="any"), on="sha256", how="left")
        .join(seen.unique("sha256", keep="last", maintain_order=True).drop("day"), on="sha256", how="left")
        .with_columns(is_settled=pl.col("is_gold").fill_null(False) | pl.col("is_adjudicated"))
        .drop("is_gold", "is_adjudicated")
        .collect()
        .sort("campaign", "version", "sha256")
    )


def embedded(items: pl.DataFrame) -> tuple[pl.DataFrame, Floats]:
    """The items with a finite embedding of the model that most of them have, and their embeddings (N, E).

    Embeddings of two models can't be compared: the others are judged once their days are classified again.
    """
    with_embedding = items.filter(
        pl.col("embedding").is_not_null(),
        pl.col("embedding").list.len() > 0,
        ARE_FINITE,
    ).with_columns(width=pl.col("embedding").list.len())
    if with_embedding.is_empty():
        return with_embedding.drop("width"), np.empty((0, 1), np.float32)
    counts = (
        with_embedding.group_by("model_id", "width").len().sort("len", "model_id", "width", descending=[True, False, False])
    )
    of_one = with_embedding.filter(model_id=counts["model_id"][0], width=counts["width"][0])
    flat = of_one["embedding"].explode().to_numpy().astype(np.float32)
    return of_one.drop("width"), flat.reshape(of_one.height, -1)
