"""Votes for tests: rows of the table, of (task, annotator, answer) and what else a test says."""

from datetime import UTC, datetime
from typing import Any

import polars as pl

from pipeline_assets.labeling import label_json

SCHEMA = {
    "source": pl.String(),
    "source_id": pl.String(),
    "task_key": pl.String(),
    "annotator": pl.String(),
    "answered_at": pl.Datetime("us", "UTC"),
    "lead_time_s": pl.Float64(),
    "answer_json": pl.String(),
    "is_cancelled": pl.Boolean(),
    "is_deleted": pl.Boolean(),
    "is_adjudication": pl.Boolean(),
    "counts": pl.Boolean(),
    "is_gold_correct": pl.Boolean(),
}
NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def vote(task: str, annotator: str, answer: Any, **more: Any) -> dict[str, Any]:
    """answer: a class, or labels, or None."""
    labels = {"choice": answer} if isinstance(answer, str) else answer
    row = {
        "source": "simulated",
        "source_id": f"{task}/{annotator}",
        "task_key": task,
        "annotator": annotator,
        "answered_at": NOON,
        "lead_time_s": 4.0,
        "answer_json": None if labels is None else label_json.dump(labels),
        "is_cancelled": False,
        "is_deleted": False,
        "is_adjudication": False,
        "is_gold_correct": None,
    }
    row |= more
    return {"counts": not (row["is_cancelled"] or row["is_deleted"] or row["is_adjudication"])} | row


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=SCHEMA)


def of_classes(table: dict[str, str]) -> pl.DataFrame:
    """Votes of {task: "a:cat b:dog"}."""
    return frame(*(vote(task, *ballot.split(":")) for task, ballots in table.items() for ballot in ballots.split()))
