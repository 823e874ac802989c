"""Rows of the tables, from votes as they lie in theirs."""

import json
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline_assets.labeling.consensus import tables
from pipeline_assets.labeling.consensus.ballots import MAX_RANKED
from pipeline_assets.labeling.consensus.question import Question
from tests.labeling.consensus.votes import NOON, frame, of_classes, vote

CATS = Question("class", ("cat", "dog", "owl"))
NOBODY = pl.DataFrame(schema=tables.QUALITY)


def rows(votes: pl.DataFrame, question: Question = CATS, **more: Any) -> dict[str, dict[str, Any]]:
    quality = more.pop("quality", None)
    quality = tables.qualities(votes, question) if quality is None else quality
    return {row["task_key"]: row for row in tables.consensus(votes, quality, question, **more).iter_rows(named=True)}


def answers(votes: pl.DataFrame, question: Question = CATS, **more: Any) -> dict[str, Any]:
    return {
        task: row["answer_json"] and json.loads(row["answer_json"]) for task, row in rows(votes, question, **more).items()
    }


MANY = of_classes({f"{number:02}": "a:cat b:cat c:dog" if number % 3 else "a:cat b:cat c:cat" for number in range(30)})


def test_a_campaign_is_answered_with_the_accuracy_of_its_annotators() -> None:
    quality = tables.qualities(MANY, CATS)
    assert quality["annotator"].to_list() == ["a", "b", "c"]
    a, b, c = quality["accuracy"].to_list()
    assert a == b > 0.85 > 0.6 > c
    answered = rows(MANY)
    assert {row["answer_json"] for row in answered.values()} == {'{"choice":"cat"}'}
    assert {row["method"] for row in answered.values()} == {"one-coin"}
    assert all(0.9 < row["confidence"] < 1 and row["votes"] == 3 and not row["fell_back"] for row in answered.values())


def test_without_quality_the_majority_answers_and_no_confidence_is_made_up() -> None:
    answered = rows(of_classes({"1": "a:cat b:cat c:dog", "2": "a:cat b:dog", "3": "a:owl"}), quality=NOBODY)
    assert [row["answer_json"] for row in answered.values()] == ['{"choice":"cat"}', None, '{"choice":"owl"}']
    assert all(row["method"] == "majority" and row["fell_back"] and row["confidence"] is None for row in answered.values())
    assert all(row["needs_adjudication"] for row in answered.values())
    assert "Nothing tells" in answered["1"]["reason"] and "No answer" in answered["2"]["reason"]


def test_an_expert_campaign_without_a_bar_takes_single_answers() -> None:
    row = rows(of_classes({"1": "a:owl"}), Question("class", CATS.classes, confidence=0))["1"]
    assert row["answer_json"] == '{"choice":"owl"}' and not row["needs_adjudication"] and row["reason"] is None


def test_a_tie_and_a_dispute_need_adjudication() -> None:
    more = {"x": "a:cat b:dog", "y": "a:cat b:cat c:dog d:dog", "z": "a:cat b:cat c:cat d:dog e:dog"}
    fair = {f"{n}": "a:cat b:cat c:cat d:cat e:cat" for n in range(20)} | {
        f"{n}": "a:dog b:dog c:dog d:dog e:dog" for n in range(20, 40)
    }
    answered = rows(of_classes(fair | more))
    assert [answered[task]["needs_adjudication"] for task in ("1", "x", "y", "z")] == [False, True, True, True]
    assert "nearly the same weight" in answered["z"]["reason"]


def test_skipped_deleted_and_older_answers_count_nothing() -> None:
    votes = frame(
        vote("1", "a", "cat"),
        vote("1", "b", "cat"),
        vote("1", "c", None, is_cancelled=True),
        vote("2", "a", None, is_cancelled=True),
        vote("2", "b", None, is_deleted=True),
        vote("3", "b", "owl", source_id="earlier", counts=False),
        vote("3", "b", "cat"),
    )
    assert {task: (row["answer_json"], row["votes"]) for task, row in rows(votes).items()} == {
        "1": ('{"choice":"cat"}', 2),
        "3": ('{"choice":"cat"}', 1),
    }
    shares = tables.qualities(votes, CATS).select("annotator", "answers", "cancelled_share").rows()
    assert shares == [("a", 1, 0.5), ("b", 2, 0.0), ("c", 0, 1.0)]


def test_an_adjudicator_decides_and_teaches_who_was_right() -> None:
    tied = of_classes({f"{n:02}": "a:cat b:dog" for n in range(20)})
    decided = frame(*(vote(f"{n:02}", "judge", "cat", is_adjudication=True, source="adjudication") for n in range(10)))
    earlier = frame(vote("00", "judge", "owl", is_adjudication=True, answered_at=NOON - timedelta(hours=1), source_id="x"))
    only = frame(vote("99", "judge", "owl", is_adjudication=True))
    votes = pl.concat([tied, earlier, decided, only])
    quality = tables.qualities(votes, CATS)
    assert quality["annotator"].to_list() == ["a", "b"]
    assert quality["accuracy"][0] > 0.7 > 0.5 > quality["accuracy"][1]
    assert quality["gold_answers"].to_list() == [0, 0]
    answered = rows(votes, quality=quality)
    assert answered["00"] == {
        "task_key": "00",
        "answer_json": '{"choice":"cat"}',
        "confidence": 1.0,
        "method": "adjudicated",
        "votes": 2,
        "fell_back": False,
        "needs_adjudication": False,
        "reason": None,
        "adjudicator": "judge",
    }
    assert (answered["99"]["answer_json"], answered["99"]["votes"]) == ('{"choice":"owl"}', 0)
    assert (answered["15"]["answer_json"], answered["15"]["adjudicator"]) == ('{"choice":"cat"}', None)


def test_gold_by_key_is_the_answer_and_grades_the_annotators() -> None:
    votes = of_classes({"g": "a:cat b:dog c:dog"} | {f"{n}": "a:cat b:cat c:cat" for n in range(5)})
    gold = {"g": '{"choice":"cat"}'}
    quality = tables.qualities(votes, CATS, gold)
    assert quality.select("annotator", "gold_answers", "gold_correct").rows() == [("a", 1, 1), ("b", 1, 0), ("c", 1, 0)]
    row = rows(votes, quality=quality, gold=gold)["g"]
    assert (row["answer_json"], row["confidence"], row["method"]) == ('{"choice":"cat"}', 1.0, "gold")


def test_gold_by_the_votes_rows_does_as_well() -> None:
    votes = frame(
        vote("g", "a", "cat", is_gold_correct=True),
        vote("g", "b", "dog", is_gold_correct=False),
        vote("h", "b", "dog", is_gold_correct=False),
    )
    answered = rows(votes)
    assert answered["g"]["answer_json"] == '{"choice":"cat"}' and answered["g"]["method"] == "gold"
    assert answered["h"]["answer_json"] is None and answered["h"]["needs_adjudication"]


def test_quality_counts_costs_times_and_confusions() -> None:
    votes = frame(
        *(vote(f"{n:02}", who, "cat", lead_time_s=n) for n in range(21) for who in ("a", "b")),
        *(vote(f"{n:02}", "c", "dog" if n < 5 else "cat", lead_time_s=None) for n in range(21)),
    )
    a, _, c = tables.qualities(votes, Question("class", CATS.classes, price=0.05)).iter_rows(named=True)
    assert (a["answers"], a["median_lead_s"], a["cost"], a["tier"]) == (21, 10.0, pytest.approx(1.05), "annotator")
    assert c["median_lead_s"] is None
    assert json.loads(c["confusion_json"]) == {"cat": {"cat": 16, "dog": 5}}
    assert a["gold_low"] is None and a["gold_high"] is None


def test_several_classes_are_decided_one_by_one() -> None:
    question = Question("classes", ("cat", "dog", "owl"))
    said = {"a": ["cat", "dog"], "b": ["dog", "cat"], "c": ["cat", "owl"], "d": ["cat"], "e": ["cat", "dog"]}
    votes = frame(*(vote(f"{n}", who, {"choices": some}) for n in range(9) for who, some in said.items()))
    assert answers(votes, question)["0"] == {"choices": ["cat", "dog"]}
    nothing = frame(*(vote("1", who, {"choices": []}) for who in "abc"))
    assert answers(nothing, question) == {"1": {"choices": []}}


def test_texts_are_compared_without_their_spaces_and_forms() -> None:
    question = Question("text")
    votes = frame(
        vote("1", "a", {"text": " Zürich  HB"}),
        vote("1", "b", {"text": "Zu\u0308rich HB\n"}),
        vote("1", "c", {"text": "Bern"}),
    )
    assert answers(votes, question) == {"1": {"text": "Zürich HB"}}


def test_rankings_are_joined_pair_by_pair_and_a_circle_has_no_first() -> None:
    question = Question("ranking", ("x", "y", "z"))
    agreed = {"a": "xyz", "b": "xzy", "c": "yxz"}
    votes = frame(*(vote(f"{n}", who, {"ranking": list(order)}) for n in range(5) for who, order in agreed.items()))
    assert answers(votes, question)["0"] == {"ranking": ["x", "y", "z"]}
    circle = frame(
        *(vote("1", who, {"ranking": list(order)}) for who, order in {"a": "xyz", "b": "yzx", "c": "zxy"}.items())
    )
    assert answers(circle, question) == {"1": None}


def test_no_votes_are_no_rows() -> None:
    for kind in ("class", "classes", "text", "ranking"):
        assert_frame_equal(tables.consensus(frame(), NOBODY, Question(kind)), pl.DataFrame(schema=tables.CONSENSUS))
        assert_frame_equal(tables.qualities(frame(), Question(kind)), pl.DataFrame(schema=tables.QUALITY))


def test_long_rankings_are_equal_or_not_and_classes_need_not_be_listed() -> None:
    order = [f"{number:03}" for number in range(MAX_RANKED + 1)]
    votes = frame(*(vote("1", who, {"ranking": order}) for who in "ab"), vote("1", "c", {"ranking": order[::-1]}))
    assert answers(votes, Question("ranking")) == {"1": {"ranking": order}}
    assert answers(of_classes({"1": "a:horse b:horse"}), Question("class")) == {"1": {"choice": "horse"}}


ballots_of = st.lists(
    st.tuples(st.sampled_from("1234"), st.sampled_from("abcde"), st.sampled_from(["cat", "dog", "owl"])),
    max_size=18,
    unique_by=lambda ballot: ballot[:2],
)


@given(ballots_of, st.randoms(), st.sampled_from(["one-coin", "majority", "dawid-skene"]))
def test_the_order_of_votes_does_not_matter(cast: list[tuple[str, str, str]], random: Any, method: Any) -> None:
    votes = [vote(*ballot) for ballot in cast]
    shuffled = list(votes)
    random.shuffle(shuffled)
    one, other = frame(*votes), frame(*shuffled)
    quality = tables.qualities(one, CATS)
    assert_frame_equal(quality, tables.qualities(other, CATS))
    assert_frame_equal(
        tables.consensus(one, quality, CATS, model=method), tables.consensus(other, quality, CATS, model=method)
    )


@given(ballots_of)
def test_a_tasks_row_hangs_on_its_own_votes_and_on_quality_alone(cast: list[tuple[str, str, str]]) -> None:
    votes = frame(*(vote(*ballot) for ballot in cast))
    quality = tables.qualities(votes, CATS)
    whole = tables.consensus(votes, quality, CATS)
    apart = [tables.consensus(votes.filter(task_key=task), quality, CATS) for task in whole["task_key"]]
    assert_frame_equal(whole, pl.concat([whole.clear(), *apart]))


@pytest.mark.parametrize(
    "question", [CATS, Question("classes", ("cat", "dog")), Question("boxes", ("cat",), confidence=0.5)]
)
def test_what_gold_says_is_wrong_is_no_answer(question: Question) -> None:
    box = {"x": 1, "y": 2, "width": 3, "height": 4, "label": "cat"}
    given: Any = {"class": "cat", "classes": {"choices": ["cat"]}, "boxes": {"boxes": [box]}}[question.kind]
    votes = frame(
        *(vote("1", who, given, is_gold_correct=False) for who in "abc"),
        *(vote("2", who, given, is_gold_correct=True) for who in "abc"),
    )
    found = rows(votes, question)
    assert found["1"]["answer_json"] is None and found["1"]["needs_adjudication"] and "gold" in found["1"]["reason"]
    assert found["2"]["answer_json"] is not None


def test_a_consensus_that_is_longer_than_an_answer_may_be_needs_a_person() -> None:
    long = vote("1", "a", {"text": "\U0001d160" * 60_000}, answer_json=json.dumps({"text": "\U0001d160" * 60_000}))
    found = rows(frame(long, vote("2", "a", {"text": "short"})), Question("text", confidence=0), quality=NOBODY)
    assert found["1"]["answer_json"] is None and found["1"]["needs_adjudication"] and "no answer" in found["1"]["reason"]
    assert found["2"]["answer_json"] == '{"text":"short"}'


def test_marks_that_together_are_too_long_need_a_person() -> None:
    def polygons(left: float) -> dict[str, Any]:
        rings = [
            [[left + 4 * at + side / 31.123457, side % 7 + side / 17.1234567] for side in range(30)] for at in range(500)
        ]
        return {"masks": [{"label": "cat", "polygons": [[n for point in ring for n in point]]} for ring in rings]}

    votes = frame(vote("1", "a", polygons(0)), vote("1", "b", polygons(1e5)))
    found = rows(votes, Question("polygons", ("cat",), confidence=0), quality=NOBODY)["1"]
    assert found["needs_adjudication"]
