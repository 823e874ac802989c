"""Requests and answers in both databases: each once, revisions kept, people unnamed."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from pipeline_assets.errors import QuestionChanged, UnfitParent
from pipeline_assets.labeling.campaigns.answer import NO_ID, Answer
from pipeline_assets.labeling.campaigns.campaign import parse
from pipeline_assets.labeling.exchange import store
from pipeline_assets.labeling.exchange.store import Landed, Request
from resources.database.contract import Database

SHARP = parse("question: Is it sharp?\nkind: class\nclasses: [sharp, blurred]\n", "sharp")
DAY = date(2026, 3, 2)
AT = datetime(2026, 3, 5, 12, 0, 0, 250_000, tzinfo=UTC)


def request(number: int) -> Request:
    return Request(f"{number:064x}", DAY, f"uploads/2026-03-02/1/{number}.jpg", "upload", f"{number + 1:064x}")


def answer(number: int, **more: object) -> Answer:
    one = Answer("tool", str(number), 0, f"{number:064x}", "ann@example.org", AT, 2.5, '{"choice":"sharp"}')
    return replace(one, **more)  # type: ignore[arg-type]


def test_an_answer_lands_once_however_often_it_is_sent(database: Database) -> None:
    store.record_campaign(database, SHARP)
    store.record_requests(database, "tool", SHARP, [request(number) for number in range(3)])
    answers = [answer(number) for number in range(3)]
    assert store.land(database, answers) == Landed(new=3)
    assert store.land(database, [*answers, answer(3)]) == Landed(new=1, unchanged=3)
    assert store.land(database, [answers[0], answers[0]]) == Landed(unchanged=2)
    assert database.rows("select count(*) from label_answers")[0][0] == 4


def test_an_edit_is_another_revision_and_the_first_one_stays(database: Database) -> None:
    edited = answer(1, revision=7, answer_json='{"choice":"blurred"}')
    assert store.land(database, [answer(1)]) == Landed(new=1)
    assert store.land(database, [edited, answer(1)]) == Landed(revised=1, unchanged=1)
    rows = database.rows("select revision, answer_json from label_answers order by revision")
    assert rows == [(0, '{"choice":"sharp"}'), (7, '{"choice":"blurred"}')]


def test_two_revisions_that_arrive_together_are_one_new_answer(database: Database) -> None:
    assert store.land(database, [answer(1), answer(1, revision=7)]) == Landed(new=1, revised=1)


def test_an_answer_belongs_to_its_tasks_day_and_an_unknown_task_to_the_day_of_the_answer(database: Database) -> None:
    store.record_requests(database, "tool", SHARP, [request(1)])
    store.land(database, [answer(1), answer(2)])
    days = database.read("select source_id, day from label_answers order by source_id").rows()
    assert days == [("1", DAY), ("2", AT.date())]


def test_people_have_one_pseudonym_a_source_which_does_not_name_them(database: Database) -> None:
    store.land(database, [answer(1), answer(2), answer(3, annotator="bob"), answer(4, source="other")])
    pseudonyms = database.read("select source_id, annotator from label_answers order by source_id")["annotator"].to_list()
    assert pseudonyms[0] == pseudonyms[1]
    assert len(set(pseudonyms)) == 3
    assert not any("ann@" in one or "bob" in one for one in pseudonyms)


def test_a_deleted_answer_keeps_no_content(database: Database) -> None:
    store.land(database, [answer(1, is_deleted=True), answer(2, is_cancelled=True)])
    assert database.read("select answer_json from label_answers")["answer_json"].to_list() == [None, None]


def test_a_request_keeps_its_first_time_and_learns_the_tools_id(database: Database) -> None:
    store.record_requests(database, "tool", SHARP, [request(1), request(1)])
    first = database.rows("select requested_at from label_requests")
    store.record_requests(database, "tool", SHARP, [replace(request(1), tool_task_id="77")])
    store.record_requests(database, "tool", SHARP, [request(1)])
    assert store.requested(database, "tool", SHARP) == {request(1).task_key: "77"}
    assert database.rows("select requested_at from label_requests") == first
    assert store.requested(database, "other", SHARP) == {}


def test_a_changed_question_needs_another_version_and_other_changes_do_not(database: Database) -> None:
    store.record_campaign(database, SHARP)
    store.record_campaign(database, SHARP)
    store.record_campaign(database, SHARP.model_copy(update={"price": 0.5}))
    assert '"price":0.5' in database.rows("select definition from label_campaigns")[0][0]
    with pytest.raises(QuestionChanged, match="raise `version`"):
        store.record_campaign(database, SHARP.model_copy(update={"question": "Is it blurred?"}))
    store.record_campaign(database, SHARP.model_copy(update={"question": "Is it blurred?", "version": 2}))
    assert database.rows("select count(*) from label_campaigns")[0][0] == 2


def test_thousands_of_answers_land_in_batches(database: Database) -> None:
    many = [
        answer(number, answered_at=AT + timedelta(seconds=number), annotator=str(number % 50)) for number in range(2_500)
    ]
    assert store.land(database, iter(many)) == Landed(new=2_500)
    assert store.land(database, many[500:]) == Landed(unchanged=2_000)


def test_the_first_of_two_contents_of_a_revision_stays_in_one_batch_as_in_two(database: Database) -> None:
    pair = [answer(1), answer(1, answer_json='{"choice":"blurred"}')]
    assert store.land(database, pair) == Landed(new=1, unchanged=1)
    assert store.land(database, pair[1:]) == Landed(unchanged=1)
    assert database.rows("select answer_json from label_answers") == [('{"choice":"sharp"}',)]


def test_the_day_of_an_answer_to_an_unknown_task_is_that_of_utc(database: Database) -> None:
    west = timezone(timedelta(hours=-5))
    store.land(database, [answer(1, answered_at=datetime(2026, 3, 9, 23, tzinfo=west))])
    assert database.read("select day from label_answers")["day"].to_list() == [date(2026, 3, 10)]


@pytest.mark.parametrize("lead", [10**400, 1e10, float("inf"), float("nan"), -1])
def test_a_lead_time_that_nobody_takes_is_no_lead_time(lead: float) -> None:
    with pytest.raises(UnfitParent, match="lead time"):
        answer(1, lead_time_s=lead)


@pytest.mark.slow
def test_tools_that_record_the_same_tasks_at_once_wait_for_each_other(database: Database) -> None:
    rows = [request(number) for number in range(2_000)]
    with ThreadPoolExecutor(2) as pool:
        work = [
            pool.submit(store.record_requests, database, "tool", SHARP, some)
            for some in (rows, rows[::-1])
            for _ in range(4)
        ]
    assert [one.exception() for one in work] == [None] * 8


def test_an_answer_without_an_id_has_one_of_its_pseudonym_which_names_nobody(database: Database) -> None:
    given = answer(1, source_id=NO_ID + "a" * 32)
    assert store.identified(database, [given]) == [given]
    assert store.land(database, [given]) == Landed(new=1)
    assert store.land(database, [given]) == Landed(unchanged=1)
    [(identity, pseudonym)] = database.rows("select source_id, annotator from label_answers")
    assert identity == f"{pseudonym}/{given.task_key}"
    assert store.identified(database, [given]) == [replace(given, source_id=identity)]
