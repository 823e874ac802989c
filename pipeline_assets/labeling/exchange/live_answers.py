"""Answers of a labeling tool that count in our database: what a deletion in the tool takes back.

The `source_id` of a pulled answer is `TASK/ANNOTATION`, both ids of the tool.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from pipeline_assets.labeling.campaigns.answer import Answer
from pipeline_assets.labeling.exchange.projects import Project
from resources.database.contract import Database

AT_ONCE = 500
"""Task keys of one query."""


@dataclass(frozen=True)
class Live:
    """The newest revision of an answer that was not deleted. annotator: the tool's id of the person."""

    source_id: str
    revision: int
    task_key: str
    annotator: str
    answered_at: datetime

    @property
    def tool_task(self) -> int:
        """The tool's id of its task."""
        return int(self.source_id.partition("/")[0])

    def deleted(self, source: str) -> Answer:
        """The revision that says that the answer is gone."""
        return Answer(
            source, self.source_id, self.revision + 1, self.task_key, self.annotator, self.answered_at, is_deleted=True
        )


def source_id(task: int, annotation: int) -> str:
    """Our id of an annotation."""
    return f"{task}/{annotation}"


_NEWEST = """
select a.source_id, a.revision, a.task_key, p.external_id, a.answered_at
from label_answers a
join label_annotators p on p.source = a.source and p.pseudonym = a.annotator
where a.source = $1 and {} and {}
    and a.revision = (select max(b.revision) from label_answers b where b.source = a.source and b.source_id = a.source_id)
"""
_OF_PROJECT = (
    "a.task_key in (select r.task_key from label_requests r where r.tool = $1 and r.campaign = $2 and r.version = $3)"
)


def of_tasks(database: Database, tool: str, task_keys: Collection[str]) -> list[Live]:
    """The answers to these tasks."""
    return _of_tasks(database, tool, task_keys, "not a.is_deleted")


def deleted_of_tasks(database: Database, tool: str, task_keys: Collection[str]) -> dict[str, int]:
    """The revisions that deleted answers to these tasks, by our ids of them."""
    return {one.source_id: one.revision for one in _of_tasks(database, tool, task_keys, "a.is_deleted")}


def _of_tasks(database: Database, tool: str, task_keys: Collection[str], condition: str) -> list[Live]:
    keys, found = sorted(task_keys), list[Live]()
    for start in range(0, len(keys), AT_ONCE):
        some = keys[start : start + AT_ONCE]
        marks = ", ".join(f"${number}" for number in range(2, len(some) + 2))
        found += _read(database.read(_NEWEST.format(condition, f"a.task_key in ({marks})"), (tool, *some)))
    return found


def of_project(database: Database, tool: str, project: Project) -> list[Live]:
    """All answers to the tasks of a project."""
    return _read(database.read(_NEWEST.format("not a.is_deleted", _OF_PROJECT), (tool, project.campaign, project.version)))


def _read(frame: pl.DataFrame) -> list[Live]:
    return [Live(*row) for row in frame.iter_rows()]
