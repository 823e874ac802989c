"""Answers of the database as votes on tasks: each in its newest revision, valid for the question that was asked. Pure."""

from typing import Any

import polars as pl

from pipeline_assets.errors import BadCampaign, UnfitParent
from pipeline_assets.framework.schemas import Rejected
from pipeline_assets.ingestion.photo_rows import moment
from pipeline_assets.labeling.campaigns import answer, campaign
from pipeline_assets.labeling.consensus.answers import is_right
from pipeline_assets.labeling.consensus.question import Question
from pipeline_assets.labeling.schemas import LabelVotes

COLUMNS = {
    "day": "bigint",
    "source": "text",
    "source_id": "text",
    "revision": "bigint",
    "task_key": "text",
    "annotator": "text",
    "answered_us": "bigint",
    "arrived_us": "bigint",
    "lead_us": "bigint",
    "answer_json": "text",
    "is_cancelled": "bigint",
    "is_deleted": "bigint",
    "campaign": "text",
    "version": "bigint",
    "key": "text",
    "target": "text",
    "sha256": "text",
    "definition": "text",
}
"""The columns of an answer with its request and campaign, and the database's types."""
ADJUDICATION = "adjudication"
"""The source of adjudicators' answers."""
_TYPES = {"bigint": pl.Int64(), "text": pl.String()}
_IS_GIVEN_UP = pl.col("is_cancelled") | pl.col("is_deleted")


def judge(rows: pl.DataFrame, label_tasks: pl.LazyFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of `LabelVotes`, and of `Rejected`; each newest revision of an answer is in one of them. rows: COLUMNS.

    label_tasks: the days' tasks, whose gold answers count as they are now.
    """
    newest = (
        rows.select(pl.col(name).cast(_TYPES[kind]) for name, kind in COLUMNS.items())
        .with_columns(pl.col("day").cast(pl.Date), pl.col("is_cancelled", "is_deleted").cast(pl.Boolean))
        .sort("source", "source_id", "revision")
        .unique(["source", "source_id"], keep="last", maintain_order=True)
    )
    checked = _checked(newest)
    of_task = ["day", "task_key"]
    gold = label_tasks.select(*of_task, "gold_json").unique(of_task).collect()
    valid = checked.filter(pl.col("reason").is_null()).join(gold, on=of_task, how="left", maintain_order="left")
    valid = valid.with_columns(gold_json=_gold(valid))
    is_adjudication = pl.col("source") == ADJUDICATION
    is_vote = ~(_IS_GIVEN_UP | is_adjudication)
    is_newest = (
        pl.struct("answered_us", "source", "source_id")
        .rank("ordinal", descending=True)
        .over("task_key", "annotator", is_vote)
        == 1
    )
    votes = valid.with_columns(
        answer_json=pl.when(~_IS_GIVEN_UP).then("canonical_json"),
        answered_at=moment("answered_us"),
        arrived_at=moment("arrived_us"),
        lead_time_s=pl.col("lead_us") / 1e6,
        is_adjudication=is_adjudication,
        counts=is_vote & is_newest,
        is_gold=pl.col("gold_json").is_not_null(),
        is_gold_correct=_graded(valid),
        campaign_json="definition",
    )
    rejected = checked.filter(pl.col("reason").is_not_null()).select(
        "day",
        "reason",
        "detail",
        source=pl.format("{} {}", "source", "source_id").str.head(2_000),
        raw=pl.col("answer_json").str.head(2_000),
    )
    names = LabelVotes.column_names()
    return LabelVotes.cast(votes.select(names).sort("day", "task_key", "source", "source_id")), rejected.select(
        Rejected.column_names()
    )


def _checked(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with canonical_json, or with a reason and a detail. Equal answers to one question are checked once."""
    asked = rows.select("definition", "answer_json", "is_cancelled", "is_deleted").unique()
    found = {}
    for definition, text, is_cancelled, is_deleted in asked.iter_rows():
        found[definition, text, is_cancelled or is_deleted] = _judge(definition, text, is_cancelled or is_deleted)
    pairs = zip(rows["definition"], rows["answer_json"], (rows["is_cancelled"] | rows["is_deleted"]), strict=True)
    judged = [found[pair] for pair in pairs]
    schema = {"canonical_json": pl.String, "reason": pl.String, "detail": pl.String}
    return pl.concat([rows, pl.DataFrame(judged, schema=schema, orient="row")], how="horizontal")


def _judge(definition: str | None, text: str | None, is_given_up: bool) -> tuple[str | None, str | None, str | None]:
    """Canonical JSON, reason, detail of one answer."""
    if definition is None:
        return (
            None,
            "unknown_task",
            "no campaign asked this task: the answer is from another project, or its request was lost",
        )
    try:
        question = campaign.parse_definition(definition)
        if is_given_up:
            return None, None, None
        if text is None:
            return None, "no_answer", "the answer has no content, and was neither skipped nor deleted"
        return answer.parse(question.kind, question.classes, text), None, None
    except UnfitParent as unfit:
        return None, unfit.reason, unfit.detail
    except BadCampaign as fault:
        return None, "bad_campaign", f"the question that was asked can't be read: {fault}"[:2_000]


def _gold(rows: pl.DataFrame) -> pl.Series:
    """The known answers, where they are answers to the question that was asked: gold of a changed question is null."""
    found: dict[tuple[Any, ...], str | None] = {}
    columns = rows.select("definition", "gold_json")
    for pair in columns.unique().iter_rows():
        definition, text = pair
        found[pair] = None if text is None else _judge(definition, text, is_given_up=False)[0]
    return pl.Series([found[pair] for pair in columns.iter_rows()], dtype=pl.String)


def _graded(rows: pl.DataFrame) -> pl.Series:
    """Whether each answer says what gold says; null without one of them. Equal pairs are compared once."""
    found: dict[tuple[Any, ...], bool | None] = {}
    columns = rows.select(pl.when(~_IS_GIVEN_UP).then("canonical_json"), "gold_json", "definition")
    for pair in columns.unique().iter_rows():
        given, gold, definition = pair
        is_known = given is not None and gold is not None
        found[pair] = is_right(Question.of(campaign.parse_definition(definition)), given, gold) if is_known else None
    return pl.Series([found[pair] for pair in columns.iter_rows()], dtype=pl.Boolean)
