"""Campaigns, tasks and annotators for tests of the exchange with a real Label Studio."""

import hashlib
import secrets
import uuid
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import polars as pl

from pipeline_assets.labeling.campaigns.campaign import Campaign
from pipeline_assets.labeling.campaigns.tasks import task_key
from pipeline_assets.labeling.exchange.asking import asks_of
from pipeline_assets.labeling.exchange.label_studio import LabelStudio
from pipeline_assets.labeling.exchange.projects import Project, Tool, projects_of, recorded_campaign
from pipeline_assets.labeling.exchange.pull import Pulled, pull
from pipeline_assets.labeling.exchange.push import Ask
from pipeline_assets.labeling.exchange.reading import reader_of
from pipeline_assets.labeling.exchange.store import requested
from pipeline_assets.labeling.schemas import LabelTasks

DAY = date(2026, 3, 1)
CLASSES = ["cat", "dog"]


def campaign_of(**fields: Any) -> Campaign:
    """A question about titles, under a name of its own: tests share one server."""
    given = {"name": f"c-{secrets.token_hex(4)}", "question": "Which animal?", "kind": "class", "classes": CLASSES}
    return Campaign.model_validate({**given, "target": "title", "votes": 2, **fields})


def tasks_of(campaign: Campaign, number: int, *, gold: Sequence[int] = (), predicted: bool = False) -> pl.DataFrame:
    """Rows of `LabelTasks` about as many titles. gold: positions of those whose answer is known."""
    rows = []
    for position in range(number):
        sha256 = hashlib.sha256(f"{campaign.name} {position}".encode()).hexdigest()
        rows.append(
            {
                "day": DAY,
                "task_key": task_key(campaign.name, campaign.version, campaign.target, sha256),
                "campaign": campaign.name,
                "version": campaign.version,
                "key": f"uploads/{DAY}/7/{position}.jpg",
                "target": campaign.target,
                "sha256": sha256,
                "media_type": "image/jpeg",
                "width_px": 320,
                "height_px": 240,
                "title": f"title {position}",
                "priority": 1 - position / (2 * number),
                "reason": "gold" if position in gold else "new",
                "is_gold": position in gold,
                "gold_json": '{"choice":"cat"}' if position in gold else None,
                "votes_wanted": campaign.votes,
                "prediction_json": '{"choice":"dog"}' if predicted else None,
                "prediction_probability": 0.75 if predicted else None,
                "prediction_model": "model-1" if predicted else None,
            }
        )
    return LabelTasks.cast(_frame(rows))


def _frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    schema = LabelTasks.create_empty().schema
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)


def asks(campaign: Campaign, number: int, **options: Any) -> list[Ask]:
    """The same, as they are sent."""
    sent, unfit = asks_of(campaign, tasks_of(campaign, number, **options), lambda key: f"https://photos.example/{key}")
    assert not unfit
    return sent


def choice(name: str) -> list[dict[str, Any]]:
    """A result of Label Studio: one choice."""
    return [{"from_name": "answer", "to_name": "item", "type": "choices", "value": {"choices": [name]}}]


def annotation(name: str, **fields: Any) -> dict[str, Any]:
    return {"result": choice(name), "unique_id": str(uuid.uuid4()), "ground_truth": False, "lead_time": 1.5, **fields}


def pulled(tool: Tool, campaign: Campaign, **options: Any) -> Pulled:
    """A pull of the campaign's projects."""
    total = Pulled()
    for project in projects_of(tool.database, tool.name, campaign.name):
        total += pull(tool, project, reader(tool, project), **options)
    return total


def reader(tool: Tool, project: Project) -> Any:
    asked = recorded_campaign(tool.database, project)
    return reader_of(tool.name, asked, requested(tool.database, tool.name, asked), {})


def answers(tool: Tool, campaign: Campaign) -> pl.DataFrame:
    """The newest revision of each answer to the campaign, by the tool's task."""
    frame = tool.database.read(
        "select a.task_key, a.source_id, a.revision, a.answer_json, a.is_cancelled, a.is_deleted, a.annotator"
        " from label_answers a join label_requests r on r.task_key = a.task_key and r.tool = a.source"
        " where r.campaign = $1 order by a.source_id, a.revision",
        (campaign.name,),
    )
    newest = frame.unique("source_id", keep="last", maintain_order=True)
    return newest.sort(pl.col("source_id").str.split("/").list.first().cast(pl.Int64), maintain_order=True)


def tasks_in_tool(client: LabelStudio, project: int) -> list[dict[str, Any]]:
    """All tasks of a project: id, data, annotations, predictions."""
    fields = "id,data,annotations,predictions,result,model_version,score,was_cancelled,updated_at"
    return [task for page in client.pages(project, fields=fields) for task in page.tasks]
