"""The queue of a campaign from the tables of labeling."""

from datetime import date

import polars as pl
import pytest

from pipeline_assets.labeling.campaigns import campaign, queue, queue_rows

ASKED = campaign.parse(
    "question: Which?\nkind: class\nclasses: [cat, dog]\nvotes: 2\nmax_votes: 3\nconfidence: 0.8\n", "which"
)
DAY = date(2026, 3, 1)
CAT, DOG = '{"choice":"cat"}', '{"choice":"dog"}'


def tasks(*rows, version=1):
    """(key, is_gold, reason, prediction, probability)"""
    return pl.DataFrame(
        [
            ("which", version, key * 64, DAY, f"{key}.jpg", "upload", key * 64, None, gold, reason, prediction, probability)
            for key, gold, reason, prediction, probability in rows
        ],
        schema={
            "campaign": pl.String,
            "version": pl.Int64,
            "task_key": pl.String,
            "day": pl.Date,
            "key": pl.String,
            "target": pl.String,
            "sha256": pl.String,
            "slice": pl.String,
            "is_gold": pl.Boolean,
            "reason": pl.String,
            "prediction_json": pl.String,
            "prediction_probability": pl.Float64,
        },
        orient="row",
    )


def votes(**counts):
    rows = [("which", 1, key * 64, True) for key, count in counts.items() for _ in range(count)]
    return pl.DataFrame(
        rows, schema={"campaign": pl.String, "version": pl.Int64, "task_key": pl.String, "counts": pl.Boolean}, orient="row"
    )


def consensus(*rows):
    """(key, confidence, adjudicator, answer)"""
    return pl.DataFrame(
        [("which", 1, DAY, key * 64, confidence, who, text, False) for key, confidence, who, text in rows],
        schema={
            "campaign": pl.String,
            "version": pl.Int64,
            "day": pl.Date,
            "task_key": pl.String,
            "confidence": pl.Float64,
            "adjudicator": pl.String,
            "answer_json": pl.String,
            "needs_adjudication": pl.Boolean,
        },
        orient="row",
    )


def weak(**probabilities):
    rows = [("which", 1, DAY, key * 64, probability) for key, probability in probabilities.items()]
    schema = {"campaign": pl.String, "version": pl.Int64, "day": pl.Date, "task_key": pl.String, "probability": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def plain(*keys):
    return [(key, False, "new", None, None) for key in keys]


def test_an_item_is_done_when_people_are_sure_or_an_adjudicator_decided_or_all_answers_are_given():
    found = queue_rows.items(
        ASKED,
        tasks(*plain("a", "b", "c", "d", "e"), ("f", True, "gold", None, None)),
        votes(a=1, b=2, c=3, e=2),
        consensus(("a", 0.81, None, CAT), ("b", 0.7, None, CAT), ("c", 0.5, None, CAT), ("e", None, "annotator-1", CAT)),
        weak(),
    )
    done = {key[0] for key in found.filter("is_done")["task_key"]}
    assert done == {"a", "c", "e", "f"}
    assert dict(found.select(pl.col("task_key").str.head(1), "votes").rows()) == {
        "a": 1,
        "b": 2,
        "c": 3,
        "d": 0,
        "e": 2,
        "f": 0,
    }


def test_a_weak_label_counts_before_a_prediction_and_other_versions_do_not_count():
    found = queue_rows.items(
        ASKED,
        pl.concat([tasks(("a", False, "new", CAT, 0.6), ("b", False, "new", CAT, 0.7)), tasks(*plain("c"), version=2)]),
        votes(),
        consensus(),
        weak(a=0.9),
    )
    assert found.select(pl.col("task_key").str.head(1), "confidence").rows() == [("a", 0.9), ("b", 0.7)]


def test_the_queue_shows_what_a_person_wants_to_see():
    found = queue_rows.items(ASKED, tasks(("a", False, "new", CAT, 0.6)), votes(), consensus(), weak())
    shown = queue_rows.shown(queue.next_items(found, 5, queue.Mix(), 0), found)
    assert shown.columns == list(queue_rows.SHOWN)
    assert shown.select("key", "prediction", "votes", "reason").rows() == [("a.jpg", CAT, 0, "random")]


def test_the_gain_is_how_much_more_often_people_correct_what_was_doubtful():
    asked = tasks(
        ("a", False, "uncertain", CAT, 0.5),
        ("b", False, "uncertain", CAT, 0.5),
        ("c", False, "random", CAT, 0.5),
        ("d", False, "random", None, None),
    )
    agreed = consensus(("a", 0.9, None, DOG), ("b", 0.9, None, CAT), ("c", 0.9, None, CAT), ("d", 0.9, None, CAT))
    brought = queue_rows.gained(ASKED, asked, agreed, seed=0)
    assert brought is not None
    assert (brought.difference, brought.chosen, brought.random) == (pytest.approx(0.5), 2, 1)
    assert queue_rows.gained(ASKED, asked, consensus(), seed=0) is None


def test_a_gain_has_no_sign_where_people_leave_more_of_one_kind_undecided():
    keys = [f"{number:064x}" for number in range(200)]
    rows = [("random" if number % 2 else "uncertain", DOG if number % 4 == 0 else CAT) for number in range(200)]
    asked = tasks(("a", False, "new", CAT, 0.5)).select(pl.all().repeat_by(200).explode())
    asked = asked.with_columns(task_key=pl.Series(keys), reason=pl.Series([reason for reason, _ in rows]))
    agreed = consensus(("a", 0.9, None, CAT)).select(pl.all().repeat_by(200).explode())
    agreed = agreed.with_columns(task_key=pl.Series(keys), answer_json=pl.Series([text for _, text in rows]))
    assert queue_rows.gained(ASKED, asked, agreed, seed=0).sign == "+"
    disputed = agreed.with_columns(needs_adjudication=pl.Series([number % 8 == 2 for number in range(200)]))
    assert queue_rows.gained(ASKED, asked, disputed, seed=0).sign == "?"


def test_content_that_is_asked_twice_has_the_reason_of_its_first_day():
    twice = pl.concat([tasks(("a", False, "random", CAT, 0.5)), tasks(("a", False, "uncertain", CAT, 0.5))])
    twice = pl.concat(
        [twice.with_columns(day=pl.Series([DAY, date(2026, 3, 2)])), tasks(("b", False, "uncertain", CAT, 0.5))]
    )
    agreed = consensus(("a", 0.9, None, CAT), ("b", 0.9, None, DOG))
    found = queue_rows.gained(ASKED, twice, agreed, seed=0)
    assert (found.chosen, found.random) == (1, 1)
    assert queue_rows.gained(ASKED, twice[::-1], agreed, seed=0) == found
