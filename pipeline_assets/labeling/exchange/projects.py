"""Projects in Label Studio, one for each version of a campaign's question, and how far their answers were pulled."""

import hashlib
import html
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pipeline_assets.labeling.campaigns.campaign import Campaign, parse_definition
from pipeline_assets.labeling.exchange.label_studio import LabelStudio
from pipeline_assets.labeling.services.label_config import label_config
from resources.database.contract import Database
from resources.errors import AlreadyRunning
from resources.servers.label_studio import Account

MAX_TITLE = 50
MIN_TITLE = 3


@dataclass(frozen=True)
class Project:
    """A project and its cursor. Times are the tool's, as ISO texts.

    pulled_since: everything that changed before was pulled; None: nothing was. pass_began: the time at which the present
    pass began, None between passes; pass_after: the pass has read the tasks up to this id.
    """

    campaign: str
    version: int
    project_id: int
    pulled_since: str | None = None
    pass_began: str | None = None
    pass_after: int = 0


@dataclass(frozen=True)
class Tool:
    """A Label Studio, its name in our tables, and the database that knows what was asked there."""

    name: str
    client: LabelStudio
    database: Database
    tell: Callable[[str], object]


def name_of(account: Account) -> str:
    """The tool's name in our tables. It stays when the embedded server gets another port."""
    return f"label-studio:{account.instance}"


def tool_of(account: Account, database: Database, tell: Callable[[str], object]) -> Tool:
    """The tool of an account."""
    return Tool(name_of(account), LabelStudio(account.url, account.token), database, tell)


def title_of(campaign: str, version: int) -> str:
    """A project's title, of 3 to 50 characters, another one for each version of each campaign."""
    title = f"{campaign} v{version}"
    if len(title) <= MAX_TITLE:
        return title
    digest = hashlib.sha256(title.encode()).hexdigest()[:8]
    return f"{title[: MAX_TITLE - len(digest) - 1]}~{digest}"


def fields_of(campaign: Campaign) -> dict[str, object]:
    """The settings of a campaign's project. An empty answer is one only where no mark is an answer."""
    return {
        "title": title_of(campaign.name, campaign.version),
        "description": campaign.question[:1_000],
        "label_config": label_config(campaign),
        "expert_instruction": html.escape(campaign.instructions).replace("\n", "<br>"),
        "show_instruction": bool(campaign.instructions),
        "maximum_annotations": campaign.votes,
        "sampling": "Sequential sampling",
        "enable_empty_annotation": campaign.kind not in ("class", "text", "ranking"),
        "show_skip_button": True,
    }


def ensure_project(tool: Tool, campaign: Campaign) -> Project:
    """The project of this version, created if it is missing. One that a killed push created is found by its title."""
    if known := project_of(tool.database, tool.name, campaign.name, campaign.version):
        tool.client.change_project(known.project_id, {"maximum_annotations": campaign.votes})
        return known
    fields = fields_of(campaign)
    existing = tool.client.projects(str(fields["title"]))
    project = Project(campaign.name, campaign.version, existing[0]["id"] if existing else tool.client.create_project(fields))
    tool.database.execute(
        "insert into label_projects (tool, campaign, version, project_id) values (%s, %s, %s, %s) on conflict do nothing",
        (tool.name, project.campaign, project.version, project.project_id),
    )
    return project


_SELECT = "select campaign, version, project_id, pulled_since, pass_began, pass_after from label_projects"


def project_of(database: Database, tool: str, campaign: str, version: int) -> Project | None:
    """The recorded project of a version."""
    return next((one for one in projects_of(database, tool, campaign) if one.version == version), None)


def projects_of(database: Database, tool: str, campaign: str | None = None) -> list[Project]:
    """The recorded projects of a tool, or of a campaign there, by campaign and version."""
    rows = database.rows(f"{_SELECT} where tool = %s order by campaign, version", (tool,))
    return [one for one in (Project(*row) for row in rows) if campaign in (None, one.campaign)]


def save_cursor(database: Database, tool: str, project: Project) -> None:
    """Record how far a project was pulled."""
    database.execute(
        "update label_projects set pulled_since = %s, pass_began = %s, pass_after = %s, pulled_at = %s"
        " where tool = %s and campaign = %s and version = %s",
        (
            project.pulled_since,
            project.pass_began,
            project.pass_after,
            datetime.now(UTC),
            tool,
            project.campaign,
            project.version,
        ),
    )


def read_again(project: Project) -> Project:
    """The same project with nothing pulled: the next pull reads all its tasks."""
    return replace(project, pulled_since=None, pass_began=None, pass_after=0)


def recorded_campaign(database: Database, project: Project) -> Campaign:
    """What was asked in a project."""
    [(definition,)] = database.rows(
        "select definition from label_campaigns where campaign = %s and version = %s", (project.campaign, project.version)
    )
    return parse_definition(definition)


def busy(tool: str, what: str) -> AlreadyRunning:
    """The error of a second process that writes to the same tool."""
    return AlreadyRunning(
        f"Another process is {what} ({tool}): two would lose or double answers. Run again when it has ended; "
        "`darkroom ui` does both by itself."
    )
