"""The asset of pseudo-labels."""

from collections.abc import Iterator

import polars as pl

from pipeline_assets.exploration import answers, embeddings
from pipeline_assets.exploration.learning import few_labels, pseudo, teaching
from pipeline_assets.exploration.learning.schemas import PseudoLabels
from pipeline_assets.exploration.suspects import neighbours
from pipeline_assets.framework.code_version import Chosen
from pipeline_assets.framework.declaration import RunOfDays, Table
from pipeline_assets.framework.partitions import DECLARED, Days
from pipeline_assets.framework.table_asset import table_asset
from pipeline_assets.ingestion import duplicates
from pipeline_assets.runtime import one_thread
from pipeline_assets.variants import families
from resources.pseudo_labels import PseudoLabelPolicy

WINDOW = Days(1 - teaching.WINDOW_DAYS, 0)


def policy_text(policy: PseudoLabelPolicy) -> str:
    """The policy as a part of the code version: another one makes nights stale."""
    return "may be taken" if policy.may_be_taken else "never taken"


POLICY = Chosen.by(
    "pseudo_label_policy",
    policy_text,
    "config",
    "DARKROOM_PSEUDO_LABELS",
    policy_text(PseudoLabelPolicy(may_be_taken=DECLARED.pseudo_labels)),
)


@table_asset(
    schema=PseudoLabels,
    group="exploration",
    inputs=dict.fromkeys(("label_consensus", "photo_classes", "raw_uploads"), WINDOW),
    code=[teaching, pseudo, few_labels, answers, embeddings, neighbours, families, duplicates, one_thread, POLICY],
    kinds={"numpy", "polars"},
    days="nights",
    days_per_run=1,
    lineage={
        "label": [("label_consensus", "answer_json"), ("photo_classes", "embedding")],
        "probability": [("label_consensus", "answer_json"), ("photo_classes", "embedding")],
        "gain": [("label_consensus", "answer_json"), ("raw_uploads", "phash")],
    },
)
def pseudo_labels(
    run: RunOfDays,
    label_consensus: pl.LazyFrame,
    photo_classes: pl.LazyFrame,
    raw_uploads: pl.LazyFrame,
    pseudo_label_policy: PseudoLabelPolicy,
) -> Iterator[Table]:
    """Labels of photos that nobody labelled, spread from labelled ones near them, with the gain measured on held-out labels.

    For each campaign whose answer is one of several classes, with at least 20 labels in 30 days, of up to 1,000 photos of
    these days. Photos whose embedding is of another model than the newest one's take no part; those whose embedding has no
    direction do not, either, and are in the night's `embedding_map_rejected`. Training reads no pseudo-label by itself;
    `is_taken` says which a reader of your own may take.
    """
    agreed = teaching.agreed(label_consensus)
    for night in run.days:
        rows: pl.DataFrame = PseudoLabels.create_empty()
        if agreed.height:
            rows = teaching.night_rows(
                night,
                agreed,
                photo_classes,
                raw_uploads,
                code=run.code_version,
                may_be_taken=pseudo_label_policy.may_be_taken,
            )
        yield Table(rows)
