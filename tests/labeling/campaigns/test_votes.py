"""Answers of the database become votes, each in one place: the table, or its rejects."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from pipeline_assets.labeling.campaigns import votes
from pipeline_assets.labeling.campaigns.answer import Answer
from pipeline_assets.labeling.campaigns.assets import ANSWERS_SQL
from pipeline_assets.labeling.campaigns.campaign import parse
from pipeline_assets.labeling.exchange import store
from pipeline_assets.labeling.exchange.store import Request
from pipeline_assets.labeling.schemas import LabelTasks, LabelVotes
from resources.database.contract import Database

DAY = date(2026, 3, 2)
AT = datetime(2026, 3, 5, 12, 0, 0, 250_000, tzinfo=UTC)
SHARP = parse("question: Is it sharp?\nkind: class\nclasses: [sharp, blurred]\n", "sharp")


def key(number: int) -> str:
    return f"{number:064x}"


def answer(number: int, source_id: str, choice: str | None = "sharp", **more: Any) -> Answer:
    text = None if choice is None else f'{{ "choice": "{choice}" }}'
    facts = {"annotator": "ann", "answered_at": AT, "lead_time_s": 2.5} | more
    return Answer("tool", source_id, int(facts.pop("revision", 0)), key(number), answer_json=text, **facts)


def gold(*numbers: int) -> pl.LazyFrame:
    return known((DAY, number, '{"choice":"sharp"}') for number in numbers)


def known(answers: Iterable[tuple[date, int, str | None]]) -> pl.LazyFrame:
    rows = [{"day": day, "task_key": key(number), "gold_json": text} for day, number, text in answers]
    return (
        pl.LazyFrame(rows, schema={name: LabelTasks.create_empty().schema[name] for name in rows[0]})
        if rows
        else (LabelTasks.create_empty().select("day", "task_key", "gold_json").lazy())
    )


def ask(database: Database, number: int, day: date = DAY, tool: str = "tool", name: str = "k") -> None:
    store.record_campaign(database, SHARP)
    store.record_requests(database, tool, SHARP, [Request(key(number), day, name, "upload", key(number))])


def read(
    database: Database, first: date = date(2026, 1, 1), last: date = date(2026, 12, 31), tasks: pl.LazyFrame | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    rows, rejected = votes.judge(database.read(ANSWERS_SQL, (first, last)), gold() if tasks is None else tasks)
    return LabelVotes.validate(rows), rejected


def judged(database: Database, *answers: Answer, golden: tuple[int, ...] = ()) -> tuple[pl.DataFrame, pl.DataFrame]:
    store.record_campaign(database, SHARP)
    requests = [Request(key(number), DAY, f"k{number}", "upload", key(number)) for number in range(9)]
    store.record_requests(database, "tool", SHARP, requests)
    store.land(database, answers)
    return read(database, tasks=gold(*golden))


def test_a_vote_has_its_times_its_task_and_a_canonical_answer(database: Database) -> None:
    rows, _ = judged(database, answer(1, "a"), golden=(1, 2))
    row = rows.row(0, named=True)
    assert (row["day"], row["key"], row["campaign"], row["version"]) == (DAY, "k1", "sharp", 1)
    assert (row["answered_at"], row["lead_time_s"], row["answer_json"]) == (AT, 2.5, '{"choice":"sharp"}')
    assert (row["counts"], row["is_gold"], row["is_gold_correct"]) == (True, True, True)
    assert (
        parse("question: Is it sharp?\nkind: class\nclasses: [sharp, blurred]\n", "sharp").definition == row["campaign_json"]
    )


def test_the_newest_revision_is_the_vote(database: Database) -> None:
    rows, rejected = judged(database, answer(1, "a"), answer(1, "a", "blurred", revision=5), golden=(1,))
    assert rows.select("revision", "answer_json", "is_gold_correct").rows() == [(5, '{"choice":"blurred"}', False)]
    assert rejected.is_empty()


def test_skipped_and_deleted_answers_are_kept_and_count_nothing(database: Database) -> None:
    rows, _ = judged(
        database,
        answer(1, "a", None, is_cancelled=True),
        answer(2, "b"),
        answer(2, "b", None, revision=3, is_deleted=True),
        golden=(1, 2),
    )
    assert rows.select("counts", "answer_json", "is_gold_correct").rows() == [(False, None, None)] * 2


def test_of_two_answers_of_one_person_to_a_task_the_newest_counts(database: Database) -> None:
    later = AT + timedelta(hours=1)
    rows, _ = judged(
        database,
        answer(1, "a", answered_at=later),
        answer(1, "b"),
        answer(1, "c", annotator="bob"),
        answer(1, "d", None, answered_at=later + timedelta(hours=1), is_cancelled=True),
    )
    assert dict(rows.select("source_id", "counts").iter_rows()) == {"a": True, "b": False, "c": True, "d": False}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (answer(1, "a", "soft"), "unknown_class"),
        (answer(1, "a", None), "no_answer"),
        (answer(77, "a"), "unknown_task"),
        (Answer("tool", "a", 0, key(1), "ann", AT, answer_json="{"), "bad_labels"),
        (Answer("tool", "a", 0, key(1), "ann", AT, answer_json="[" * 1_000), "bad_labels"),
    ],
)
def test_what_is_no_answer_is_kept_aside_and_its_neighbour_is_not(database: Database, given: Answer, reason: str) -> None:
    rows, rejected = judged(database, given, answer(2, "b"))
    assert rows["source_id"].to_list() == ["b"]
    assert rejected.select("reason", "source").rows() == [(reason, "tool a")]


def test_an_answer_to_an_old_version_counts_for_the_question_that_was_asked(database: Database) -> None:
    judged(database)
    store.record_campaign(database, SHARP.model_copy(update={"version": 2, "classes": ["yes", "no"]}))
    rows, rejected = judged(database, answer(1, "a"))
    assert rejected.is_empty()
    assert rows.select("version", "answer_json").rows() == [(1, '{"choice":"sharp"}')]


def test_an_adjudicators_answer_is_no_vote(database: Database) -> None:
    decided = Answer("adjudication", "a", 0, key(1), "chief", AT, answer_json='{"choice":"sharp"}')
    rows, _ = judged(database, decided, answer(1, "b", "blurred"))
    assert dict(rows.select("source", "counts").iter_rows()) == {"adjudication": False, "tool": True}


def test_boxes_are_right_where_they_overlap_gold_enough() -> None:
    cats = parse("question: Where are cats?\nkind: boxes\nclasses: [cat]\n", "cats")
    box = '{{"boxes":[{{"x":{},"y":10,"width":40,"height":40,"label":"cat"}}]}}'
    rows = pl.DataFrame(
        [
            {"definition": cats.definition, "canonical_json": box.format(x), "gold_json": gold_json}
            | {"is_cancelled": False, "is_deleted": False}
            for x, gold_json in ((11, box.format(10)), (90, box.format(10)), (11, None))
        ]
    )
    assert votes._graded(rows).to_list() == [True, False, None]


def test_an_unknown_lead_time_stays_unknown_and_a_huge_one_has_its_bound(database: Database) -> None:
    rows, _ = judged(database, answer(1, "a", lead_time_s=None), answer(2, "b", lead_time_s=1e9))
    assert rows["lead_time_s"].to_list() == [None, 1e9]


@pytest.mark.parametrize("text", ['{"text":"x"}', '{"boxes":[]}', '{"choice":"soft"}', "{"])
def test_gold_that_is_no_answer_to_the_question_that_was_asked_is_no_gold(database: Database, text: str) -> None:
    ask(database, 1)
    store.land(database, [answer(1, "a")])
    rows, _ = read(database, tasks=known([(DAY, 1, text)]))
    assert rows.select("is_gold", "is_gold_correct").rows() == [(False, None)]


@pytest.mark.parametrize("flip", [1, -1])
def test_gold_is_that_of_the_day_of_the_task(database: Database, flip: int) -> None:
    ask(database, 1)
    store.land(database, [answer(1, "a")])
    days = [(DAY, 1, '{"choice":"sharp"}'), (DAY + timedelta(days=3), 1, None)]
    assert read(database, tasks=known(days[::flip]))[0]["is_gold"].to_list() == [True]


def test_answers_to_a_recorded_question_that_cannot_be_read_are_set_aside(database: Database) -> None:
    ask(database, 1)
    store.land(database, [answer(1, "a"), answer(1, "b", None, is_deleted=True)])
    database.execute("update label_campaigns set definition = %s", ('{"later": 1}',))
    rows, rejected = read(database)
    assert rows.is_empty()
    assert rejected["reason"].to_list() == ["bad_campaign"] * 2


def test_votes_on_a_task_are_of_its_first_request_whichever_tools_ask_it(database: Database) -> None:
    later = DAY + timedelta(days=3)
    ask(database, 1, DAY, "tool", "first")
    store.land(database, [answer(1, "a")])
    database.execute("update label_requests set requested_at = %s", ("2026-03-02 10:00:00+00:00",))
    ask(database, 1, later, "appen", "second")
    store.land(database, [answer(1, "b", annotator="bob")])
    assert read(database)[0].select("day", "key").rows() == [(DAY, "first")] * 2
    assert [read(database, day, day)[0].height for day in (DAY, later)] == [2, 0]


def test_an_answer_that_came_before_its_request_moves_to_the_day_of_its_task(database: Database) -> None:
    store.land(database, [answer(1, "a")])
    assert read(database)[1].select("day", "reason").rows() == [(AT.date(), "unknown_task")]
    ask(database, 1)
    store.land(database, [answer(1, "a", "blurred", revision=1)])
    assert read(database, DAY, DAY)[0].select("day", "revision").rows() == [(DAY, 1)]
    rows, rejected = read(database, AT.date(), AT.date())
    assert rows.is_empty() and rejected.is_empty()
