"""The tasks of a campaign as services get them, and as their answers are recognised by. Reads tables and the database.

What lives here: which tasks leave, with which labels. What does not: how a format writes them (`services`), and what happens
when their answers come back (`files.py`).
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

import polars as pl

from pipeline_assets.errors import ExportRefused, NothingToAsk
from pipeline_assets.labeling.campaigns import campaign as campaign_files
from pipeline_assets.labeling.campaigns.campaign import Campaign
from pipeline_assets.labeling.exchange.asking import in_order
from pipeline_assets.labeling.exchange.store import Request
from pipeline_assets.labeling.services.form import Book, Item, Question
from resources.database.contract import Database
from resources.errors import TableMissing
from resources.lake.lake import Lake

Shown = Literal["predictions", "accepted", "none"]
"""Which labels go with the tasks: those of a model, those that were agreed on, or none."""
FIELDS = ("key", "sha256", "task_key", "file_name")
"""What a URL's pattern may name, in braces."""


@dataclass(frozen=True)
class Asked:
    """A task to hand out. request: what is recorded of it."""

    item: Item
    request: Request


def question_of(campaign: Campaign) -> Question:
    """What a campaign asks."""
    classes = tuple(campaign.classes)
    return Question(campaign.name, campaign.version, campaign.kind, classes, campaign.question, campaign.instructions)


def tasks(lake: Lake, campaign: Campaign, shown: Shown, url: str | None = None, limit: int | None = None) -> list[Asked]:
    """The tasks of this version, in the order of their keys. With accepted labels: those that have some.

    url: a pattern such as `https://example.org/{key}`. limit: the tasks with the highest priority, and gold ones in their
    share; their order in a file tells nothing of it. Raises NothingToAsk without any, ExportRefused for a pattern with
    another name.
    """
    rows = _tasks(lake, campaign).filter(pl.col("version") == campaign.version)
    if shown == "accepted":
        rows = rows.join(_accepted(lake, campaign), on="task_key", how="inner")
    else:
        rows = rows.with_columns(labels_json="prediction_json", model="prediction_model")
    if limit is not None:  # the rarest priority is gold's: without its share, a short file would have nothing else
        rows = in_order(rows, campaign.gold_share).head(limit)
    found = rows.sort("task_key")
    if found.is_empty():
        what = "task with an accepted answer" if shown == "accepted" else "task"
        raise NothingToAsk(f"{campaign.name}, version {campaign.version}, has no {what} yet: run `darkroom refresh`.")
    return [_asked(row, shown, url) for row in found.iter_rows(named=True)]


def book(lake: Lake, database: Database, campaign: Campaign) -> Book:
    """All tasks that were ever asked for a campaign, with the questions of their versions as they were recorded."""
    recorded = database.read("select version, definition from label_campaigns where campaign = $1", (campaign.name,))
    questions = {campaign.version: question_of(campaign)} | {
        version: question_of(campaign_files.parse_definition(definition)) for version, definition in recorded.iter_rows()
    }
    now = _tasks(lake, campaign)
    items = {row["task_key"]: _item(row) for row in now.iter_rows(named=True)}
    before = _requested(lake, database, campaign, set(items))
    return Book(items | {row["task_key"]: _item(row) for row in before.iter_rows(named=True)}, questions)


def requests(lake: Lake, campaign: Campaign) -> dict[str, Request]:
    """What is recorded of each task of this version, by its key."""
    rows = _tasks(lake, campaign).filter(pl.col("version") == campaign.version)
    columns = ("task_key", "day", "key", "target", "sha256")
    return {row[0]: Request(*row) for row in rows.select(columns).iter_rows()}


def _tasks(lake: Lake, campaign: Campaign) -> pl.DataFrame:
    """Rows of `label_tasks` of a campaign, once each, with EXIF's orientation."""
    try:
        rows = lake.scan("label_tasks").filter(pl.col("campaign") == campaign.name).sort("day").collect()
    except TableMissing:
        raise NothingToAsk("There are no tasks yet: run `darkroom run` or `darkroom refresh` first.") from None
    return _with_orientation(lake, rows.unique("task_key", keep="first", maintain_order=True))


def _with_orientation(lake: Lake, rows: pl.DataFrame) -> pl.DataFrame:
    uploads = (
        lake.scan("raw_uploads", sorted(set(rows["day"])))
        .filter(pl.col("sha256").is_in(rows["sha256"].unique().implode()))
        .select("sha256", "orientation")
        .unique("sha256")
        .collect()
    )
    return rows.join(uploads, on="sha256", how="left", maintain_order="left")


def _accepted(lake: Lake, campaign: Campaign) -> pl.DataFrame:
    """Answers that are sure enough to need no adjudication, by task."""
    try:
        rows = lake.scan("label_consensus").filter(pl.col("campaign") == campaign.name).collect()
    except TableMissing:
        raise NothingToAsk("There is no consensus yet: run `darkroom refresh` once answers have arrived.") from None
    sure = rows.filter(pl.col("answer_json").is_not_null() & ~pl.col("needs_adjudication"))
    return sure.unique("task_key").select("task_key", labels_json="answer_json", model="method")


def _requested(lake: Lake, database: Database, campaign: Campaign, known: set[str]) -> pl.DataFrame:
    """Tasks that were asked and are in the table no more: of older versions, and of days that changed."""
    asked = database.read(
        "select day, task_key, version, key, target, sha256 from label_requests where campaign = $1", (campaign.name,)
    ).unique("task_key")
    missing = asked.filter(~pl.col("task_key").is_in(sorted(known))).with_columns(pl.col("day").cast(pl.Date))
    days = sorted(set(missing["day"].drop_nulls()))
    facts = ("sha256", "media_type", "width_px", "height_px", "duration_s", "orientation")
    uploads = lake.scan("raw_uploads", days).select(facts).unique("sha256").collect()
    titles = lake.scan("photo_metadata", days).select("day", "key", "title").unique(["day", "key"]).collect()
    return missing.join(uploads, on="sha256", how="left").join(titles, on=["day", "key"], how="left")


def _asked(row: dict[str, Any], shown: Shown, url: str | None) -> Asked:
    labels = None if shown == "none" or row["labels_json"] is None else json.loads(row["labels_json"])
    bare = _item(row)
    is_photo = row["target"] == "upload"
    item = Item(
        **{name: getattr(bare, name) for name in Item.__dataclass_fields__ if name not in ("url", "labels", "model")},
        url=_url(url, row, bare) if url and is_photo else None,
        labels=labels,
        model=row["model"] if labels is not None else None,
    )
    return Asked(item, Request(row["task_key"], row["day"], row["key"], row["target"], row["sha256"]))


def _item(row: dict[str, Any]) -> Item:
    title = row["title"]
    if row["target"] == "title" and title is not None and hashlib.sha256(title.encode()).hexdigest() != row["sha256"]:
        title = None  # the title has changed since: positions in it are not compared
    return Item(
        task_key=row["task_key"],
        version=row["version"],
        target=row["target"],
        media_type=row["media_type"],
        width_px=row["width_px"],
        height_px=row["height_px"],
        duration_s=row["duration_s"],
        title=title,
        orientation=row["orientation"] or 1,
    )


def _url(pattern: str, row: dict[str, Any], item: Item) -> str:
    values = {"key": row["key"], "sha256": row["sha256"], "task_key": item.task_key, "file_name": item.file_name}
    for name in FIELDS:
        pattern = pattern.replace("{" + name + "}", quote(values[name]))
    if "{" in pattern:
        raise ExportRefused(f"--url may name {', '.join('{' + name + '}' for name in FIELDS)}: {pattern!r:.200}")
    return pattern
