"""The questions of campaigns about the items of days: rows of `LabelTasks`. Pure functions of frames."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import date

import polars as pl
from polars.exceptions import PolarsError

from pipeline_assets.errors import BadCampaign
from pipeline_assets.framework.schemas import Rejected
from pipeline_assets.labeling.campaigns import answer
from pipeline_assets.labeling.campaigns.campaign import Campaign
from pipeline_assets.labeling.schemas import LabelTasks

CONDITION_COLUMNS = (
    "day",
    "key",
    "user_id",
    "media_type",
    "size_bytes",
    "width_px",
    "height_px",
    "duration_s",
    "title",
    "predicted_class",
    "predicted_probability",
)
"""The columns that a campaign's conditions may name."""
GLOB = re.compile(r"[*?]")
"""Of a gold item's key: it is a pattern."""


def tasks(
    campaigns: Sequence[Campaign], raw_uploads: pl.LazyFrame, photo_metadata: pl.LazyFrame, photo_classes: pl.LazyFrame
) -> tuple[pl.DataFrame, dict[str, str]]:
    """Rows of `LabelTasks`: for each campaign, one for each content of each day, under its smallest key.

    With the faults of campaigns by the names of their files: those with a condition that is none ask nothing.
    raw_uploads, photo_metadata, photo_classes: the days to ask about.
    """
    asked, faults = [LabelTasks.create_empty()], {}
    items = _items(raw_uploads, photo_metadata, photo_classes) if campaigns else pl.DataFrame()
    for campaign in campaigns:
        try:
            asked.append(LabelTasks.cast(_tasks_of(campaign, items)))
        except BadCampaign as fault:
            faults[f"{campaign.name}.yaml"] = str(fault)
    return pl.concat(asked).sort("day", "task_key"), faults


def rejected(faults: Mapping[str, str], days: Sequence[date]) -> pl.DataFrame:
    """Rows of `Rejected`: a faulty campaign asks nothing about each of these days."""
    rows = [(day, f"campaigns/{name}", "bad_campaign", fault, None) for day in days for name, fault in faults.items()]
    return pl.DataFrame(rows, schema=Rejected.create_empty().schema, orient="row")


def task_key(campaign: str, version: int, target: str, sha256: str) -> str:
    """The key of a question about a content, 64 hexadecimal digits: the same whoever computes it."""
    return hashlib.sha256(json.dumps([campaign, version, target, sha256]).encode()).hexdigest()


def _items(raw_uploads: pl.LazyFrame, photo_metadata: pl.LazyFrame, photo_classes: pl.LazyFrame) -> pl.DataFrame:
    """Usable uploads with their title, and the classes that a model gives them."""
    titles = photo_metadata.sort("photo_id").unique(["day", "key"], keep="first", maintain_order=True)
    classes = photo_classes.select("day", "sha256", "model_id", "top5_label", "top5_probability")
    return (
        raw_uploads.filter(pl.col("verdict") == "ok")
        # The newest version of a key is what the application shows.
        .sort("uploaded_at", "version_id", descending=True)
        .unique(["day", "key"], keep="first", maintain_order=True)
        .join(titles.select("day", "key", "title"), on=["day", "key"], how="left")
        .join(classes, on=["day", "sha256"], how="left")
        .with_columns(
            predicted_class=pl.col("top5_label").list.first(),
            predicted_probability=pl.col("top5_probability").list.first().cast(pl.Float64),
        )
        .sort("day", "key")
        .collect()
    )


def _tasks_of(campaign: Campaign, items: pl.DataFrame) -> pl.DataFrame:
    chosen = _chosen(campaign, items)
    asked = _of_title(chosen) if campaign.target == "title" else chosen
    keyed = asked.with_columns(
        task_key=pl.col("sha256").map_elements(
            lambda sha256: task_key(campaign.name, campaign.version, campaign.target, sha256), return_dtype=pl.String
        )
    )
    valued = _with_prediction(campaign, _once(_with_gold(campaign, keyed)))
    # Which are random is a function of the task, so that no later upload changes an earlier choice.
    share = pl.col("task_key").str.slice(0, 8).str.to_integer(base=16) / 2**32
    draw = pl.col("task_key").str.slice(8, 8).str.to_integer(base=16) / 2**32
    is_random = share < campaign.random_share
    has_prediction = pl.col("prediction_probability").is_not_null()
    doubt = 1 - pl.col("prediction_probability").clip(0, 1)
    return valued.select(
        "day",
        "task_key",
        pl.lit(campaign.name).alias("campaign"),
        pl.lit(campaign.version, pl.Int64).alias("version"),
        "key",
        pl.lit(campaign.target).alias("target"),
        "sha256",
        "media_type",
        "width_px",
        "height_px",
        "duration_s",
        "title",
        _slice(campaign, valued).alias("slice"),
        priority=pl.when("is_gold").then(1.0).when(is_random).then(draw).otherwise(doubt.fill_null(0.5)),
        reason=pl.when("is_gold")
        .then(pl.lit("gold"))
        .when(is_random)
        .then(pl.lit("random"))
        .when(has_prediction)
        .then(pl.lit("uncertain"))
        .otherwise(pl.lit("new")),
        is_gold="is_gold",
        gold_json="gold_json",
        votes_wanted=pl.lit(campaign.votes, pl.Int64),
        prediction_json="prediction_json",
        prediction_probability="prediction_probability",
        prediction_model=pl.when(has_prediction).then("model_id"),
    )


def _once(items: pl.DataFrame) -> pl.DataFrame:
    """Each task of a day once, under its smallest key; what any key of its content is known to be (gold), the task is."""
    gold = pl.col("gold_json").backward_fill().over("day", "task_key")
    return (
        items.with_columns(gold_json=gold)
        .unique(["day", "task_key"], keep="first", maintain_order=True)
        .with_columns(is_gold=pl.col("gold_json").is_not_null())
    )


def _chosen(campaign: Campaign, items: pl.DataFrame) -> pl.DataFrame:
    """The items that a campaign asks about."""
    wanted = items
    if campaign.first_day is not None:
        wanted = wanted.filter(pl.col("day") >= pl.lit(campaign.first_day))
    if campaign.target == "title":
        wanted = wanted.filter(pl.col("title").is_not_null())
    else:
        wanted = wanted.filter(pl.col("media_type").str.contains("|".join(map(_regex, campaign.media))))
    return wanted if campaign.where is None else wanted.filter(_holds(campaign, campaign.where, wanted))


def _of_title(items: pl.DataFrame) -> pl.DataFrame:
    """The same, about their title: the content is its text."""
    titles = items["title"].to_list()
    return items.with_columns(
        sha256=pl.Series([hashlib.sha256(title.encode()).hexdigest() for title in titles], dtype=pl.String)
    )


def _holds(campaign: Campaign, condition: str, items: pl.DataFrame) -> pl.Series:
    """Whether a condition holds, by item. Raises BadCampaign for one that is no condition on CONDITION_COLUMNS."""
    try:
        holds = items.select(CONDITION_COLUMNS).select(pl.sql_expr(condition).alias("holds"))["holds"]
    except (PolarsError, pl.exceptions.PanicException) as error:
        raise _no_condition(campaign, condition, str(error).split("\n")[0][:200]) from None
    if holds.dtype != pl.Boolean or len(holds) not in (1, items.height):
        raise _no_condition(campaign, condition, f"it is {holds.dtype}, not true or false for each item")
    return holds.fill_null(False) if len(holds) == items.height else pl.repeat(holds[0], items.height, eager=True)


def _no_condition(campaign: Campaign, condition: str, fault: str) -> BadCampaign:
    return BadCampaign(
        f"campaigns/{campaign.name}.yaml: {condition!r:.200} is no condition: {fault}. It may name "
        f"{', '.join(CONDITION_COLUMNS)}."
    )


def _slice(campaign: Campaign, items: pl.DataFrame) -> pl.Expr:
    held = [pl.when(_holds(campaign, condition, items)).then(pl.lit(name)) for name, condition in campaign.slices.items()]
    return pl.coalesce(*held, pl.lit(None, pl.String))


def _with_prediction(campaign: Campaign, items: pl.DataFrame) -> pl.DataFrame:
    """The class that the model's labels speak for, with the sum of their probabilities; null where none of them does."""
    if campaign.kind != "class" or not campaign.predictions or campaign.target != "upload":
        return items.with_columns(prediction_json=pl.lit(None, pl.String), prediction_probability=pl.lit(None, pl.Float64))
    class_of = {label: name for name, labels in campaign.predictions.items() for label in labels}
    votes = (
        items.select("day", "task_key", label="top5_label", probability="top5_probability")
        .explode("label", "probability")
        .with_columns(name=pl.col("label").replace_strict(class_of, default=None, return_dtype=pl.String))
        .drop_nulls("name")
        .group_by("day", "task_key", "name")
        # A sum of probabilities may be 1 + 1e-8.
        .agg(prediction_probability=pl.col("probability").cast(pl.Float64).sum().clip(0, 1))
        .sort("prediction_probability", "name", descending=[True, False])
        .unique(["day", "task_key"], keep="first", maintain_order=True)
    )
    answers = {name: answer.canonical("class", campaign.classes, {"choice": name}) for name in campaign.classes}
    json_of = pl.col("name").replace_strict(answers, return_dtype=pl.String)
    proposed = votes.select("day", "task_key", "prediction_probability", prediction_json=json_of)
    return items.join(proposed, on=["day", "task_key"], how="left", maintain_order="left")


def _regex(pattern: str) -> str:
    """A regular expression for a pattern with * and ?."""
    return "(?s)^" + re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".") + "$"


def _with_gold(campaign: Campaign, items: pl.DataFrame) -> pl.DataFrame:
    known = [
        (gold.sha256, gold.key, answer.canonical(campaign.kind, campaign.classes, gold.answer)) for gold in campaign.gold
    ]
    by_content = {sha256: text for sha256, _, text in known if sha256 is not None}
    by_key = {key: text for _, key, text in known if key is not None and not GLOB.search(key)}
    by_pattern = [
        pl.when(pl.col("key").str.contains(_regex(key))).then(pl.lit(text))
        for _, key, text in known
        if key is not None and GLOB.search(key)
    ]
    gold = pl.coalesce(
        pl.col("sha256").replace_strict(by_content, default=None, return_dtype=pl.String),
        pl.col("key").replace_strict(by_key, default=None, return_dtype=pl.String),
        *by_pattern,
    )
    return items.with_columns(gold_json=gold)
