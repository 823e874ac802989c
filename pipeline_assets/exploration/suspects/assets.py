"""The asset of suspects among labels."""

from pathlib import Path

import polars as pl

from pipeline_assets.exploration import answers, embeddings
from pipeline_assets.exploration.suspects import items as items_module
from pipeline_assets.exploration.suspects.schemas import LabelSuspects
from pipeline_assets.framework.declaration import RunOfDays
from pipeline_assets.framework.partitions import DECLARED, Days
from pipeline_assets.framework.table_asset import table_asset
from pipeline_assets.ingestion import duplicates
from pipeline_assets.variants import families

CODE = [
    Path(__file__).with_name(f"{name}.py")
    for name in ("confident", "items", "neighbours", "outliers", "probabilities", "suspects")
]
"""Modules that import scipy, given by path so that Dagster loads the definitions quickly."""
WINDOW = Days(1 - DECLARED.training_window_days, 0)


@table_asset(
    schema=LabelSuspects,
    group="exploration",
    inputs=dict.fromkeys(("label_consensus", "label_tasks", "raw_uploads", "photo_classes"), WINDOW),
    code=[*CODE, answers, embeddings, families, duplicates],
    kinds={"numpy", "polars"},
    days="nights",
    days_per_run=1,
    lineage={
        "given": [("label_consensus", "answer_json")],
        "suggested": [("label_consensus", "answer_json"), ("photo_classes", "embedding")],
        "why": [("photo_classes", "embedding"), ("raw_uploads", "phash"), ("label_tasks", "prediction_json")],
    },
)
def label_suspects(
    run: RunOfDays,
    label_consensus: pl.LazyFrame,
    label_tasks: pl.LazyFrame,
    raw_uploads: pl.LazyFrame,
    photo_classes: pl.LazyFrame,
) -> pl.DataFrame:
    """Labels of photos that are probably wrong, to be asked again: suggestions, of which nothing is changed by itself.

    Of the answers to campaigns' questions of one class, in the window of days that ends with the night: label errors by
    confident learning on the embeddings, copies of a photo with different labels, and photos that are like no other. Answers
    that are gold, or that an adjudicator gave, are none. A night without such labels costs nothing.
    """
    found: list[pl.DataFrame] = [LabelSuspects.create_empty()]
    for night in run.days:
        first, *_, last = WINDOW.of(night)
        given = items_module.labels(label_consensus, first, last)
        if given.is_empty():
            continue
        from pipeline_assets.exploration.suspects.suspects import suspects  # scipy takes long to import

        facts = items_module.with_facts(given, label_tasks, raw_uploads, photo_classes)
        for of_question in facts.partition_by("campaign", "version", maintain_order=True):
            found.append(suspects(of_question).select(pl.lit(night).alias("day"), pl.all()))
    return pl.concat(found)
