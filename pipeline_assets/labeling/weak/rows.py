"""Rows of the tables of labeling functions: votes of a day, and labels of them. Pure functions of frames."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import polars as pl

from pipeline_assets.framework.schemas import Rejected
from pipeline_assets.labeling import label_json
from pipeline_assets.labeling.campaigns import answer, campaign
from pipeline_assets.labeling.campaigns.campaign import Campaign
from pipeline_assets.labeling.weak import functions, model, quality
from pipeline_assets.labeling.weak.functions import LabelingFunction
from pipeline_assets.labeling.weak.model import MODELS, LabelModel
from pipeline_assets.labeling.weak.quality import Truth, Votes
from pipeline_assets.labeling.weak.schemas import WeakFunctions, WeakLabels, WeakVotes

WINDOW_DAYS = 30
"""Days before a day whose items of known truth are its development set."""
_UPLOAD = ("user_id", "uploaded_at", "size_bytes", "mode", "orientation", "taken_at", "phash", "duplicate_of")
_PHOTO = ("photo_id", "posted_at", "followers_at_post", "user_joined_at")
_CLASSES = ("top5_label", "top5_probability")
_NEVER = ("gold_json", "is_gold", "reason", "priority", "votes_wanted")
"""Columns of tasks that functions don't see: the truth, and how it is asked."""


def items(
    label_tasks: pl.LazyFrame, raw_uploads: pl.LazyFrame, photo_metadata: pl.LazyFrame, photo_classes: pl.LazyFrame
) -> pl.DataFrame:
    """What labeling functions see, a task a row, in order: facts of the task, its upload, its photo and the model's classes.

    Places and cameras of photos are personal, and are not among them, nor is the free form of their details.
    """
    of_key = ["day", "key"]
    uploads = raw_uploads.filter(pl.col("verdict") == "ok").sort("uploaded_at", "version_id", descending=True)
    newest = uploads.unique(of_key, keep="first", maintain_order=True)
    photos = photo_metadata.sort("photo_id").unique(of_key, keep="first", maintain_order=True)
    classes = photo_classes.select("day", "sha256", *_CLASSES)
    return (
        label_tasks.drop(_NEVER)
        .join(newest.select(*of_key, *_UPLOAD, upload_sha256="sha256"), on=of_key, how="left")
        .join(photos.select(*of_key, *_PHOTO), on=of_key, how="left")
        .join(classes, left_on=["day", "upload_sha256"], right_on=["day", "sha256"], how="left")
        .sort("day", "task_key")
        .collect()
    )


def votes(
    asked: Campaign, of_module: Sequence[LabelingFunction], seen: pl.DataFrame, label_tasks: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of `WeakVotes` and of `Rejected` of one campaign. seen: `items`; label_tasks: the same tasks, with gold_json.

    Faults are counted by day, so that the result does not depend on the days of a run.
    """
    rows: list[pl.DataFrame] = [WeakVotes.create_empty()]
    rejected: list[pl.DataFrame] = [Rejected.create_empty()]
    of_campaign = seen.filter(campaign=asked.name, version=asked.version)
    gold = label_tasks.select("day", "task_key", "gold_json")
    names = json.dumps([function.name for function in of_module])
    for of_day in of_campaign.partition_by("day", maintain_order=True):
        said, faults = functions.apply(of_module, of_day, asked.classes)
        texts = [label_json.dump({name: one for name, one in row.items() if one is not None}) for row in said.to_dicts()]
        rows.append(
            of_day.select("day", "task_key", "campaign", "version", "key", "target")
            .with_columns(
                votes_json=pl.Series(texts, dtype=pl.String),
                functions_json=pl.lit(names),
                campaign_json=pl.lit(asked.definition),
            )
            .join(gold, on=["day", "task_key"], how="left", maintain_order="left")
            .select(WeakVotes.column_names())
        )
        keys = of_day["task_key"]
        aside = [_aside(of_day["day"][0], asked, fault, keys) for fault in faults]
        rejected.append(pl.DataFrame(aside, schema=Rejected.create_empty().schema, orient="row"))
    return pl.concat(rows), pl.concat(rejected)


def unusable(asked: Campaign, days: Sequence[date], detail: str) -> pl.DataFrame:
    """Rows of `Rejected` for a campaign whose functions can't be used, one a day."""
    rows = [(day, asked.name, "functions_unusable", detail, None) for day in days]
    return pl.DataFrame(rows, schema=Rejected.create_empty().schema, orient="row")


@dataclass(frozen=True)
class Day:
    """The votes of one day and campaign, and those of its development set. known: task keys and their true class."""

    day: date
    asked: Campaign
    names: tuple[str, ...]
    rows: pl.DataFrame
    votes: Votes
    development: Votes
    truth: Truth


def days_of(days: Sequence[date], weak_votes: pl.DataFrame, label_consensus: pl.DataFrame) -> Iterator[Day]:
    """Each day and campaign with votes. weak_votes, label_consensus: of these days and WINDOW_DAYS before.

    A development set is of earlier days alone, without what the day asks again: gold answers, and consensuses of at least
    the campaign's confidence that nobody needs to decide.
    """
    agreed = _agreed(label_consensus).join(weak_votes, on=["day", "task_key"], how="semi")
    for day in days:
        window = weak_votes.filter(pl.col("day").is_between(day - timedelta(days=WINDOW_DAYS), day))
        for rows in window.filter(day=day).sort("task_key").partition_by("campaign", "version", maintain_order=True):
            asked = campaign.parse_definition(rows["campaign_json"][0])
            names = tuple(json.loads(rows["functions_json"][0]))
            earlier = window.filter(pl.col("day") < day, campaign=asked.name, version=asked.version)
            fresh = earlier.join(rows.select("task_key"), on="task_key", how="anti")
            known = _known(asked, fresh, agreed.filter(pl.col("day").is_in(fresh["day"].unique().implode())))
            yield Day(
                day=day,
                asked=asked,
                names=names,
                rows=rows,
                votes=_array(rows, names, asked.classes),
                development=_array(known, names, asked.classes),
                truth=model.encode(known.select("choice"), asked.classes)[:, 0],
            )


def labels(found: Day) -> pl.DataFrame:
    """Rows of `WeakLabels` of one day and campaign. Raises MissingExtra for a model whose package is not installed."""
    models: dict[str, LabelModel] = {name: MODELS[name] for name in found.asked.weak_models}
    decided = model.label(found.votes, found.development, found.truth, len(found.asked.classes), models)
    gain = max(decided.gains.values(), default=(None, None, None), key=lambda one: one[0])
    answers = [answer.canonical("class", found.asked.classes, {"choice": name}) for name in found.asked.classes]
    return found.rows.select(
        *WeakVotes.column_names()[:7],
        answer_json=pl.Series(
            [answers[number] if number >= 0 else None for number in decided.class_number], dtype=pl.String
        ),
        probability=pl.Series(decided.probability, dtype=pl.Float64).fill_nan(None),
        method=pl.lit(decided.method),
        fell_back=pl.lit(decided.fell_back),
        development_items=pl.lit(len(found.truth), pl.Int64),
        **{f"gain{end}": pl.lit(value, pl.Float64) for end, value in zip(("", "_low", "_high"), gain, strict=True)},
    ).select(WeakLabels.column_names())


def function_rows(found: Day) -> pl.DataFrame:
    """Rows of `WeakFunctions` of one day and campaign."""
    return (
        quality.per_function(found.names, found.votes, found.development, found.truth)
        .with_columns(
            day=pl.lit(found.day),
            campaign=pl.lit(found.asked.name),
            version=pl.lit(found.asked.version, pl.Int64),
            items=pl.lit(found.rows.height, pl.Int64),
        )
        .select(WeakFunctions.column_names())
    )


def _agreed(label_consensus: pl.DataFrame) -> pl.DataFrame:
    """What people agree on: day, task_key, agreed_json, agreed_confidence (endless where an adjudicator decided)."""
    confidence = pl.when(pl.col("adjudicator").is_not_null()).then(math.inf).otherwise("confidence")
    return (
        label_consensus.filter(pl.col("answer_json").is_not_null(), ~pl.col("needs_adjudication"))
        .select("day", "task_key", agreed_json="answer_json", agreed_confidence=confidence)
        .unique(["day", "task_key"], keep="any")
    )


def _known(asked: Campaign, earlier: pl.DataFrame, agreed: pl.DataFrame) -> pl.DataFrame:
    """Votes of items of known truth, each content once, with `choice`; in the order of task keys, which is random."""
    is_sure = pl.col("agreed_confidence") >= asked.confidence
    known = earlier.join(agreed, on=["day", "task_key"], how="left").with_columns(
        choice=pl.coalesce("gold_json", pl.when(is_sure).then("agreed_json")).str.json_path_match("$.choice")
    )
    return (
        known.filter(pl.col("choice").is_in(asked.classes))
        .sort("task_key", "day")
        .unique("task_key", keep="last", maintain_order=True)
    )


def _array(rows: pl.DataFrame, names: Sequence[str], classes: Sequence[str]) -> Votes:
    said: list[Mapping[str, Any]] = [json.loads(text) for text in rows["votes_json"]]
    columns = {name: pl.Series([one.get(name) for one in said], dtype=pl.String) for name in names}
    return model.encode(pl.DataFrame(columns), classes)


def _aside(day: date, asked: Campaign, fault: functions.Fault, keys: pl.Series) -> tuple[date, str, str, str, str | None]:
    source = f"{asked.name} {fault.function}"
    return day, source, fault.reason, fault.detail, None if fault.row is None else keys[fault.row]
