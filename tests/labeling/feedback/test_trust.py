"""How much a claim counts."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline_assets.labeling.feedback import trust
from pipeline_assets.labeling.feedback.trust import CONSENSUS, FREE_CLAIMS, WINDOW

START = datetime(2026, 1, 2, tzinfo=UTC)
CLAIMS = {
    "event_id": pl.String,
    "user_id": pl.Int64,
    "photo_id": pl.Int64,
    "kind": pl.String,
    "label": pl.String,
    "not_label": pl.String,
    "arrived_at": pl.Datetime("us", "UTC"),
}


def at(minute):
    return START + timedelta(minutes=minute)


def claim(name, user, photo, minute, label="cat", not_label=None, kind="correct"):
    return (name, user, photo, kind, label if kind == "correct" else None, not_label, at(minute))


def claims_of(*rows):
    return pl.DataFrame(rows, schema=CLAIMS, orient="row")


def consensus_of(*rows):
    """(photo, choice, minute)"""
    found = [(photo, ["cat", "dog"], choice, at(minute)) for photo, choice, minute in rows]
    return pl.DataFrame(found, schema=CONSENSUS, orient="row")


def told(claims, *consensus):
    return {
        row[0]: row[1:]
        for row in trust.weighted(claims, consensus_of(*consensus)).select("event_id", "judged", "confirmed").rows()
    }


def test_a_new_user_counts_half():
    [weight] = trust.weighted(claims_of(claim("a", 1, 7, 0)), consensus_of())["weight"]
    assert weight == 0.5


def test_a_consensus_confirms_and_contradicts_once_it_is_known():
    claims = claims_of(*(claim(f"{user}{number}", user, number, number) for user in (1, 2) for number in range(4)))
    claims = claims.with_columns(label=pl.when(user_id=2).then(pl.lit("dog")).otherwise("label"))
    agreed = [(0, "cat", 2), (1, "cat", 1), (2, "cat", 100), (3, None, 0)]
    right, wrong = (told(claims.filter(user_id=user), *agreed) for user in (1, 2))
    assert right == {"10": (0, 0), "11": (1, 1), "12": (2, 2), "13": (2, 2)}
    assert wrong == {"20": (0, 0), "21": (1, 0), "22": (2, 0), "23": (2, 0)}


def test_what_a_photo_is_not_is_right_if_people_choose_another_class():
    claims = claims_of(claim("a", 1, 7, 0, None, "dog"), claim("b", 2, 7, 0, None, "cat"))
    assert told(claims, (7, "cat", 0)) == {"a": (1, 1), "b": (1, 0)}


def test_a_question_with_other_classes_judges_nothing():
    assert told(claims_of(claim("a", 1, 7, 0, "lion")), (7, "cat", 0)) == {"a": (0, 0)}


def test_another_user_who_says_the_same_confirms_both_from_then_on_and_nobody_confirms_themselves():
    claims = claims_of(
        claim("a", 1, 7, 0), claim("b", 2, 7, 5), claim("c", 1, 8, 4), claim("d", 1, 9, 6), claim("e", 2, 9, 3, "dog")
    )
    assert told(claims) == {"a": (0, 0), "b": (1, 1), "c": (0, 0), "d": (2, 1), "e": (0, 0)}


def test_users_who_can_not_both_be_right_count_against_each_other():
    claims = claims_of(
        claim("a", 1, 7, 0),
        claim("b", 2, 7, 1, None, "cat"),
        claim("c", 3, 7, 2, "dog"),
        claim("d", 1, 8, 3),
        claim("e", 4, 7, 4, None, "bird"),
    )
    assert told(claims) == {"a": (0, 0), "b": (1, 0), "c": (1, 0), "d": (2, 0), "e": (0, 0)}


def test_a_user_whom_others_contradict_counts_less_than_one_whom_they_confirm():
    honest = [claim(f"{user}-{photo}", user, photo, 10 * photo + user) for user in (1, 2, 3) for photo in range(8)]
    wrong = [claim(f"z-{photo}", 9, photo, 10 * photo + 5, "dog") for photo in range(8)]
    weights = trust.weighted(claims_of(*honest, *wrong), consensus_of()).group_by("user_id").agg(pl.col("weight").last())
    by_user = dict(weights.rows())
    assert by_user[9] < 0.15
    assert min(by_user[user] for user in (1, 2, 3)) > 0.55


def test_a_user_judges_others_once_however_often_they_correct_a_photo():
    junk = [claim(f"j{number:02}", 9, 7, number, f"junk {number}") for number in range(20)]
    honest = [claim(f"h{user}", user, 7, 30 + user) for user in (1, 2, 3)]
    later = [claim(f"l{user}", user, 10 + user, 50 + user) for user in (1, 2, 3)]
    found = told(claims_of(*junk, *honest, *later))
    assert [found[f"l{user}"] for user in (1, 2, 3)] == [(3, 2)] * 3


def test_an_agreement_counts_once_with_users_and_with_people():
    many = [claim(f"m{number:02}", 2, 7, number + 1, "cat", f"n{number}") for number in range(15)]
    claims = claims_of(claim("a", 1, 7, 0), *many, claim("b", 1, 8, 30), claim("c", 2, 9, 30))
    assert {name: told(claims)[name] for name in "bc"} == {"b": (1, 1), "c": (1, 1)}
    assert {name: told(claims, (7, "cat", 20))[name] for name in "bc"} == {"b": (1, 1), "c": (1, 1)}


def test_a_consensus_replaces_what_users_confirmed():
    claims = claims_of(claim("a", 1, 7, 0), claim("b", 2, 7, 1), claim("c", 1, 8, 5), claim("d", 1, 8, 9, "dog"))
    assert told(claims, (7, "dog", 7)) == {"a": (0, 0), "b": (1, 1), "c": (1, 1), "d": (1, 0)}


def test_a_user_who_corrects_everything_is_weighed_down_even_before_anybody_judges():
    many = claims_of(*(claim(f"{number:03}", 1, number, number) for number in range(100)))
    weights = trust.weighted(many, consensus_of())["weight"]
    assert weights[:FREE_CLAIMS].unique().to_list() == [0.5]
    assert weights[99] == pytest.approx(0.5 * FREE_CLAIMS / 100)
    wrong = trust.weighted(many, consensus_of(*((number, "dog", 0) for number in range(100))))["weight"]
    assert wrong[99] == pytest.approx(2 / 104 * FREE_CLAIMS / 100)


def test_claims_before_the_window_are_not_recent():
    minutes = WINDOW // timedelta(minutes=1)
    claims = claims_of(
        claim("a", 1, 1, 0), claim("b", 1, 2, minutes - 1), claim("c", 1, 3, minutes), claim("d", 2, 3, minutes)
    )
    assert trust.weighted(claims, consensus_of()).select("event_id", "recent").rows() == [
        ("a", 1),
        ("b", 2),
        ("c", 2),
        ("d", 1),
    ]


def test_reports_and_hides_are_not_judged_and_are_counted():
    claims = claims_of(
        claim("a", 1, 7, 0, kind="report"), claim("b", 2, 7, 1, kind="report"), claim("c", 1, 8, 2, kind="hide")
    )
    found = trust.weighted(claims, consensus_of((7, "cat", 0)))
    assert found.select("judged", "recent").rows() == [(0, 1), (0, 1), (0, 2)]


rows = st.lists(
    st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(0, 20), st.sampled_from(["cat", "dog"]), st.booleans()),
    max_size=20,
)
answers = st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["cat", "dog"]), st.integers(0, 20)), max_size=6)


@settings(deadline=None, max_examples=60)
@given(rows, answers, st.integers(0, 20))
def test_a_weight_never_sees_the_future(drawn, answered, minute):
    said = {(user, photo, label, is_not): when for user, photo, when, label, is_not in drawn}
    found = [
        claim(f"{number:02}", user, photo, when, None if is_not else label, label if is_not else None)
        for number, ((user, photo, label, is_not), when) in enumerate(said.items())
    ]
    whole = trust.weighted(claims_of(*found), consensus_of(*answered))
    assert whole["weight"].is_between(0, 1).all()
    assert (whole["confirmed"] <= whole["judged"]).all()
    assert (whole["confirmed"] >= 0).all()
    then = [one for one in found if one[-1] <= at(minute)]
    known = [one for one in answered if one[2] <= minute]
    assert_frame_equal(
        trust.weighted(claims_of(*then), consensus_of(*known)), whole.filter(pl.col("arrived_at") <= at(minute))
    )
