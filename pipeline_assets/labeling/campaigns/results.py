"""What comes of the votes of days: consensus, agreement and quality, for each version of each campaign. Pure.

The methods are in `pipeline_assets/labeling/consensus`; here they are applied to the days of the tables.
"""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta

import polars as pl

from pipeline_assets.errors import BadCampaign
from pipeline_assets.labeling.campaigns.campaign import Campaign, parse_definition
from pipeline_assets.labeling.consensus import tables
from pipeline_assets.labeling.consensus.question import Question
from pipeline_assets.labeling.schemas import AnnotatorQuality, LabelAgreement, LabelConsensus

WINDOW_DAYS = 28
"""Upload days whose answers tell how good an annotator is."""
SEED = 0
"""Of the bootstrap of agreement: the same rows have the same interval."""
_OF = ("campaign", "version")


def consensuses(votes: pl.DataFrame, quality: pl.DataFrame) -> pl.DataFrame:
    """Rows of `LabelConsensus`. votes: rows of `LabelVotes`.

    quality: rows of `AnnotatorQuality`, of these days and the days before: the newest that a day may know counts.
    """
    rows: list[pl.DataFrame] = [LabelConsensus.create_empty()]
    for day, campaign, some in _by_day(votes):
        of_campaign = quality.filter(campaign=campaign.name, version=campaign.version)
        earlier = of_campaign.filter(pl.col("day").is_between(day - timedelta(days=1), day))
        known = earlier.filter(pl.col("day") == pl.col("day").max())
        answers = tables.consensus(some, known, Question.of(campaign))
        rows.append(LabelConsensus.cast(_with_items(campaign, some, answers)))
    return pl.concat(rows).sort("day", "task_key")


def agreements(votes: pl.DataFrame) -> pl.DataFrame:
    """Rows of `LabelAgreement`. votes: rows of `LabelVotes`."""
    rows: list[pl.DataFrame] = [LabelAgreement.create_empty()]
    for day, campaign, some in _by_day(votes):
        found = tables.agreements(some, Question.of(campaign), SEED)
        rows.append(LabelAgreement.cast(_named(found, day, campaign)))
    return pl.concat(rows).sort("day", *_OF)


def qualities(votes: pl.DataFrame, days: Sequence[date]) -> pl.DataFrame:
    """Rows of `AnnotatorQuality` for each day, of the answers to WINDOW_DAYS of uploads until then.

    votes: rows of `LabelVotes` of all these days.
    """
    rows: list[pl.DataFrame] = [AnnotatorQuality.create_empty()]
    for day in days:
        window = votes.filter(pl.col("day").is_between(day - timedelta(days=WINDOW_DAYS - 1), day))
        for campaign, some in _by_campaign(window):
            found = tables.qualities(some, Question.of(campaign))
            rows.append(AnnotatorQuality.cast(_named(found, day, campaign)))
    return pl.concat(rows).sort("day", *_OF, "annotator")


def _with_items(campaign: Campaign, votes: pl.DataFrame, answers: pl.DataFrame) -> pl.DataFrame:
    """The answers with the facts of their items, and the times of what they are made of."""
    items = votes.select("day", "task_key", *_OF, "key", "target", "sha256").unique("task_key")
    given = votes.filter(pl.col("counts") | (pl.col("is_adjudication") & pl.col("answer_json").is_not_null()))
    times = given.group_by("task_key").agg(pl.col("answered_at", "arrived_at").max())
    is_sure = ~pl.col("needs_adjudication") & pl.col("answer_json").is_not_null()
    return (
        items.join(times, on="task_key")
        .join(answers, on="task_key")
        .with_columns(kind=pl.lit(campaign.kind), is_promoted=pl.lit(campaign.promotes) & is_sure)
        .select(LabelConsensus.column_names())
    )


def _named(rows: pl.DataFrame, day: date, campaign: Campaign) -> pl.DataFrame:
    return rows.with_columns(day=pl.lit(day), campaign=pl.lit(campaign.name), version=pl.lit(campaign.version, pl.Int64))


def _by_campaign(votes: pl.DataFrame) -> Iterator[tuple[Campaign, pl.DataFrame]]:
    """The votes of each version of each campaign, in order."""
    for _, some in votes.sort(*_OF, "task_key", "source", "source_id").group_by(_OF, maintain_order=True):
        campaign = _newest(some["campaign_json"].unique().sort(descending=True).to_list())
        if campaign is not None:
            yield campaign, some


def _newest(definitions: Sequence[str]) -> Campaign | None:
    """The first that can be read; votes of none, as of a later release, are nothing to this one."""
    for definition in definitions:
        try:
            return parse_definition(definition)
        except BadCampaign:
            continue
    return None


def _by_day(votes: pl.DataFrame) -> Iterator[tuple[date, Campaign, pl.DataFrame]]:
    for (day,), of_day in votes.sort("day").group_by("day", maintain_order=True):
        for campaign, some in _by_campaign(of_day):
            yield day, campaign, some
