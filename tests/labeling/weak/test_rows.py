"""Rows of the tables of labeling functions, from frames."""

import json
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from pipeline_assets.classify.schemas import PhotoClasses
from pipeline_assets.framework.schemas import Rejected
from pipeline_assets.ingestion.schemas import PhotoMetadata, RawUploads
from pipeline_assets.labeling.campaigns import campaign, tasks
from pipeline_assets.labeling.weak import rows
from pipeline_assets.labeling.weak.functions import labeling_function
from pipeline_assets.labeling.weak.schemas import WeakFunctions, WeakLabels, WeakVotes

FIRST = date(2026, 3, 1)
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
YAML = """
question: Which animal?
kind: class
classes: [cat, dog]
weak: animals
random_share: 0.1
gold: [{key: uploads/2026-03-01/1/0.jpg, answer: {choice: cat}}]
"""
ASKED = campaign.parse(YAML, "animals")


def uploads(days=2, each=3):
    found = []
    for number in range(days):
        day = FIRST + timedelta(days=number)
        for item in range(each):
            found.append(
                {
                    "day": day,
                    "bucket": "b",
                    "key": f"uploads/{day}/1/{item}.jpg",
                    "version_id": "v",
                    "user_id": 1,
                    "uploaded_at": AT + timedelta(days=number),
                    "size_bytes": 10,
                    "sha256": f"{number * 1000 + item:064x}",
                    "media_type": "image/jpeg",
                    "width_px": 10,
                    "height_px": 10,
                    "camera": "secret camera",
                    "latitude_deg": 1.0,
                    "verdict": "ok",
                }
            )
    return pl.DataFrame(found, schema=RawUploads.create_empty().schema).lazy()


def photos(frame, title=lambda item: "a cat" if item % 2 else "a dog"):
    keys = frame.select("day", "key").collect()
    return PhotoMetadata.cast(
        pl.DataFrame(
            [
                {
                    "day": day,
                    "photo_id": number,
                    "user_id": 1,
                    "key": key,
                    "posted_at": AT,
                    "title": title(number),
                    "location": "Rome",
                    "followers_at_post": 3,
                    "user_joined_at": AT,
                    "details_json": "{}",
                }
                for number, (day, key) in enumerate(keys.iter_rows())
            ],
            schema=PhotoMetadata.create_empty().schema,
        )
    ).lazy()


def classes(frame):
    hashes = frame.select("day", "sha256").collect()
    return (
        hashes.select(
            "day",
            "sha256",
            model_id=pl.lit("m"),
            top5_index=pl.lit([1], pl.List(pl.Int32)),
            top5_label=pl.lit(["tabby"], pl.List(pl.String)),
            top5_probability=pl.lit([0.7], pl.List(pl.Float32)),
            embedding=pl.lit([0.0], pl.List(pl.Float32)),
        )
        .select(PhotoClasses.column_names())
        .lazy()
    )


def world(days=2, each=3):
    frame = uploads(days, each)
    metadata, model_classes = photos(frame), classes(frame)
    asked, _ = tasks.tasks([ASKED], frame, metadata, model_classes)
    return asked, rows.items(asked.lazy(), frame, metadata, model_classes)


@labeling_function(name="title", classes=["cat", "dog"])
def by_title(items):
    return items["title"].str.extract("(cat|dog)")


@labeling_function(name="cats", classes=["cat"])
def always_cat(items):
    return ["cat"] * items.height


@labeling_function(name="broken", classes=["cat"])
def broken(items):
    return ["horse"] * items.height


def test_functions_see_facts_of_an_item_and_no_truth_and_nothing_personal():
    asked, seen = world()
    assert seen.height == asked.height == 6
    assert {"title", "user_id", "top5_label", "media_type", "prediction_json"} <= set(seen.columns)
    assert not {"gold_json", "is_gold", "camera", "latitude_deg", "location", "details_json", "embedding"} & set(
        seen.columns
    )
    assert seen["top5_label"].to_list() == [["tabby"]] * 6
    assert seen.select("day", "task_key").is_sorted("day")


def test_votes_name_each_function_that_does_not_abstain_and_faults_are_set_aside():
    asked, seen = world()
    votes, rejected = rows.votes(ASKED, [by_title, always_cat, broken], seen, asked)
    assert WeakVotes.validate(votes).height == 6
    titles = dict(seen.select("task_key", "title").rows())
    for key, text in votes.select("task_key", "votes_json").rows():
        assert json.loads(text) == {"title": titles[key][2:], "cats": "cat"}
    assert votes["gold_json"].drop_nulls().to_list() == ['{"choice":"cat"}']
    assert Rejected.validate(rejected).select("source", "reason").unique().rows() == [("animals broken", "unknown_class")]
    assert rejected.height == 6
    assert set(rejected["raw"]) == set(votes["task_key"])


def test_votes_of_a_day_do_not_depend_on_the_other_days_of_a_run():
    asked, seen = world(days=3, each=30)
    together, aside = rows.votes(ASKED, [by_title, broken], seen, asked)
    alone = [rows.votes(ASKED, [by_title, broken], seen.filter(day=day), asked) for day in sorted(asked["day"].unique())]
    assert pl.concat([one for one, _ in alone]).equals(together)
    assert pl.concat([one for _, one in alone]).equals(aside)


CONSENSUS = {
    "day": pl.Date,
    "task_key": pl.String,
    "answer_json": pl.String,
    "confidence": pl.Float64,
    "adjudicator": pl.String,
    "needs_adjudication": pl.Boolean,
}


def consensus_of(asked, confidence=0.95):
    truth = {key: title[2:] for key, title in asked.select("task_key", "title").rows()}
    found = [
        (day, key, json.dumps({"choice": truth[key]}), confidence, None, False)
        for day, key in asked.select("day", "task_key").rows()
    ]
    return pl.DataFrame(found, schema=CONSENSUS, orient="row")


def test_labels_are_learned_from_earlier_days_alone():
    asked, seen = world(days=3, each=100)
    votes, _ = rows.votes(ASKED, [by_title, always_cat], seen, asked)
    days = sorted(asked["day"].unique())
    found = list(rows.days_of(days, votes, consensus_of(asked)))
    assert [(day.day, len(day.truth)) for day in found] == [(days[0], 0), (days[1], 100), (days[2], 200)]
    first, second, _ = (rows.labels(day) for day in found)
    assert WeakLabels.validate(first).height == WeakLabels.validate(second).height == 100
    assert first["method"].unique().to_list() == ["majority"]
    assert first["fell_back"].all()
    assert first["gain"].null_count() == 100
    assert second["method"].unique().to_list() == ["weighted"]
    assert second["gain_low"][0] > 0
    truth = dict(asked.select("task_key", pl.col("title").str.slice(2)).rows())
    assert [json.loads(text)["choice"] for text in second["answer_json"]] == [truth[key] for key in second["task_key"]]
    # By majority, a dog by its title and a cat by the other function is a tie: no answer, and no probability.
    ties = first.filter(pl.col("answer_json").is_null())
    assert {truth[key] for key in ties["task_key"]} == {"dog"}
    assert ties["probability"].null_count() == ties.height


def test_a_consensus_below_the_campaigns_confidence_is_no_truth():
    asked, seen = world(days=2, each=30)
    votes, _ = rows.votes(ASKED, [by_title], seen, asked)
    days = sorted(asked["day"].unique())
    [last] = rows.days_of(days[1:], votes, consensus_of(asked, confidence=0.5))
    assert len(last.truth) == 1, "the gold answer of the first day"
    assert last.truth.tolist() == [0]
    decided = consensus_of(asked, confidence=None).with_columns(adjudicator=pl.lit("annotator-0"))
    [last] = rows.days_of(days[1:], votes, decided)
    assert len(last.truth) == 30


def test_what_the_day_asks_again_or_people_dispute_is_no_truth():
    asked, seen = world(days=2, each=30)
    votes, _ = rows.votes(ASKED, [by_title], seen, asked)
    days = sorted(asked["day"].unique())
    again = votes.filter(day=days[0]).head(10).with_columns(day=pl.lit(days[1]))
    [last] = rows.days_of(days[1:], pl.concat([votes, again]), consensus_of(asked))
    assert len(last.truth) == 20
    disputed = consensus_of(asked).with_columns(needs_adjudication=pl.lit(True))
    [last] = rows.days_of(days[1:], votes, disputed)
    assert len(last.truth) == 1, "the gold answer alone"


def test_a_day_beyond_the_window_teaches_nothing():
    asked, seen = world(days=2, each=30)
    days = sorted(asked["day"].unique())
    late = days[1] + timedelta(days=rows.WINDOW_DAYS)
    votes, _ = rows.votes(ASKED, [by_title], seen, asked)
    moved = votes.with_columns(day=pl.when(day=days[1]).then(pl.lit(late)).otherwise("day"))
    assert [len(day.truth) for day in rows.days_of([late], moved, consensus_of(asked))] == [0]


def test_how_good_functions_are_is_told_by_day():
    asked, seen = world(days=2, each=30)
    votes, _ = rows.votes(ASKED, [by_title, always_cat, broken], seen, asked)
    days = sorted(asked["day"].unique())
    found = pl.concat([rows.function_rows(day) for day in rows.days_of(days, votes, consensus_of(asked))])
    assert WeakFunctions.validate(found).height == 6
    told = found.filter(day=days[1]).select("function", "coverage", "conflict", "answers", "correct", "accuracy").rows()
    assert told == [
        ("title", 1.0, 0.5, 30, 29, pytest.approx(29 / 30)),
        ("cats", 1.0, 0.5, 30, 16, pytest.approx(16 / 30)),
        ("broken", 0.0, 0.0, 0, 0, None),
    ]


def test_a_module_that_can_not_be_used_is_set_aside_once_a_day():
    found = rows.unusable(ASKED, [FIRST, FIRST + timedelta(days=1)], "no module")
    assert Rejected.validate(found).select("source", "reason").rows() == [("animals", "functions_unusable")] * 2
