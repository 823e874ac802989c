"""Rows of `label_tasks` as tasks for Label Studio, in the order in which they are asked.

Gold questions are strewn among the others, and nothing that is sent tells them apart.
"""

import hashlib
import math
from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from pipeline_assets.labeling import label_json
from pipeline_assets.labeling.campaigns.campaign import Campaign
from pipeline_assets.labeling.exchange.push import Ask
from pipeline_assets.labeling.exchange.store import Request
from pipeline_assets.labeling.services import label_studio
from pipeline_assets.labeling.services.form import Item, Question
from pipeline_assets.labeling.services.label_config import content_of

UrlOf = Callable[[str], str]


def in_order(tasks: pl.DataFrame, gold_share: float) -> pl.DataFrame:
    """Tasks by priority, each once, with one gold one in each block of 1 / gold_share, at a place that a hash decides.

    Gold ones for which there are too few others are left out: a row of them would tell what they are.
    tasks: rows of `LabelTasks` of one campaign and version.
    """
    unique = tasks.sort("day", "key").unique("task_key", keep="first", maintain_order=True)
    # Among equal priorities the key decides: it is a hash, so it follows neither time nor user.
    ranked = unique.sort("priority", "task_key", descending=[True, False])
    gold, others = ranked.filter("is_gold"), ranked.filter(~pl.col("is_gold"))
    every = math.ceil(1 / gold_share) if gold_share > 0 else 0
    gold = gold.sort("task_key").head(math.ceil(others.height / (every - 1)) if every else 0)
    places = [block * (every - 1) + _offset(row, every) - 0.5 for block, row in enumerate(gold.iter_rows(named=True))]
    gold = gold.with_columns(place=pl.Series(places, dtype=pl.Float64))
    others = others.with_columns(place=pl.int_range(pl.len()).cast(pl.Float64))
    return pl.concat([others, gold], how="vertical_relaxed").sort("place", maintain_order=True).drop("place")


def _offset(row: Mapping[str, Any], every: int) -> int:
    """A place within a block, which follows from the task and its answer."""
    return int.from_bytes(hashlib.sha256(f"{row['task_key']} {row.get('gold_json')}".encode()).digest()[:8]) % every


def items_of(tasks: pl.DataFrame, url_of: UrlOf | None = None) -> dict[str, Item]:
    """The tasks as items of formats, by task key. url_of: the address of an upload; without it items have none."""
    return {row["task_key"]: _item(row, url_of) for row in tasks.iter_rows(named=True)}


def asks_of(campaign: Campaign, tasks: pl.DataFrame, url_of: UrlOf) -> tuple[list[Ask], int]:
    """What to send, in order, and the number of tasks whose media the campaign's interface can't show.

    Among these are uploads whose key Label Studio would read as another one: in s3:// addresses it looks for ? and #.
    """
    ordered = in_order(tasks, campaign.gold_share)
    question = Question(campaign.name, campaign.version, campaign.kind, tuple(campaign.classes), campaign.question)
    shown = content_of(campaign)
    asks = []
    for row in ordered.iter_rows(named=True):
        item = _item(row, url_of)
        if label_studio.data_name(item) == shown and _is_read_as_it_is(item.url or ""):
            asks.append(Ask(_request(row), _fields(campaign, question, item, row)))
    return asks, ordered.height - len(asks)


def _is_read_as_it_is(url: str) -> bool:
    return not url.startswith("s3://") or not (set("?#") & set(url) or url != url.strip())


def _fields(campaign: Campaign, question: Question, item: Item, row: Mapping[str, Any]) -> dict[str, Any]:
    fields = label_studio.task_of(item, question)
    for prediction in fields.get("predictions", ()):
        if row["prediction_probability"] is not None:
            prediction["score"] = round(row["prediction_probability"], 6)
    if campaign.kind == "ranking":
        fields["data"]["items"] = [{"id": name, "title": name, "body": ""} for name in campaign.classes]
    return fields


def _item(row: Mapping[str, Any], url_of: UrlOf | None) -> Item:
    is_title = row["target"] == "title"
    return Item(
        row["task_key"],
        row["version"],
        row["target"],
        row["media_type"],
        row["width_px"],
        row["height_px"],
        row["duration_s"],
        row["title"] if is_title else None,
        url=None if is_title or url_of is None else url_of(row["key"]),
        labels=label_json.parse(row["prediction_json"]) if row["prediction_json"] is not None else None,
        model=row["prediction_model"],
    )


def _request(row: Mapping[str, Any]) -> Request:
    return Request(row["task_key"], row["day"], row["key"], row["target"], row["sha256"])


def of_campaign(tasks: pl.LazyFrame, campaign: Campaign) -> pl.DataFrame:
    """The tasks of a campaign's present version."""
    is_ours = (pl.col("campaign") == campaign.name) & (pl.col("version") == campaign.version)
    return tasks.filter(is_ours).collect()
