"""The assets of campaigns: what is asked, what people answer, how good they are, and what they agree on."""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import polars as pl

from pipeline_assets.framework.code_version import Part
from pipeline_assets.framework.declaration import RunOfDays, Table
from pipeline_assets.framework.partitions import SAME_DAY, Days
from pipeline_assets.framework.table_asset import table_asset
from pipeline_assets.labeling import boxes, label_json, masks, polygons, rle
from pipeline_assets.labeling import consensus as consensus_package
from pipeline_assets.labeling.campaigns import answer, campaign, results, tasks, votes
from pipeline_assets.labeling.schemas import AnnotatorQuality, LabelAgreement, LabelConsensus, LabelTasks, LabelVotes
from resources.campaigns import CampaignFiles
from resources.database import fixed_form
from resources.database.contract import Database, Twin

CONSENSUS_CODE = [
    *sorted(Path(consensus_package.__path__[0]).glob("*.py")),
    polygons,
    rle,
    answer,
    label_json,
    boxes,
    masks,
]
"""All that makes answers of votes: the whole package, so that no module of it can be forgotten."""


def _campaigns(days: Sequence[date], campaigns: CampaignFiles) -> Mapping[date, str]:
    """For each day, a digest of the campaigns that ask about it."""
    usable, faults = campaign.usable(campaigns.path)
    asking = {day: [one.digest for one in usable if one.first_day is None or one.first_day <= day] for day in days}
    return {day: " ".join([*digests, *faults]) for day, digests in asking.items() if digests or faults}


@table_asset(
    schema=LabelTasks,
    group="labeling",
    inputs={"raw_uploads": SAME_DAY, "photo_metadata": SAME_DAY, "photo_classes": SAME_DAY},
    sources=_campaigns,
    code=[tasks, campaign, answer, label_json, boxes, masks, rle],
    quarantines=True,
    kinds={"yaml", "polars"},
    automatic=True,
    lineage={"sha256": [("raw_uploads", "sha256"), ("photo_metadata", "title")]},
)
def label_tasks(
    run: RunOfDays,
    raw_uploads: pl.LazyFrame,
    photo_metadata: pl.LazyFrame,
    photo_classes: pl.LazyFrame,
    campaigns: CampaignFiles,
) -> Table:
    """The questions of all campaigns (`campaigns/NAME.yaml`) about the day's uploads and titles, each content once.

    `darkroom label export` and `darkroom label push` hand them to people. Questions whose answer is known (gold) are among
    them, and look like all others. A campaign that can't be read asks nothing, and is in `label_tasks_rejected`.
    """
    usable, faults = campaign.usable(campaigns.path)
    rows, more_faults = tasks.tasks(usable, raw_uploads, photo_metadata, photo_classes)
    return Table(rows, rejected=tasks.rejected(faults | more_faults, run.days))


_ASKED = """
from (
    select a.*, r.day as asked_day, r.campaign, r.version, r.key, r.target, r.sha256
    from label_requests r join label_answers a on a.task_key = r.task_key
    where r.day between $1 and $2 and not exists (
        select 1 from label_requests b where b.task_key = r.task_key and (b.requested_at, b.tool) < (r.requested_at, r.tool)
    )
    union all
    select a.*, a.day, null, null, null, null, null
    from label_answers a
    where a.day between $1 and $2 and not exists (select 1 from label_requests b where b.task_key = a.task_key)
) a
left join label_campaigns c on c.campaign = a.campaign and c.version = a.version
"""
"""The answers to tasks of days $1 to $2, each with the first request of its task; without one, of the day of the answer.

All votes on a task are of one day, whichever tools ask it, and whether its request or its answer was recorded first.
"""
_ANSWERS = Twin(
    postgres=f"""
select a.asked_day - date '1970-01-01' as day, a.source, a.source_id, a.revision, a.task_key, a.annotator,
    (extract(epoch from a.answered_at) * 1000000)::bigint as answered_us,
    (extract(epoch from a.arrived_at) * 1000000)::bigint as arrived_us,
    case when a.lead_time_s is not null then (least(a.lead_time_s, 1e9) * 1000000)::bigint end as lead_us,
    a.answer_json, a.is_cancelled::integer as is_cancelled, a.is_deleted::integer as is_deleted,
    a.campaign, a.version, a.key, a.target, a.sha256, c.definition
{_ASKED}""",  # noqa: S608  a constant of this file
    sqlite=f"""
select cast(julianday(a.asked_day) - julianday('1970-01-01') as integer) as day,
    a.source, a.source_id, a.revision, a.task_key, a.annotator,
    microseconds(cast(a.answered_at as blob)) as answered_us, microseconds(cast(a.arrived_at as blob)) as arrived_us,
    cast(round(min(a.lead_time_s, 1e9) * 1000000) as integer) as lead_us,
    a.answer_json, a.is_cancelled, a.is_deleted,
    a.campaign, a.version, a.key, a.target, a.sha256, c.definition
{_ASKED}""",
)
ANSWERS_SQL = fixed_form.rows(_ANSWERS, votes.COLUMNS)
ANSWERS_BY_DAY_SQL = fixed_form.digests(_ANSWERS, votes.COLUMNS)


def _answers(days: Sequence[date], database: Database) -> Mapping[date, str]:
    return fixed_form.day_digests(database, ANSWERS_BY_DAY_SQL, days)


@table_asset(
    schema=LabelVotes,
    group="labeling",
    inputs={"label_tasks": SAME_DAY},
    sources=_answers,
    code=[
        votes,
        *CONSENSUS_CODE,
        campaign,
        Part("code", "answers.sql", ANSWERS_SQL.postgres),
        Part("code", "answers.sqlite.sql", ANSWERS_SQL.sqlite),
    ],
    quarantines=True,
    kinds={"sql", "polars"},
    pool="database",
    automatic=True,
    lineage={"task_key": [("label_tasks", "task_key")], "is_gold": [("label_tasks", "gold_json")]},
)
def label_votes(run: RunOfDays, label_tasks: pl.LazyFrame, database: Database) -> Table:
    """The answers that people gave, from any tool or service, each in its newest revision.

    An answer belongs to the version of the question that was asked. One that is no answer to it, or that no campaign asked
    for, is in `label_votes_rejected`.
    """
    of_the_run = pl.col("day").is_in(pl.Series(run.days, dtype=pl.Date).implode())
    rows, rejected = votes.judge(database.read(ANSWERS_SQL, (run.days[0], run.days[-1])), label_tasks)
    return Table(rows.filter(of_the_run), rejected=rejected.filter(of_the_run))


RECENT = Days(1 - results.WINDOW_DAYS, 0)
"""A day's votes affect four weeks of days: the nightly job computes the quality, and no upload sets it in motion."""
LATELY = Days(-1, 0)
"""A new day is decided by what was known of its annotators the day before, and by its own day after the night."""


@table_asset(
    schema=AnnotatorQuality,
    group="labeling",
    inputs={"label_votes": RECENT},
    code=[results, *CONSENSUS_CODE],
    kinds={"polars"},
    lineage={"accuracy": [("label_votes", "answer_json")], "gold_correct": [("label_votes", "is_gold_correct")]},
)
def annotator_quality(run: RunOfDays, label_votes: pl.LazyFrame) -> pl.DataFrame:
    """How good each annotator is, by known answers (gold) and by agreement with all others, and so which tier they are in.

    As known from the answers to the last 28 days of uploads. Promotion and blocking need a Wilson bound beyond their bar.
    """
    return results.qualities(label_votes.collect(), run.days)


@table_asset(
    schema=LabelConsensus,
    group="labeling",
    inputs={"label_votes": SAME_DAY, "annotator_quality": LATELY},
    code=[results, *CONSENSUS_CODE],
    kinds={"polars"},
    automatic=True,
    lineage={"answer_json": [("label_votes", "answer_json"), ("annotator_quality", "accuracy")]},
)
def label_consensus(run: RunOfDays, label_votes: pl.LazyFrame, annotator_quality: pl.LazyFrame) -> pl.DataFrame:
    """The answer to each question, out of all votes weighted by what their annotators are worth, or by an adjudicator.

    What is not sure enough needs adjudication (`darkroom label adjudicate`), and is promoted to no label.
    """
    return results.consensuses(label_votes.collect(), annotator_quality.collect())


@table_asset(
    schema=LabelAgreement,
    group="labeling",
    inputs={"label_votes": SAME_DAY},
    code=[results, *CONSENSUS_CODE],
    kinds={"polars"},
    automatic=True,
    lineage={"alpha_nominal": [("label_votes", "answer_json")]},
)
def label_agreement(run: RunOfDays, label_votes: pl.LazyFrame) -> pl.DataFrame:
    """How far people agree on a day's items of each campaign: Krippendorff's alpha, kappas, overlap."""
    return results.agreements(label_votes.collect())
