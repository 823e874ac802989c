"""The asset of users' feedback."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta

import polars as pl

from pipeline_assets.framework.declaration import RunOfDays, Table
from pipeline_assets.framework.partitions import Days
from pipeline_assets.framework.table_asset import table_asset
from pipeline_assets.labeling.campaigns import campaign
from pipeline_assets.labeling.campaigns.campaign import Campaign
from pipeline_assets.labeling.exchange import store
from pipeline_assets.labeling.feedback import claims, trust
from pipeline_assets.labeling.feedback.schemas import FeedbackLabels
from resources.campaigns import CampaignFiles
from resources.database.contract import Database

EVENTS = Days(-trust.WINDOW.days, 0)
PHOTOS = Days(-claims.PHOTO_DAYS - trust.WINDOW.days, 0)
"""Of all claims that count for the weight of one of a day, so that what confirmed them is known as long as they are."""
SOURCE = "feedback"
"""Under which users have their pseudonyms."""


def _asking(campaigns: CampaignFiles) -> list[Campaign]:
    """The questions with one answer of several classes."""
    usable, _ = campaign.usable(campaigns.path)
    return [one for one in usable if one.kind == "class"]


def _questions(days: Sequence[date], campaigns: CampaignFiles) -> Mapping[date, str]:
    """For each day, the campaigns that ask by then, each with a digest of its classes."""
    texts = [(one.first_day or date.min, f"{one.name} {_digest(one.classes)}") for one in _asking(campaigns)]
    asking = {day: [text for first_day, text in texts if first_day <= day] for day in days}
    return {day: " ".join(some) for day, some in asking.items() if some}


def _digest(classes: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(classes).encode()).hexdigest()[:12]


@table_asset(
    schema=FeedbackLabels,
    group="labeling",
    inputs={"event_log": EVENTS, "photo_metadata": PHOTOS, "label_consensus": PHOTOS},
    sources=_questions,
    code=[claims, trust],
    kinds={"polars"},
    pool="database",
    days="logs",
    days_per_run=60,
    lineage={
        "label": [("event_log", "extra_json")],
        "weight": [("event_log", "arrived_at"), ("label_consensus", "answer_json")],
        "key": [("photo_metadata", "key")],
        "happened_at": [("event_log", "at")],
        "arrived_at": [("event_log", "arrived_at")],
    },
)
def feedback_labels(
    run: RunOfDays,
    event_log: pl.LazyFrame,
    photo_metadata: pl.LazyFrame,
    label_consensus: pl.LazyFrame,
    database: Database,
    campaigns: CampaignFiles,
) -> Iterator[Table]:
    """What users say of photos by what they do: `report`, `hide` and `correct` events as weighted labels, each once.

    By the day on which the event arrived, so that a row never changes its day, and a night adds one. Users are pseudonyms.
    The weight is how often a user's corrections were confirmed by then, and falls with their number. Feedback on a photo
    older than 60 days, delivered twice or said twice is in `feedback_labels_rejected`.
    """
    said = claims.of_events(event_log).collect()
    photos = photo_metadata.select("day", "photo_id", "user_id", "key").collect()
    agreed = _agreed(label_consensus.collect(), photos, _asking(campaigns))
    names = store.user_pseudonyms(database, SOURCE, map(str, said["user_id"].unique()))
    days_with_feedback = set(said["day"])
    for day in run.days:
        if day not in days_with_feedback:
            yield Table(FeedbackLabels.create_empty())
            continue
        statements, aside = claims.once(said.filter(pl.col("day").is_between(day - trust.WINDOW, day)))
        known, unknown = claims.with_photos(statements, photos)
        oldest = day + timedelta(days=PHOTOS.start)
        by_then = agreed.filter(pl.col("day").is_between(oldest, day), pl.col("first_day") <= day)
        weighed = trust.weighted(known, by_then).filter(day=day)
        rejected = pl.concat([aside, unknown.select(aside.columns)]).filter(day=day)
        yield Table(_rows(weighed, names), rejected=claims.rejected(rejected))


def _agreed(label_consensus: pl.DataFrame, photos: pl.DataFrame, asking: Sequence[Campaign]) -> pl.DataFrame:
    """What people answered of photos: day, first_day of the campaign, and the columns of `trust.CONSENSUS`."""
    questions = pl.DataFrame(
        [(one.name, one.first_day or date.min, one.classes) for one in asking],
        schema={"campaign": pl.String, "first_day": pl.Date, "classes": pl.List(pl.String)},
        orient="row",
    )
    return (
        label_consensus.filter(~pl.col("needs_adjudication"), target="upload")
        .join(questions, on="campaign")
        .join(photos.select("day", "key", "photo_id"), on=["day", "key"])
        .select(
            "day",
            "first_day",
            "photo_id",
            "classes",
            choice=pl.col("answer_json").str.json_path_match("$.choice"),
            known_at="arrived_at",
        )
    )


def _rows(rows: pl.DataFrame, names: Mapping[str, str]) -> pl.DataFrame:
    """Rows of `FeedbackLabels`. names: pseudonyms of user ids."""
    users = [names[str(user)] for user in rows["user_id"]]
    return rows.with_columns(target=pl.lit("upload"), user=pl.Series(users, dtype=pl.String), happened_at="at").select(
        FeedbackLabels.column_names()
    )
