"""Sends tasks to Label Studio in batches, each task once, whatever is killed.

A batch is recorded as asked before it is sent, and with the tool's ids before the next. After a kill, tasks without an id
are looked up in the tool by their key: an import that is repeated adds them again. What the tool lost of a batch is found by
its counts and sent again (`mending`).
"""

import http.client
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipeline_assets.errors import LabelToolFailed
from pipeline_assets.labeling.campaigns.campaign import Campaign
from pipeline_assets.labeling.exchange.label_studio import key_of
from pipeline_assets.labeling.exchange.mending import mend
from pipeline_assets.labeling.exchange.projects import Project, Tool, busy, ensure_project
from pipeline_assets.labeling.exchange.store import Request, record_campaign, record_requests, requested

BATCH = 1_000
SETTLE_S = 60.0
"""How long the tool may still be working on a batch whose sender was killed, in seconds. A batch takes 1 to 5 s."""
POLL_S = 1.0
TRIES = 3
"""Attempts for tasks that the tool did not add, though it said that it did."""


@dataclass(frozen=True)
class Ask:
    """A task to send: how it is recorded, and the fields of Label Studio's task.

    An annotation in the fields, if there is one, has a `unique_id` (a UUID) and `ground_truth`: the tool's default is true.
    """

    request: Request
    task: Mapping[str, Any]

    @property
    def key(self) -> str:
        """The task's key."""
        return self.request.task_key


@dataclass(frozen=True)
class Pushed:
    """Numbers of tasks: sent now; found in the tool after an earlier kill; asked before; and, of parts of tasks, mended.

    doubles: second copies of tasks that were deleted. left: tasks for which there was no time.
    """

    sent: int = 0
    found: int = 0
    asked_before: int = 0
    mended: int = 0
    doubles: int = 0
    left: int = 0


def push(
    tool: Tool,
    campaign: Campaign,
    asks: Sequence[Ask],
    *,
    batch: int = BATCH,
    settle_s: float = SETTLE_S,
    until: float = math.inf,
) -> tuple[Project, Pushed]:
    """Send the tasks that were not asked there before, in this order. One process at a time.

    until: no batch is begun after this time of `time.monotonic`. Raises AlreadyRunning, QuestionChanged, and the errors of
    `LabelStudio`; what was sent before is recorded then.
    """
    with tool.database.lock(f"push to {tool.name}") as is_mine:
        if not is_mine:
            raise busy(tool.name, "sending tasks")
        record_campaign(tool.database, campaign)
        project = ensure_project(tool, campaign)
        pushing = _Pushing(tool, campaign, project)
        unique = {ask.key: ask for ask in asks}
        found = pushing.adopt(unique.values()) + pushing.settle(settle_s)
        waiting = [ask for ask in unique.values() if pushing.ids.get(ask.key) is None]
        sent = 0
        for sent, some in _batches(waiting, batch):
            pushing.send(some)
            tool.tell(f"{campaign.name}: {sent:,} of {len(waiting):,} tasks sent")
            if time.monotonic() > until:
                break
        doubles = pushing.remove_doubles()
        before, left = len(unique) - len(waiting), len(waiting) - sent
        return project, Pushed(sent, found, before, pushing.mended, doubles, left)


class _Pushing:
    """One push. ids: the tool's task ids by task key; None for a task whose batch was sent, perhaps, and not confirmed."""

    def __init__(self, tool: Tool, campaign: Campaign, project: Project) -> None:
        self._tool, self._campaign, self._project = tool, campaign, project
        known = requested(tool.database, tool.name, campaign)
        self.ids: dict[str, int | None] = {key: None if one is None else int(one) for key, one in known.items()}
        self.mended = 0
        self._newest = self._newest_confirmed()
        self._mine = {key for key, one in self.ids.items() if one is None}

    def adopt(self, asks: Iterable[Ask]) -> int:
        """Record tasks that are there where none is confirmed: of another Darkroom, or of a database that was lost."""
        if self._newest or not self._number_of_tasks():
            return 0
        there = self._look_up({ask.key for ask in asks if ask.key not in self.ids})
        self._record([ask for ask in asks if ask.key in there], there)
        self._newest = self._newest_confirmed()
        return len(there)

    def settle(self, settle_s: float) -> int:
        """Find tasks of a batch that an earlier push did not confirm. Returns their number.

        The tool may still be adding them: it is asked until all are there, or until settle_s after they were sent.
        """
        pending = {key for key, one in self.ids.items() if one is None}
        if not pending:
            return 0
        ends_at = self._sent_at() + settle_s
        found = self._look_up(pending)
        while len(found) < len(pending) and (left_s := ends_at - time.time()) > 0:
            self._tool.tell(f"An earlier push ended within a batch: the tool may still add it. Waiting up to {left_s:.0f} s")
            time.sleep(min(POLL_S, left_s))
            found = self._look_up(pending)
        with self._tool.database.connect() as transaction:
            for key, one in found.items():
                transaction.execute(
                    "update label_requests set tool_task_id = %s where tool = %s and task_key = %s",
                    (str(one), self._tool.name, key),
                )
        self.ids |= found
        return len(found)

    def send(self, asks: Sequence[Ask]) -> None:
        """Send one batch and record it. Raises LabelToolFailed if the tool keeps losing tasks."""
        self._record(asks, {})
        self._mine |= {ask.key for ask in asks}
        for _ in range(TRIES):
            counts = self._import(asks)
            ids = counts.get("task_ids") or []
            if len(ids) == len(asks) == counts.get("task_count"):
                found = {ask.key: int(one) for ask, one in zip(asks, ids, strict=True)}
            else:
                found = self._look_up({ask.key for ask in asks})
            arrived = [ask for ask in asks if ask.key in found]
            tasks = {found[ask.key]: ask.task for ask in arrived}
            self.mended += mend(self._tool.client, self._project.project_id, tasks, counts)
            self._record(arrived, found)
            asks = [ask for ask in asks if ask.key not in found]
            if not asks:
                return
        raise LabelToolFailed(
            f"Label Studio says that it added {len(asks):,} tasks, and they are not there: see its log, then run again. All "
            "others are recorded."
        )

    def remove_doubles(self) -> int:
        """Delete second copies of what this push, or the one that it continues, has sent. Returns their number.

        Those with an answer stay, and those that were there before: they may be another Darkroom's.
        """
        recorded = {one for one in self.ids.values() if one is not None}
        if not self._mine or self._number_of_tasks() <= len(recorded):
            return 0
        second = [
            task["id"]
            for task in self._tasks(self._newest, "id,data,annotations")
            if key_of(task) in self._mine and task["id"] not in recorded and not task["annotations"]
        ]
        for task in second:
            self._tool.client.delete_task(task)
        return len(second)

    def _newest_confirmed(self) -> int:
        return max((one for one in self.ids.values() if one is not None), default=0)

    def _number_of_tasks(self) -> int:
        return self._tool.client.project(self._project.project_id).get("task_number") or 0

    def _import(self, asks: Sequence[Ask]) -> dict[str, Any]:
        self._save_sent_at(datetime.now(UTC))
        try:
            return self._tool.client.import_tasks(self._project.project_id, [ask.task for ask in asks])
        except LabelToolFailed as error:
            if error.status is not None and error.status <= http.client.INTERNAL_SERVER_ERROR:
                self._save_sent_at(None)  # the tool has answered, not a proxy: nothing is on its way
            raise

    def _save_sent_at(self, moment: datetime | None) -> None:
        self._tool.database.execute(
            "update label_projects set sent_at = %s where tool = %s and project_id = %s",
            (moment, self._tool.name, self._project.project_id),
        )

    def _look_up(self, keys: set[str]) -> dict[str, int]:
        """The ids of tasks with these keys, newer than all confirmed ones. Of doubles the first."""
        found: dict[str, int] = {}
        for task in self._tasks(self._newest_confirmed(), "id,data"):
            key = key_of(task)
            if key in keys:
                found.setdefault(key, task["id"])
        return found

    def _tasks(self, after_id: int, fields: str) -> Iterator[dict[str, Any]]:
        for page in self._tool.client.pages(self._project.project_id, after_id, fields=fields):
            yield from page.tasks

    def _record(self, asks: Sequence[Ask], ids: Mapping[str, int]) -> None:
        requests = [
            Request(one.task_key, one.day, one.key, one.target, one.sha256, str(ids[one.task_key]) if ids else None)
            for one in (ask.request for ask in asks)
        ]
        if requests:
            record_requests(self._tool.database, self._tool.name, self._campaign, requests)
        self.ids |= {ask.key: ids.get(ask.key) for ask in asks}

    def _sent_at(self) -> float:
        """When a batch was last sent to this project, in seconds since 1970."""
        query = "select sent_at from label_projects where tool = $1 and project_id = $2"
        sent = self._tool.database.read(query, (self._tool.name, self._project.project_id))["sent_at"]
        moment: datetime | None = sent[0] if len(sent) else None
        return moment.timestamp() if moment else 0.0


def _batches(asks: Sequence[Ask], size: int) -> Iterator[tuple[int, Sequence[Ask]]]:
    """Batches, each with the number of tasks up to its end."""
    for start in range(0, len(asks), size):
        some = asks[start : start + size]
        yield start + len(some), some
