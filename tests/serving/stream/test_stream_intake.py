"""What is taken of lines: the very text that the lake will have, stamped with times that never fall."""

import json
import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.errors import ClockSetBack
from pipeline_assets.ingestion.logs.event_lines import Event, parse_line
from pipeline_assets.serving.stream import intake
from pipeline_assets.serving.stream.arrivals import Arrivals
from pipeline_assets.serving.stream.intake import Batch, Judged, RecentIds, judge

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def line(event_id: str = "e-1", at: datetime = NOW - timedelta(hours=1), **others: object) -> str:
    return json.dumps({"event_id": event_id, "user_id": 1, "kind": "login", "at": at.isoformat(), **others})


def judged(*lines: str, recent: RecentIds | None = None, now: datetime = NOW) -> Judged:
    return judge([Batch("test", lines)], recent or RecentIds(), Arrivals(NOW - timedelta(days=1), lambda: now))


def reasons(*lines: str) -> list[str]:
    return [letter.reason for letter in judged(*lines).dead]


def test_lines_become_lines_of_the_log_with_their_arrival() -> None:
    found = judged(line("a"), line("b", x=1))
    assert [parse_line(text, NOW.date()) for text in found.lines] == found.events
    assert [(event.event_id, event.arrived_at, event.extra_json) for event in found.events] == [
        ("a", NOW, None),
        ("b", NOW, '{"x":1}'),
    ]


@pytest.mark.parametrize(
    "text",
    [
        line(arrived_at="2020-01-01T00:00:00Z"),
        line().replace('"event_id"', '"\\u0061rrived_at": "2020-01-01T00:00:00Z", "event_id"'),
        line(extra={"arrived_at": "x"}),
        line(note='"arrived_at":'),
        line(note="a\nb\\"),
        line().replace(", ", ",\r\n  "),
        f"  {line()}\r",
    ],
    ids=["own", "escaped", "nested", "in_text", "line_feed", "indented", "spaces"],
)
def test_the_arrival_is_ours_however_a_line_is_written(text: str) -> None:
    (event,) = judged(text).events
    assert event.arrived_at == NOW
    assert "\n" not in judged(text).lines[0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "bad_json"),
        ("{}", "missing_field"),
        ("{", "bad_json"),
        ("[1]", "not_an_object"),
        ("7", "not_an_object"),
        (line()[:-1], "bad_json"),
        (f"{line()}{line()}", "bad_json"),
        (line(user_id=1.0), "bad_type"),
        (line(kind="stare"), "unknown_kind"),
        (line(at=NOW + timedelta(seconds=2)), "arrives_before_it_happened"),
        (line().replace("2026-01-31T11", "2026-02-30T11"), "bad_timestamp"),
        (line(x="y" * 70_000), "too_long"),
        (line().replace('"login"', '"login", "x": 1, "x": 2'), "bad_json"),
        (line(x=float("nan")), "bad_json"),
        ('{"a":' * 100 + "1" + "}" * 100, "bad_json"),
        (b"\xff\xfe".decode("utf-8", "surrogateescape"), "bad_json"),
        (line(event_id="\udcff"), "bad_json"),
    ],
)
def test_a_line_that_breaks_the_contract_is_a_dead_letter_and_the_others_are_taken(text: str, reason: str) -> None:
    found = judged(line("a"), text, line("b"))
    assert [letter.reason for letter in found.dead] == [reason]
    assert [event.event_id for event in found.events] == ["a", "b"]
    (receipt,) = found.receipts
    assert (receipt.accepted, receipt.duplicate, receipt.rejected) == (2, 0, 1)
    assert receipt.rejections[0][:2] == (1, reason)


def test_a_sender_whose_clock_is_a_little_ahead_is_taken_when_the_event_has_happened() -> None:
    ahead = NOW + timedelta(seconds=0.9)
    arrivals = Arrivals(NOW - timedelta(days=1), lambda: NOW)
    found = judge([Batch("test", [line("a", at=ahead), line("b")])], RecentIds(), arrivals)
    assert [event.arrived_at for event in found.events] == [ahead, NOW]
    assert arrivals.next() > ahead


def test_senders_whose_clocks_are_ahead_do_not_lead_the_stamps_away() -> None:
    arrivals, recent = Arrivals(NOW, lambda: NOW), RecentIds()
    for number in range(3):
        judge([Batch("test", [line(f"e-{number}", at=arrivals.newest + timedelta(seconds=0.9))])], recent, arrivals)
    assert arrivals.newest < NOW + timedelta(seconds=1)


def test_no_event_arrives_on_another_day_than_its_batch() -> None:
    midnight = datetime(2026, 2, 1, tzinfo=UTC)
    found = judged(line(at=midnight), now=midnight - timedelta(seconds=0.5))
    assert [letter.reason for letter in found.dead] == ["arrives_before_it_happened"]


def test_an_id_counts_once_in_a_batch_and_among_recent_ones() -> None:
    recent = RecentIds()
    first = judged(line("a"), line("a"), line("b"), recent=recent)
    assert (first.receipts[0].accepted, first.receipts[0].duplicate) == (2, 1)
    assert judged(line("a"), recent=recent).receipts[0].accepted == 1  # not durable yet, so not remembered
    recent.add(first.ids)
    assert judged(line("a"), line("c"), recent=recent).receipts[0].duplicate == 1


def test_recent_ids_are_bounded_and_forget_the_oldest() -> None:
    recent = RecentIds(size=10)
    for number in range(100):
        recent.add([bytes([number])])
    assert [bytes([number]) in recent for number in (0, 79, 90, 99)] == [False, False, True, True]


@given(st.lists(st.integers(-3600, 3600), max_size=50))
def test_stamps_rise_whatever_the_clock_does(seconds: list[int]) -> None:
    clock = iter(seconds)
    arrivals = Arrivals(NOW, lambda: NOW + timedelta(seconds=next(clock)))
    newest = NOW
    for _ in seconds:
        before = arrivals.newest
        try:
            stamp = arrivals.next()
        except ClockSetBack:
            assert arrivals.newest == before
            continue
        assert stamp > newest
        newest = stamp


def test_a_clock_far_behind_is_told() -> None:
    arrivals = Arrivals(NOW, lambda: NOW - timedelta(hours=1))
    with pytest.raises(ClockSetBack, match="set the clock"):
        arrivals.next()


PIECES = [
    line("x"),
    line("y", z="ü"),
    "{}",
    "",
    "junk",
    line("x", user_id=-1),
    "[\n]",
    "\ufeff" + line("x", arrived_at="2026-01-31T11:30:00Z"),
    line("q", at=NOW + timedelta(seconds=0.5)),
]


@given(seed=st.integers(0, 2**32), count=st.integers(1, 60))
def test_lines_judged_in_bulk_are_judged_as_one_by_one(seed: int, count: int) -> None:
    rng = random.Random(seed)
    lines = [rng.choice(PIECES).replace('"x"', f'"{rng.randrange(30)}"') for _ in range(count)]
    singly = judged(*lines)
    usual, intake._BULK_LINES = intake._BULK_LINES, 1
    try:
        assert judged(*lines) == singly
    finally:
        intake._BULK_LINES = usual
    assert all(isinstance(event, Event) for event in singly.events)


@pytest.mark.slow
def test_more_bad_lines_than_a_log_may_have_are_all_dead_letters() -> None:
    found = judged(*["{1}"] * 100_001, line("a"))
    assert [(receipt.accepted, receipt.rejected) for receipt in found.receipts] == [(1, 100_001)]
