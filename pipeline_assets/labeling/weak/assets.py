"""The assets of labeling functions: their votes, the labels that come of them, and how good they are."""

import ast
import hashlib
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import polars as pl

from pipeline_assets.errors import BadLabelingFunctions
from pipeline_assets.framework.code_version import Chosen
from pipeline_assets.framework.declaration import RunOfDays, Table
from pipeline_assets.framework.digest import code_digest
from pipeline_assets.framework.partitions import DECLARED, SAME_DAY, Days
from pipeline_assets.framework.schemas import Rejected
from pipeline_assets.framework.table_asset import table_asset
from pipeline_assets.labeling import label_json
from pipeline_assets.labeling.campaigns import answer, campaign
from pipeline_assets.labeling.campaigns.campaign import Campaign
from pipeline_assets.labeling.consensus import quality as shares
from pipeline_assets.labeling.weak import functions, model, modules, quality, rows
from pipeline_assets.labeling.weak.schemas import WeakFunctions, WeakLabels, WeakVotes
from resources.campaigns import CampaignFiles

VOTES = Days(-rows.WINDOW_DAYS, 0)
EARLIER = Days(-rows.WINDOW_DAYS, -1)


def _with_functions(campaigns: CampaignFiles) -> list[Campaign]:
    """The campaigns that have labeling functions. `label_tasks` says of a faulty file what is wrong with it."""
    usable, _ = campaign.usable(campaigns.path, mentioning="weak")
    return [one for one in usable if one.weak is not None]


def functions_text(campaigns: CampaignFiles) -> str:
    """The modules that campaigns name, with a digest of the code of each: a change of it makes every day stale."""
    names = sorted({one.weak for one in _with_functions(campaigns) if one.weak is not None})
    return " ".join(f"{name} {_digest(modules.sources(name, campaigns.path))}" for name in names)


def _digest(paths: Sequence[Path]) -> str:
    """Of the code of files, with what they import: by their bytes if one is no Python, which the day's run says."""
    try:
        return code_digest([*paths, *map(_imports, paths)]) if paths else "absent"
    except (SyntaxError, ValueError, RecursionError):
        return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def _imports(path: Path) -> str:
    """The imports of a file: as code they compute nothing, but they choose the functions."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return "\n".join(ast.unparse(node) for node in nodes if isinstance(node, ast.Import | ast.ImportFrom))


MODULES = Chosen.by(
    "campaigns",
    functions_text,
    "code",
    "labeling functions",
    functions_text(CampaignFiles(folder=str(DECLARED.campaigns))),
)


def _campaigns(days: Sequence[date], campaigns: CampaignFiles) -> Mapping[date, str]:
    """For each day, a digest of the campaigns that have labeling functions."""
    found = _with_functions(campaigns)
    asking = {day: [one.digest for one in found if one.first_day is None or one.first_day <= day] for day in days}
    return {day: " ".join(digests) for day, digests in asking.items() if digests}


@table_asset(
    schema=WeakVotes,
    group="labeling",
    inputs=dict.fromkeys(("label_tasks", "raw_uploads", "photo_metadata", "photo_classes"), SAME_DAY),
    sources=_campaigns,
    code=[rows, functions, modules, campaign, answer, label_json, MODULES],
    kinds={"python", "polars"},
    quarantines=True,
    automatic=True,
    lineage={"task_key": [("label_tasks", "task_key")], "gold_json": [("label_tasks", "gold_json")]},
)
def weak_votes(
    run: RunOfDays,
    label_tasks: pl.LazyFrame,
    raw_uploads: pl.LazyFrame,
    photo_metadata: pl.LazyFrame,
    photo_classes: pl.LazyFrame,
    campaigns: CampaignFiles,
) -> Table:
    """What a campaign's labeling functions (`weak: MODULE` in its file) say of each of its items.

    They are functions of your own on frames. One that raises on a row, or returns what is no class, abstains there, and is
    listed in `weak_votes_rejected` with its reason; the others go on.
    """
    asking = _with_functions(campaigns)
    found: list[pl.DataFrame] = [WeakVotes.create_empty()]
    rejected: list[pl.DataFrame] = [Rejected.create_empty()]
    seen = rows.items(label_tasks, raw_uploads, photo_metadata, photo_classes) if asking else pl.DataFrame()
    tasks = label_tasks.collect() if asking else pl.DataFrame()
    for one in asking:
        try:
            of_module = functions.load(one.weak or "", campaigns.path)
        except BadLabelingFunctions as error:
            rejected.append(rows.unusable(one, run.days, str(error)))
            continue
        votes, aside = rows.votes(one, of_module, seen, tasks)
        found.append(votes)
        rejected.append(aside)
    return Table(pl.concat(found), rejected=pl.concat(rejected))


@table_asset(
    schema=WeakLabels,
    group="labeling",
    inputs={"weak_votes": VOTES, "label_consensus": EARLIER},
    code=[rows, model, quality, shares, campaign, answer, label_json],
    kinds={"numpy", "polars"},
    days_per_run=60,
    lineage={"votes_json": [("weak_votes", "votes_json")], "answer_json": [("weak_votes", "votes_json")]},
)
def weak_labels(run: RunOfDays, weak_votes: pl.LazyFrame, label_consensus: pl.LazyFrame) -> pl.DataFrame:
    """The label of each item by labeling functions: by the model that is best on earlier days, or by majority.

    The development set are items of the 30 days before whose truth people or gold answers tell. `fell_back` where no model
    surely beats majority there. Nothing promotes these labels by itself.
    """
    found = rows.days_of(run.days, weak_votes.collect(), label_consensus.collect())
    return pl.concat([WeakLabels.create_empty(), *map(rows.labels, found)])


@table_asset(
    schema=WeakFunctions,
    group="labeling",
    inputs={"weak_votes": VOTES, "label_consensus": EARLIER},
    code=[rows, model, quality, shares, campaign],
    kinds={"numpy", "polars"},
    days_per_run=60,
    lineage={"coverage": [("weak_votes", "votes_json")]},
)
def weak_functions(run: RunOfDays, weak_votes: pl.LazyFrame, label_consensus: pl.LazyFrame) -> pl.DataFrame:
    """How good each labeling function is: coverage, overlap, conflict, and accuracy on the development set with bounds."""
    found = rows.days_of(run.days, weak_votes.collect(), label_consensus.collect())
    return pl.concat([WeakFunctions.create_empty(), *map(rows.function_rows, found)])
