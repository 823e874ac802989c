"""What comes of the votes of days, campaign by campaign."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipeline_assets.labeling.campaigns import report, results
from pipeline_assets.labeling.campaigns.campaign import Campaign, parse
from pipeline_assets.labeling.campaigns.tasks import task_key
from pipeline_assets.labeling.schemas import AnnotatorQuality, LabelAgreement, LabelConsensus, LabelTasks, LabelVotes

DAY = date(2026, 3, 2)
AT = datetime(2026, 3, 5, 12, tzinfo=UTC)
SHARP = parse("question: Is it sharp?\nkind: class\nclasses: [sharp, blurred]\nprice: 0.5\nconfidence: 0.7\n", "sharp")
TAGS = parse("question: What is in it?\nkind: classes\nclasses: [cat, dog, sea]\npromotes: false\n", "tags")
CATS = parse("question: Where are cats?\nkind: boxes\nclasses: [cat]\n", "cats")


def vote(campaign: Campaign, item: int, annotator: str, answer: str | None, day: date = DAY, **more: Any) -> dict[str, Any]:
    row = dict.fromkeys(LabelVotes.column_names())
    row |= {
        "day": day,
        "task_key": task_key(campaign.name, campaign.version, "upload", f"{item:064x}"),
        "campaign": campaign.name,
        "version": campaign.version,
    }
    row |= {"key": f"k{item}", "target": "upload", "sha256": f"{item:064x}", "source": "tool", "revision": 0}
    row |= {"source_id": f"{campaign.name}-{item}-{annotator}", "annotator": annotator, "answered_at": AT, "arrived_at": AT}
    row |= {"lead_time_s": 3.0, "answer_json": answer, "is_cancelled": False, "is_deleted": False, "is_adjudication": False}
    row |= {"counts": True, "is_gold": False, "campaign_json": campaign.definition}
    return row | more


def sharp(item: int, annotator: str, choice: str, **more: Any) -> dict[str, Any]:
    return vote(SHARP, item, annotator, f'{{"choice":"{choice}"}}', **more)


def votes(*rows: dict[str, Any]) -> pl.DataFrame:
    return LabelVotes.validate(pl.DataFrame(list(rows), schema=LabelVotes.create_empty().schema))


def many(day: date = DAY, items: int = 40) -> list[dict[str, Any]]:
    """Three careful people and one who is always wrong, on items that are half sharp."""
    rows = []
    for item in range(items):
        right, wrong = ("sharp", "blurred") if item % 2 else ("blurred", "sharp")
        number = item + (day - DAY).days * 1_000
        rows += [sharp(number, name, right, day=day) for name in ("ann", "bob", "cyd")]
        rows.append(sharp(number, "dan", wrong, day=day))
    return rows


def of_days(frame: pl.DataFrame, *days: date) -> pl.DataFrame:
    return AnnotatorQuality.validate(results.qualities(frame, days))


def test_an_answer_is_decided_by_what_its_voters_are_worth() -> None:
    frame = votes(*many())
    rows = LabelConsensus.validate(results.consensuses(frame, of_days(frame, DAY)))
    assert rows.height == 40
    assert set(rows["answer_json"]) == {'{"choice":"sharp"}', '{"choice":"blurred"}'}
    assert rows["is_promoted"].all()
    assert (rows["answered_at"] == AT).all()
    quality = {row["annotator"]: row for row in of_days(frame, DAY).iter_rows(named=True)}
    assert quality["dan"]["accuracy"] < 0.2 < 0.8 < quality["ann"]["accuracy"]
    assert quality["ann"]["cost"] == 20


def test_quality_is_known_from_the_days_until_then_and_no_later_ones() -> None:
    late = DAY + timedelta(days=1)
    frame = votes(*many(), *many(late))
    rows = of_days(frame, DAY, late)
    assert rows.filter(day=DAY)["answers"].to_list() == [40] * 4
    assert rows.filter(day=late)["answers"].to_list() == [80] * 4
    assert of_days(votes(*many()), DAY).equals(rows.filter(day=DAY))
    beyond = DAY + timedelta(days=results.WINDOW_DAYS)
    assert of_days(frame, beyond)["answers"].to_list() == [40] * 4


def test_an_adjudicator_decides_and_their_newest_decision_counts() -> None:
    decision = {"is_adjudication": True, "counts": False, "source": "adjudication"}
    frame = votes(
        *many(),
        sharp(0, "chief", "sharp", **decision),
        sharp(0, "chef", "blurred", **decision | {"answered_at": AT + timedelta(hours=1)}),
    )
    rows = results.consensuses(frame, of_days(frame, DAY)).filter(key="k0")
    row = rows.row(0, named=True)
    assert (row["answer_json"], row["method"], row["adjudicator"]) == ('{"choice":"blurred"}', "adjudicated", "chef")
    assert (row["confidence"], row["needs_adjudication"], row["is_promoted"]) == (1, False, True)
    assert row["votes"] == 4


def test_a_tie_needs_a_person_and_is_promoted_to_nothing() -> None:
    frame = votes(sharp(1, "ann", "sharp"), sharp(1, "bob", "blurred"))
    row = results.consensuses(frame, of_days(frame, DAY)).row(0, named=True)
    assert (row["needs_adjudication"], row["is_promoted"]) == (True, False)
    assert row["reason"]


def test_items_whose_answers_were_all_taken_back_have_no_row_of_consensus() -> None:
    gone = sharp(1, "ann", "sharp", answer_json=None, is_deleted=True, counts=False)
    frame = votes(gone, sharp(2, "ann", "sharp"))
    assert results.consensuses(frame, of_days(frame, DAY))["key"].to_list() == ["k2"]


def test_campaigns_and_their_versions_are_kept_apart() -> None:
    second = SHARP.model_copy(update={"version": 2, "classes": ["yes", "no"]})
    frame = votes(
        *many(),
        *(vote(second, item, name, '{"choice":"yes"}') for item in range(5) for name in ("ann", "bob")),
        *(vote(TAGS, item, name, '{"choices":["cat","sea"]}') for item in range(5) for name in ("ann", "bob", "cyd")),
    )
    rows = results.consensuses(frame, of_days(frame, DAY))
    counts = rows.group_by("campaign", "version").len().sort("campaign", "version").rows()
    assert counts == [("sharp", 1, 40), ("sharp", 2, 5), ("tags", 1, 5)]
    assert not rows.filter(campaign="tags")["is_promoted"].any()
    agreement = LabelAgreement.validate(results.agreements(frame))
    assert agreement.select("campaign", "version").rows() == [("sharp", 1), ("sharp", 2), ("tags", 1)]


def test_boxes_agree_by_their_overlap() -> None:
    box = '{{"boxes":[{{"x":{},"y":10,"width":30,"height":30,"label":"cat"}}]}}'
    frame = votes(
        *(vote(CATS, item, name, box.format(10 + x)) for item in range(6) for x, name in enumerate(("ann", "bob", "cyd")))
    )
    rows = LabelConsensus.validate(results.consensuses(frame, of_days(frame, DAY)))
    box_of_all = {"x": 11, "y": 10, "width": 30, "height": 30, "label": "cat"}
    assert json.loads(rows["answer_json"][0]) == {"boxes": [box_of_all]}
    assert LabelAgreement.validate(results.agreements(frame))["region_agreement"][0] > 0.8


def test_no_votes_give_empty_tables() -> None:
    nothing = votes()
    assert of_days(nothing, DAY).is_empty()
    assert results.consensuses(nothing, of_days(nothing, DAY)).is_empty()
    assert results.agreements(nothing).is_empty()


def test_the_report_adds_up_and_knows_what_a_label_costs() -> None:
    frame = votes(*many(), sharp(77, "ann", "sharp"), sharp(77, "bob", "blurred"))
    quality = of_days(frame, DAY)
    tables = {
        "label_votes": frame.lazy(),
        "label_consensus": results.consensuses(frame, quality).lazy(),
        "label_agreement": results.agreements(frame).lazy(),
        "annotator_quality": quality.lazy(),
        "label_tasks": LabelTasks.create_empty().lazy(),
    }
    row = report.progress(tables).row(0, named=True)
    assert (row["campaign"], row["items"], row["votes"], row["accepted"], row["to_decide"]) == ("sharp", 41, 162, 40, 1)
    assert (row["cost"], row["cost_per_label"], row["currency"]) == (81.0, 81 / 40, "USD")
    assert -1 < row["alpha"] < 1
    assert report.people(tables["annotator_quality"])["answers"].to_list() == [41, 41, 40, 40]


def test_the_report_of_tasks_that_nobody_answered_has_their_number() -> None:
    row = dict.fromkeys(LabelTasks.column_names())
    row |= {"day": DAY, "task_key": "a" * 64, "campaign": "sharp", "version": 1, "key": "k", "target": "upload"}
    row |= {"sha256": "a" * 64, "priority": 0.5, "reason": "new", "is_gold": False, "votes_wanted": 3}
    tasks = pl.LazyFrame([row], schema=LabelTasks.create_empty().schema)
    assert report.progress({"label_tasks": tasks}).select("campaign", "tasks", "votes").rows() == [("sharp", 1, 0)]
    assert report.progress({"label_tasks": tasks, "label_votes": votes().lazy()})["items"].to_list() == [0]
    assert report.progress({}).is_empty()


def test_a_confidence_is_a_probability_however_its_shares_are_rounded() -> None:
    box = '{{"boxes":[{{"x":{},"y":10,"width":30,"height":30,"label":"cat"}}]}}'
    people = [f"person-{number:03}" for number in range(300)]
    accuracy = np.random.default_rng(0).uniform(0.5, 0.9, len(people))
    quality = pl.DataFrame({"annotator": people, "accuracy": accuracy}).with_columns(
        campaign=pl.lit("cats"), version=pl.lit(1, pl.Int64), is_own_accuracy=True, answers=pl.lit(9, pl.Int64), day=DAY
    )
    frame = votes(*(vote(CATS, number // 3, who, box.format(12 - number % 3)) for number, who in enumerate(people)))
    rows = LabelConsensus.validate(results.consensuses(frame, quality))
    assert rows["confidence"].to_list() == [pytest.approx(1)] * 100


def test_quality_is_that_of_the_campaign_whatever_other_campaigns_have() -> None:
    frame = votes(*many())
    earlier = of_days(frame, DAY).with_columns(day=pl.lit(DAY - timedelta(days=1)))
    other = of_days(frame, DAY).with_columns(campaign=pl.lit("other"))
    rows = results.consensuses(frame, pl.concat([earlier, other]))
    assert not rows["fell_back"].any()


def test_votes_of_a_question_that_cannot_be_read_hide_no_other_votes() -> None:
    lost = [row | {"campaign": "lost", "task_key": "f" * 64, "campaign_json": '{"later":1}'} for row in many(items=1)]
    frame = votes(*many(), *lost)
    assert set(results.consensuses(frame, of_days(frame, DAY))["campaign"]) == {"sharp"}
