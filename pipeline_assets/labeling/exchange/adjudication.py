"""What a person has to decide, and their decisions, which are answers of the source `adjudication`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from pipeline_assets.labeling.campaigns import answer
from pipeline_assets.labeling.campaigns.answer import Answer
from pipeline_assets.labeling.campaigns.campaign import Campaign
from pipeline_assets.labeling.campaigns.votes import ADJUDICATION
from pipeline_assets.labeling.exchange import store
from resources.database.contract import Database
from resources.lake.lake import Lake


@dataclass(frozen=True)
class Dispute:
    """An item that needs a decision. proposed: the consensus, if there is one; given: answers by pseudonym, JSON."""

    task_key: str
    key: str
    target: str
    sha256: str
    reason: str
    proposed: str | None
    given: Mapping[str, str]


def disputes(lake: Lake, database: Database, campaign: Campaign) -> list[Dispute]:
    """The items of a campaign's version that need adjudication, and have none yet; the least certain come first."""
    if not (lake.exists("label_consensus") and lake.exists("label_votes")):
        return []
    of_campaign = (pl.col("campaign") == campaign.name) & (pl.col("version") == campaign.version)
    rows = (
        lake.scan("label_consensus")
        .filter(of_campaign & pl.col("needs_adjudication"))
        .select("task_key", "key", "target", "sha256", "reason", "answer_json", "confidence")
        .collect()
    )
    revisions = database.read(
        "select task_key, source_id, revision, is_deleted from label_answers where source = $1", (ADJUDICATION,)
    )
    newest = revisions.sort("revision").unique("source_id", keep="last")
    open_rows = rows.join(newest.filter(~pl.col("is_deleted")), on="task_key", how="anti").sort(
        "confidence", "task_key", nulls_last=False
    )
    votes = (
        lake.scan("label_votes")
        .filter(of_campaign & pl.col("counts"))
        .select("task_key", "annotator", "answer_json")
        .collect()
        .join(open_rows.select("task_key"), on="task_key", how="semi")
        .sort("task_key", "annotator")
    )
    given = {key: dict(some.select("annotator", "answer_json").iter_rows()) for (key,), some in votes.group_by("task_key")}
    return [
        Dispute(
            row["task_key"],
            row["key"],
            row["target"],
            row["sha256"],
            row["reason"] or "",
            row["answer_json"],
            given.get(row["task_key"], {}),
        )
        for row in open_rows.iter_rows(named=True)
    ]


def decide(database: Database, campaign: Campaign, dispute: Dispute, labels: Any, adjudicator: str, now: datetime) -> None:
    """Record a decision, which replaces an earlier one. Raises UnfitParent if it is no answer to the question.

    labels: an answer, as an object or as its JSON. adjudicator: becomes a pseudonym, as every annotator.
    """
    given = json.loads(labels) if isinstance(labels, str) else labels
    text = answer.canonical(campaign.kind, campaign.classes, given)
    earlier = database.rows(
        "select max(revision) from label_answers where source = %s and source_id = %s", (ADJUDICATION, dispute.task_key)
    )[0][0]
    # A clock that was set back makes no decision an earlier one.
    revision = max(int(now.timestamp() * 1_000_000), (earlier or 0) + 1)
    store.land(
        database,
        [Answer(ADJUDICATION, dispute.task_key, revision, dispute.task_key, adjudicator, now.astimezone(UTC), None, text)],
    )
