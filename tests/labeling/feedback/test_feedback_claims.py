"""What users say of photos, read from events."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.framework.schemas import Rejected
from pipeline_assets.ingestion.schemas import EventLog
from pipeline_assets.labeling.feedback import claims

DAY = date(2026, 1, 2)
AT = datetime(2026, 1, 2, 3, tzinfo=UTC)


def event(event_id, user=1, photo=7, kind="correct", extra='{"label":"cat"}', minute=0, day=DAY):
    at = AT + timedelta(minutes=minute)
    return (day, event_id, user, photo, kind, at, at, extra)


def log(*rows):
    return pl.DataFrame(rows, schema=EventLog.create_empty().schema, orient="row")


def claims_of(*rows):
    return claims.of_events(log(*rows).lazy()).collect()


def test_reports_hides_and_corrections_are_claims_and_labels_are_those_of_corrections():
    found = claims_of(
        event("a", kind="view"),
        event("b", kind="report", extra=None),
        event("c", kind="hide", extra='{"label":"cat"}'),
        event("d", extra='{"label":" cat ","not_label":"dog"}'),
        event("e", extra='{"label":null,"not_label":"dog"}'),
        event("f", kind="login", photo=None, extra=None),
    )
    assert found.select("event_id", "label", "not_label").rows() == [
        ("b", None, None),
        ("c", None, None),
        ("d", "cat", "dog"),
        ("e", None, "dog"),
    ]


def test_a_delivery_again_and_the_same_said_again_count_once():
    found = claims_of(
        event("a", minute=5),
        event("a", minute=0, day=date(2026, 1, 1)),
        event("b", minute=9),
        event("c", minute=9, extra='{"label":"dog"}'),
        event("d", minute=9, user=2),
        event("e", minute=9, kind="report", extra=None),
        event("f", minute=10, kind="report", extra=None),
    )
    kept, aside = claims.once(found)
    assert kept.select("event_id", "day").rows() == [("a", date(2026, 1, 1)), ("c", DAY), ("d", DAY), ("e", DAY)]
    assert aside.select("event_id", "reason").rows() == [("a", "duplicate_event"), ("b", "repeated"), ("f", "repeated")]
    rejected = Rejected.validate(claims.rejected(aside))
    assert rejected["detail"].null_count() == 0
    assert "user_id" not in rejected["raw"].str.join("").item()


@settings(deadline=None, max_examples=40)
@given(st.permutations([("a", 1, 0), ("a", 1, 3), ("b", 1, 0), ("b", 2, 0), ("c", 2, 1), ("c", 2, 1)]))
def test_what_counts_does_not_depend_on_the_order_of_rows(rows):
    kept, aside = claims.once(claims_of(*(event(name, user=user, minute=minute) for name, user, minute in rows)))
    assert kept.select("event_id", "user_id").rows() == [("a", 1), ("c", 2)]
    assert kept.height + aside.height == 6


def test_a_claim_has_its_photo_and_says_whether_the_owner_speaks():
    photos = pl.DataFrame(
        {"day": [DAY, DAY, date(2026, 1, 1)], "photo_id": [7, 8, 7], "user_id": [1, 2, 9], "key": ["new", "b", "old"]}
    )
    known, unknown = claims.with_photos(claims_of(event("a"), event("b", photo=8), event("c", photo=99)), photos)
    assert known.select("event_id", "key", "photo_day", "is_owner").rows() == [
        ("a", "new", DAY, True),
        ("b", "b", DAY, False),
    ]
    assert unknown.select("event_id", "reason").rows() == [("c", "unknown_photo")]


def test_a_photo_is_known_to_claims_of_its_day_and_of_the_sixty_after():
    days = [DAY + timedelta(days=number) for number in (-1, 0, 60, 61)]
    photos = pl.DataFrame({"day": [DAY], "photo_id": [7], "user_id": [1], "key": ["k"]})
    said = claims_of(*(event(f"e{number}", day=day) for number, day in enumerate(days)))
    known, unknown = claims.with_photos(said, photos)
    assert known["event_id"].to_list() == ["e1", "e2"]
    assert unknown["event_id"].to_list() == ["e0", "e3"]
    assert claims.with_photos(said[:0], photos)[0].is_empty()
