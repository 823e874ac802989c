"""The queue of a campaign from the tables of labeling: what is open, what is known of it, what asking has brought. Pure."""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from pipeline_assets.labeling.campaigns.campaign import Campaign
from pipeline_assets.labeling.campaigns.gain import Gain, gain
from pipeline_assets.labeling.campaigns.queue import ITEMS

MAX_UNDECIDED_DIFFERENCE = 0.05
"""Difference of the shares that people leave undecided, above which what they decided is not comparable."""
SHOWN = ("rank", "priority", "reason", "day", "key", "target", "slice", "votes", "prediction", "task_key")
_ASKED = ("task_key", "day", "key", "target", "sha256", "slice", "is_gold", "prediction_json", "prediction_probability")


def items(
    campaign: Campaign,
    label_tasks: pl.DataFrame,
    label_votes: pl.DataFrame,
    label_consensus: pl.DataFrame,
    weak_labels: pl.DataFrame,
) -> pl.DataFrame:
    """Columns of ITEMS, and what is shown of an item: each content of the campaign's version once, under its first day.

    A weak label's probability counts before that of the task's prediction. An item is done by the stopping rule: an
    adjudicator has decided, or people are at least as sure as the campaign wants, or it has as many answers as it may have.
    Gold questions are not in the queue: they are mixed in when it is asked.
    """
    tasks = (
        _of(campaign, label_tasks).select(_ASKED).sort("day", "key").unique("task_key", keep="first", maintain_order=True)
    )
    answers = _of(campaign, label_votes).filter("counts").group_by("task_key").agg(votes=pl.len().cast(pl.Int64))
    agreed = (
        _of(campaign, label_consensus)
        .sort("day")
        .unique("task_key", keep="last")
        .select("task_key", "adjudicator", consensus="confidence")
    )
    weak = _of(campaign, weak_labels).sort("day").unique("task_key", keep="last").select("task_key", "probability")
    is_sure = pl.col("adjudicator").is_not_null() | (pl.col("consensus") >= campaign.confidence)
    return (
        tasks.join(answers, on="task_key", how="left")
        .join(agreed, on="task_key", how="left")
        .join(weak, on="task_key", how="left")
        .with_columns(pl.col("votes").fill_null(0))
        .with_columns(
            confidence=pl.coalesce("probability", "prediction_probability"),
            entropy=pl.lit(None, pl.Float64),
            is_done=is_sure.fill_null(False) | (pl.col("votes") >= campaign.most_votes) | pl.col("is_gold"),
        )
        .select(*ITEMS, *(name for name in (*_ASKED[1:], "adjudicator") if name not in ITEMS))
    )


def shown(queue: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """The queue with what a person wants to see of each item. found: `items`."""
    return (
        queue.join(found, on="task_key", how="left", maintain_order="left")
        .with_columns(prediction="prediction_json")
        .select(SHOWN)
    )


def gained(campaign: Campaign, label_tasks: pl.DataFrame, label_consensus: pl.DataFrame, seed: int) -> Gain | None:
    """How much more often people correct the prediction of items that were asked for their doubt than of random ones.

    None before both kinds have answers. Only what people are sure of counts; where they leave undecided much more of one
    kind, the two are not comparable.
    """
    asked = _of(campaign, label_tasks).drop_nulls("prediction_json").sort("day", "key")
    answers = _of(campaign, label_consensus).sort("day").unique("task_key", keep="last")
    answered = (
        asked.unique("task_key", keep="first", maintain_order=True)
        .join(answers.select("task_key", "answer_json", "needs_adjudication"), on="task_key", maintain_order="left")
        .select(
            "reason",
            undecided=(pl.col("answer_json").is_null() | pl.col("needs_adjudication")).cast(pl.Float64),
            changed=(pl.col("answer_json") != pl.col("prediction_json")).cast(pl.Float64),
        )
    )
    sure = answered.filter(undecided=0)
    found = gain(_values(sure, "uncertain", "changed"), _values(sure, "random", "changed"), seed)
    left = gain(_values(answered, "uncertain", "undecided"), _values(answered, "random", "undecided"), seed)
    is_comparable = left is None or abs(left.difference) <= MAX_UNDECIDED_DIFFERENCE
    return found and replace(found, is_comparable=is_comparable)


def _values(rows: pl.DataFrame, reason: str, name: str) -> Sequence[float]:
    return rows.filter(reason=reason)[name].to_list()


def _of(campaign: Campaign, rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(campaign=campaign.name, version=campaign.version)
