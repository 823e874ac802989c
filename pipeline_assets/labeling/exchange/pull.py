"""Fetches answers from Label Studio, each edit once, whatever is killed.

A pass reads all tasks that changed since the last pass, page by page in the order of their ids; the first one reads all. The
cursor moves after a page's answers have landed. What changes meanwhile belongs to the next pass: that one begins a little
before this one did, by the tool's clock, since the tool may store a change some seconds after its time. Answers that were
deleted in the tool get a revision that says so; if it shows them again, they get one more.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from pipeline_assets.errors import LabelToolFailed
from pipeline_assets.labeling.campaigns.answer import Answer
from pipeline_assets.labeling.exchange import live_answers, store
from pipeline_assets.labeling.exchange.label_studio import PAGE, Page, iso, key_of
from pipeline_assets.labeling.exchange.projects import Project, Tool, busy, read_again, recorded_campaign, save_cursor
from pipeline_assets.labeling.exchange.reading import Reader
from pipeline_assets.labeling.exchange.store import Landed

OVERLAP = timedelta(seconds=30)
"""The tool's time of a change may be so much older than the moment at which others see it: a large import takes seconds."""


@dataclass(frozen=True)
class Pulled:
    """Numbers of answers, of those deleted in the tool, those that can't be read, and of foreign tasks in the project."""

    landed: Landed = field(default_factory=Landed)
    deleted: int = 0
    unreadable: int = 0
    foreign: int = 0

    def __add__(self, other: "Pulled") -> "Pulled":
        return Pulled(
            self.landed + other.landed,
            self.deleted + other.deleted,
            self.unreadable + other.unreadable,
            self.foreign + other.foreign,
        )


def pull(tool: Tool, project: Project, reader: Reader, *, page_size: int = PAGE, until: float = math.inf) -> Pulled:
    """Fetch the answers that changed since the last pull. Continues a pass that was interrupted. One process at a time.

    reader: reads this project's answers. until: no page is begun after this time of `time.monotonic`.
    Raises AlreadyRunning and the errors of `LabelStudio`.
    """
    with tool.database.lock(f"pull from {tool.name}") as is_mine:
        if not is_mine:
            raise busy(tool.name, "fetching answers")
        pulled = Pulled()
        present = _begun(tool, project)
        while True:
            page = tool.client.page(present.project_id, present.pass_after, since=present.pulled_since, size=page_size)
            pulled += _land(tool, present, reader, page)
            if page.is_last:
                break
            present = replace(present, pass_after=page.tasks[-1]["id"])
            save_cursor(tool.database, tool.name, present)
            if time.monotonic() > until:
                return pulled
            tool.tell(f"{present.campaign}: {pulled.landed.new + pulled.landed.revised:,} answers so far")
        save_cursor(
            tool.database, tool.name, replace(present, pulled_since=present.pass_began, pass_began=None, pass_after=0)
        )
        return pulled


@dataclass
class Comparison:
    """How far all ids of a project were compared. listed: tasks up to the id after_id."""

    after_id: int = 0
    listed: int = 0
    is_done: bool = False


def reconcile(tool: Tool, project: Project, so_far: Comparison | None = None, *, until: float = math.inf) -> int:
    """Compare all ids in the tool with ours; for every night, after a pull. Returns the number of answers that are gone.

    A deleted task leaves no trace among changes: its answers get a revision that says that they were deleted. If the tool
    has an answer that we don't, or one that we think is deleted, the next pull reads everything again.

    so_far: where to begin; it is moved on. until: no page is begun after this time of `time.monotonic`. Raises
    LabelToolFailed if the tool lists fewer tasks than it says that there are: nothing counts as deleted then.
    """
    so_far = so_far or Comparison()
    with tool.database.lock(f"pull from {tool.name}") as is_mine:
        if not is_mine:
            raise busy(tool.name, "fetching answers")
        live = {one.source_id: one for one in live_answers.of_project(tool.database, tool.name, project)}
        asked = store.requested(tool.database, tool.name, recorded_campaign(tool.database, project))
        gone = 0
        while not so_far.is_done:
            page = _listed(tool, project, so_far)
            last = math.inf if page.is_last else page.tasks[-1]["id"]
            existing = {
                live_answers.source_id(task["id"], annotation["id"])
                for task in page.tasks
                if key_of(task) in asked
                for annotation in task["annotations"]
            }
            missing = [one for one in live.values() if so_far.after_id < one.tool_task <= last]
            missing = [one for one in missing if one.source_id not in existing]
            store.land(tool.database, (one.deleted(tool.name) for one in missing))
            gone += len(missing)
            if existing - live.keys():
                save_cursor(tool.database, tool.name, read_again(project))
            so_far.listed += len(page.tasks)
            so_far.is_done = page.is_last
            so_far.after_id = page.tasks[-1]["id"] if page.tasks else so_far.after_id
            if time.monotonic() > until:
                break
        return gone


def _listed(tool: Tool, project: Project, so_far: Comparison) -> Page:
    """The next tasks with their annotations. Raises LabelToolFailed if the tool keeps some back."""
    number = tool.client.project(project.project_id).get("task_number")
    page = tool.client.page(project.project_id, so_far.after_id, fields="id,data,annotations")
    if not isinstance(number, int) or so_far.listed + page.total < number:
        raise LabelToolFailed(
            f"Label Studio lists {so_far.listed + page.total:,} tasks of {project.campaign}, version {project.version}, and "
            f"says that it has {number!r:.40}: see its log, then run again. Nothing counts as deleted.",
            is_passing=True,
        )
    return page


def _begun(tool: Tool, project: Project) -> Project:
    """The project within a pass: the one that was interrupted, or a new one."""
    if project.pass_began is not None:
        return project
    tool.client.project(project.project_id)
    now = tool.client.server_time or datetime.now(UTC)
    return replace(project, pass_began=iso(now - OVERLAP), pass_after=0)


def _land(tool: Tool, project: Project, reader: Reader, page: Page) -> Pulled:
    """Store the answers of a page and the deletions that it shows."""
    keys = {**reader.keys, **_adopted(tool, project, reader, page)}
    answers: list[Answer] = []
    unreadable = 0
    deletions = live_answers.deleted_of_tasks(
        tool.database, tool.name, {keys[task["id"]] for task in page.tasks if task["id"] in keys}
    )
    for task in page.tasks:
        if task["id"] not in keys:
            continue
        for annotation in task["annotations"]:
            answer, is_readable = reader.answer(task["id"], keys[task["id"]], annotation)
            if (deleted_by := deletions.get(answer.source_id, -1)) >= answer.revision:
                answer = replace(answer, revision=deleted_by + 1)  # it was hidden, and is there after all
            answers.append(answer)
            unreadable += not is_readable
    tasks = {task["id"] for task in page.tasks if task["id"] in keys}
    live = live_answers.of_tasks(tool.database, tool.name, {keys[task] for task in tasks})
    present = {one.source_id for one in answers}
    deleted = [one.deleted(tool.name) for one in live if one.tool_task in tasks and one.source_id not in present]
    landed = store.land(tool.database, [*answers, *deleted])
    foreign = sum(task["id"] not in keys for task in page.tasks)
    return Pulled(replace(landed, revised=landed.revised - len(deleted)), len(deleted), unreadable, foreign)


def _adopted(tool: Tool, project: Project, reader: Reader, page: Page) -> Mapping[int, str]:
    """Keys of tasks whose ids are not recorded: a push was killed before it could, or somebody copied a task."""
    unknown = [task["id"] for task in page.tasks if task["id"] not in reader.keys]
    if not unknown:
        return {}
    keys: dict[int, str] = {}
    pages = tool.client.pages(project.project_id, unknown[0] - 1, since=project.pulled_since, fields="id,data")
    for some in pages:
        keys |= {task["id"]: key_of(task) for task in some.tasks}
        if some.tasks[-1]["id"] >= unknown[-1]:
            break
    return {one: keys[one] for one in unknown if keys.get(one) in reader.asked}
