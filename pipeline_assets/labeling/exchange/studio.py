"""What `darkroom label push`, `pull` and `status` do with Label Studio, for one campaign; the sensor does the same."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import polars as pl

from pipeline_assets.errors import BadSelection, DarkroomError, LabelToolAway
from pipeline_assets.labeling.campaigns.answer import MARK_KINDS
from pipeline_assets.labeling.campaigns.campaign import Campaign
from pipeline_assets.labeling.exchange.asking import asks_of, items_of, of_campaign
from pipeline_assets.labeling.exchange.media import media_of
from pipeline_assets.labeling.exchange.projects import (
    Project,
    Tool,
    name_of,
    project_of,
    projects_of,
    recorded_campaign,
    tool_of,
)
from pipeline_assets.labeling.exchange.pull import Comparison, Pulled, pull, reconcile
from pipeline_assets.labeling.exchange.push import SETTLE_S, Ask, Pushed, push
from pipeline_assets.labeling.exchange.reading import reader_of
from pipeline_assets.labeling.exchange.store import requested
from pipeline_assets.versioning.pin.condition import condition, condition_errors
from resources.database.contract import Database
from resources.errors import AlreadyRunning, ResourceError, TableMissing
from resources.lake.lake import open_lake
from resources.servers import labeling
from resources.settings import Settings

TASKS = "label_tasks"


@dataclass(frozen=True)
class Counts:
    """How a version of a campaign stands in a tool. in_tool: None if the tool did not answer."""

    project: Project
    asked: int
    answers: int
    in_tool: tuple[int, int] | None


@contextmanager
def opened(settings: Settings, database: Database, tell: Callable[[str], object]) -> Iterator[Tool]:
    """The Label Studio of these settings, for a block. Raises LabelToolAway if it does not run."""
    account = labeling.found(settings)
    if account is None:
        raise LabelToolAway(
            "Label Studio does not run: start it with `darkroom label up`, or set DARKROOM_LABEL_STUDIO_URL and "
            "DARKROOM_LABEL_STUDIO_TOKEN to yours."
        )
    tool = tool_of(account, database, tell)
    with tool.client:
        yield tool


def found_name(settings: Settings) -> str | None:
    """The name of the Label Studio of these settings in our tables, also while it does not run; None if there was none."""
    account = labeling.known(settings)
    return name_of(account) if account else None


def tasks_of(settings: Settings, campaign: Campaign) -> pl.DataFrame:
    """The campaign's tasks. Raises TableMissing with what computes them."""
    try:
        return of_campaign(open_lake(settings).scan(TASKS), campaign)
    except TableMissing:
        raise TableMissing(
            f"There are no tasks yet: `darkroom refresh --asset {TASKS}` computes them from uploads and campaigns."
        ) from None


def planned(settings: Settings, campaign: Campaign, where: str | None = None) -> tuple[list[Ask], int]:
    """What a push would send, were nothing asked yet; and the number of tasks that the interface can't show.

    where: see `of_photos`.
    """
    tasks = tasks_of(settings, campaign)
    if where is not None:
        tasks = of_photos(tasks, open_lake(settings).scan("training_table"), where)
    return asks_of(campaign, tasks, media_of(settings).url_of)


def of_photos(tasks: pl.DataFrame, photos: pl.LazyFrame, where: str) -> pl.DataFrame:
    """The tasks about photos that match an SQL expression over the columns of TrainingTable, and all with known answers.

    Raises BadSelection for a wrong condition, and for tasks about something else than photos.
    """
    if (tasks["target"] != "upload").any():
        raise BadSelection("A condition chooses among photos: this campaign asks about something else.")
    with condition_errors(where):
        matching = photos.filter(condition(photos, where, photos.collect_schema().names())).select("day", "sha256")
        found = matching.unique().with_columns(is_chosen=True).collect(engine="streaming")
    is_chosen = tasks.join(found, on=["day", "sha256"], how="left", maintain_order="left")["is_chosen"].fill_null(False)
    return tasks.filter(is_chosen | tasks["is_gold"])


def push_campaign(
    settings: Settings,
    tool: Tool,
    campaign: Campaign,
    *,
    where: str | None = None,
    settle_s: float = SETTLE_S,
    until: float = math.inf,
) -> Pushed:
    """Send a campaign's new tasks, and let its project show their media. where: see `of_photos`; until: see `push`."""
    asks, _ = planned(settings, campaign, where)
    project, pushed = push(tool, campaign, asks, settle_s=settle_s, until=until)
    if campaign.target == "upload":
        media_of(settings).connect(tool.client, project.project_id)
    return pushed


def pull_campaign(
    settings: Settings,
    tool: Tool,
    name: str,
    *,
    compared: dict[int, Comparison] | None = None,
    until: float = math.inf,
    done: list[Pulled] | None = None,
) -> Pulled:
    """Fetch the answers to all versions of a campaign.

    compared: how far all ids of each version were compared, for deleted tasks; it is moved on. None: they are not. until:
    see `pull`. done: gets what each version brought. An error of one version is raised after the others had their turn.
    """
    done = [] if done is None else done
    errors: list[DarkroomError | ResourceError] = []
    for project in projects_of(tool.database, tool.name, name):
        try:
            done.append(_pull_version(settings, tool, project, until))
            if compared is not None:
                done += _compare_version(settings, tool, project, compared, until)
        except (AlreadyRunning, LabelToolAway):
            raise
        except (DarkroomError, ResourceError) as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return sum(done, Pulled())


def _pull_version(settings: Settings, tool: Tool, project: Project, until: float) -> Pulled:
    campaign = recorded_campaign(tool.database, project)
    items = {}
    if campaign.kind in MARK_KINDS:  # marks need the sizes of photos, and spans the text
        items = items_of(tasks_of(settings, campaign))
    reader = reader_of(tool.name, campaign, requested(tool.database, tool.name, campaign), items)
    return pull(tool, project, reader, until=until)


def _compare_version(
    settings: Settings, tool: Tool, project: Project, compared: dict[int, Comparison], until: float
) -> list[Pulled]:
    """Compare all ids once all changes are fetched; what the changes did not show is fetched then."""
    present = project_of(tool.database, tool.name, project.campaign, project.version)
    so_far = compared.setdefault(project.version, Comparison())
    if present is None or present.pass_began is not None or so_far.is_done or time.monotonic() > until:
        return []
    done = [Pulled(deleted=reconcile(tool, present, so_far, until=until))]
    present = project_of(tool.database, tool.name, project.campaign, project.version)
    if present is not None and present.pulled_since is None and time.monotonic() <= until:
        done.append(_pull_version(settings, tool, present, until))
    return done


def counts_of(database: Database, tool_name: str, tool: Tool | None, name: str | None = None) -> list[Counts]:
    """How each version of a campaign, or of all, stands. tool: to ask how many tasks and answers it has."""
    counts = []
    for project in projects_of(database, tool_name, name):
        ids = requested(database, tool_name, recorded_campaign(database, project))
        query = (
            "select count(*) as n from label_answers a where a.source = $1 and not a.is_deleted and not a.is_cancelled"
            " and a.revision = (select max(b.revision) from label_answers b"
            " where b.source = a.source and b.source_id = a.source_id)"
            " and a.task_key in (select task_key from label_requests where tool = $1 and campaign = $2 and version = $3)"
        )
        answers = int(database.read(query, (tool_name, project.campaign, project.version)).item())
        there = tool.client.project(project.project_id) if tool else None
        counts.append(Counts(project, len(ids), answers, _in_tool(there) if there else None))
    return counts


def _in_tool(project: dict[str, Any]) -> tuple[int, int]:
    """Numbers of tasks and answers in a project."""
    return int(project.get("task_number") or 0), int(project.get("total_annotations_number") or 0)
