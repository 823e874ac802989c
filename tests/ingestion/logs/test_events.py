"""Log files to events and rejections: hand-worked lines, and the fast path against the slow one."""

import gzip
import json
import random
import zlib
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline_assets.framework.schemas import Rejected
from pipeline_assets.ingestion.logs.event_lines import BadLine, Event, parse_line
from pipeline_assets.ingestion.logs.events import day_of_log, drop_duplicate_events, parse_log
from pipeline_assets.ingestion.logs.log_files import BLOCK_BYTES, Damage, line_blocks
from pipeline_assets.ingestion.schemas import EventLog

DAY = date(2026, 1, 2)
KEY = "events/2026-01-02/0000.jsonl.gz"
GOOD: dict[str, Any] = {
    "event_id": "e1",
    "user_id": 7,
    "photo_id": 42,
    "kind": "like",
    "at": "2026-01-02T03:04:05.123456Z",
    "arrived_at": "2026-01-02T03:04:06Z",
}
AT = datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)
ARRIVED = datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC)


def line(**changes: Any) -> str:
    """GOOD as JSON with these changes; a field set to `...` is left out."""
    return json.dumps({k: v for k, v in (GOOD | changes).items() if v is not ...}, separators=(",", ":"))


def log(*lines: str | bytes) -> bytes:
    return gzip.compress(b"".join((one if isinstance(one, bytes) else one.encode()) + b"\n" for one in lines))


def many(count: int, **changes: Any) -> list[str]:
    return [line(event_id=f"e{i:06}", photo_id=i, **changes) for i in range(count)]


def test_a_hand_worked_file() -> None:
    data = log(
        line(),
        "",
        line(event_id="e2", kind="login", photo_id=None),
        "{broken",
        line(event_id="e3", photo_id=..., app={"b": 1, "a": [1.5, None]}, lang="é"),
        line(event_id="e4", kind="teleport"),
    )

    parsed = parse_log(data, KEY, DAY)

    expected = pl.DataFrame(
        [
            (DAY, "e1", 7, 42, "like", AT, ARRIVED, None),
            (DAY, "e2", 7, None, "login", AT, ARRIVED, None),
            (DAY, "e3", 7, None, "like", AT, ARRIVED, '{"app":{"a":[1.5,null],"b":1},"lang":"é"}'),
        ],
        schema=EventLog.create_empty().schema,
        orient="row",
    )
    assert_frame_equal(parsed.events, expected)
    assert EventLog.is_valid(parsed.events)
    assert Rejected.is_valid(parsed.rejected)
    assert parsed.rejected.select("day", "source", "reason", "raw").rows() == [
        (DAY, f"{KEY}:4", "bad_json", "{broken"),
        (DAY, f"{KEY}:6", "unknown_kind", line(event_id="e4", kind="teleport")),
    ]


BAD: dict[str, tuple[str | bytes, str]] = {
    "no json": ("hello", "bad_json"),
    "cut": (line()[:50], "bad_json"),
    "two objects": (line() + line(event_id="e2"), "bad_json"),
    "trailing comma": (line()[:-1] + ",}", "bad_json"),
    "single quotes": (line().replace('"', "'"), "bad_json"),
    "a comment": (line() + " // x", "bad_json"),
    "not a number": (line()[:-1] + ',"x":NaN}', "bad_json"),
    "infinite": (line()[:-1] + ',"x":-Infinity}', "bad_json"),
    "beyond a double": (line()[:-1] + ',"x":1e999}', "bad_json"),
    "an integer of 5,000 digits": (line()[:-1] + ',"x":' + "9" * 5_000 + "}", "bad_json"),
    "deep": (line()[:-1] + ',"x":' + "[" * 20_000 + "]" * 20_000 + "}", "bad_json"),
    "a repeated field": (line()[:-1] + ',"kind":"view"}', "bad_json"),
    "a repeated inner field": (line()[:-1] + ',"x":{"a":1,"a":2}}', "bad_json"),
    "a raw tab in text": (line(event_id="a@b").replace("@", "\t"), "bad_json"),
    "half a surrogate": (line(event_id="a@b").replace("@", "\\ud800"), "bad_json"),
    "half a surrogate in an extra": (line(x="a@b").replace("@", "\\ud800"), "bad_json"),
    "not utf-8": (line(event_id="a@b").encode().replace(b"@", b"\xff"), "bad_json"),
    "a list": (f"[{line()}]", "not_an_object"),
    "a number": ("17", "not_an_object"),
    "null": ("null", "not_an_object"),
    "no id": (line(event_id=...), "missing_field"),
    "a null user": (line(user_id=None), "missing_field"),
    "no kind but an extra": (line(kind=..., mind="like"), "missing_field"),
    "no time": (line(at=...), "missing_field"),
    "no arrival": (line(arrived_at=...), "missing_field"),
    "nothing": ("{}", "missing_field"),
    "an id that is a number": (line(event_id=5), "bad_type"),
    "an empty id": (line(event_id=""), "bad_type"),
    "a long id": (line(event_id="x" * 201), "bad_type"),
    "a user in text": (line(user_id="7"), "bad_type"),
    "a float user": (line(user_id=7.0), "bad_type"),
    "a user with an exponent": (line(user_id=123).replace("123", "1e2"), "bad_type"),
    "a true user": (line(user_id=True), "bad_type"),
    "a negative user": (line(user_id=-1), "bad_type"),
    "a user beyond 63 bits": (line(user_id=2**63), "bad_type"),
    "a photo in text": (line(photo_id="42"), "bad_type"),
    "a negative photo": (line(photo_id=-42), "bad_type"),
    "a kind that is a list": (line(kind=["like"]), "bad_type"),
    "a time that is a number": (line(at=1767323045), "bad_type"),
    "an unknown kind": (line(kind="Like"), "unknown_kind"),
    "a report of no photo": (line(kind="report", photo_id=None), "missing_field"),
    "a hide of no photo": (line(kind="hide", photo_id=...), "missing_field"),
    "a correction of no photo": (line(kind="correct", label="cat", photo_id=None), "missing_field"),
    "a correction that corrects nothing": (line(kind="correct"), "missing_field"),
    "a correction to null": (line(kind="correct", label=None, not_label=None), "missing_field"),
    "a correction to nothing": (line(kind="correct", label=" "), "bad_type"),
    "a correction to a number": (line(kind="correct", label=7), "bad_type"),
    "a correction to a list": (line(kind="correct", not_label=["cat"]), "bad_type"),
    "a correction to a long text": (line(kind="correct", label="x" * 201), "bad_type"),
    "a correction with NUL": (line(kind="correct", label="a\0"), "bad_type"),
    "a correction with one label of two": (line(kind="correct", label="cat", not_label=7), "bad_type"),
    "an empty kind": (line(kind=""), "unknown_kind"),
    "no zone": (line(at="2026-01-02T03:04:05"), "bad_timestamp"),
    "no such day": (line(at="2025-02-29T03:04:05Z"), "bad_timestamp"),
    "no such hour": (line(at="2026-01-01T24:00:00Z"), "bad_timestamp"),
    "a leap second": (line(at="2026-01-01T23:59:60Z"), "bad_timestamp"),
    "no such offset": (line(at="2026-01-02T03:04:05+25:00"), "bad_timestamp"),
    "a day alone": (line(at="2026-01-02"), "bad_timestamp"),
    "before 1970": (line(at="1969-12-31T23:59:59Z"), "bad_timestamp"),
    "a newline after": (line(at="2026-01-02T03:04:05Z\n"), "bad_timestamp"),
    "arabic digits": (line(at="٢٠٢٦-01-02T03:04:05Z"), "bad_timestamp"),
    "too early an arrival": (line(arrived_at="2026-01-02T03:04:05.123455Z"), "arrives_before_it_happened"),
    "another day": (line(arrived_at="2026-01-03T00:00:00Z"), "arrives_on_another_day"),
    "another day by its zone": (line(arrived_at="2026-01-02T23:30:00-01:00"), "arrives_on_another_day"),
    "too long": (line(x="y" * 70_000), "too_long"),
    "30,000 lists in each other": (line(x=1)[:-1] + ', "y": ' + "[" * 30_000 + "]" * 30_000 + "}", "bad_json"),
    "10,000 objects in each other": (line(x=1)[:-1] + ', "y": ' + '{"a":' * 10_000 + "1" + "}" * 10_000 + "}", "bad_json"),
    "60,000 opened lists": ("[" * 60_000, "bad_json"),
    "a number of 60,000 digits": (line(user_id=7).replace("7", "7" * 60_000, 1), "bad_json"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_rejected_under_its_reason_among_good_ones(name: str) -> None:
    bad, reason = BAD[name]
    good = many(200)

    parsed = parse_log(log(*good[:100], bad, *good[100:]), KEY, DAY)

    assert parsed.rejected.select("source", "reason").rows() == [(f"{KEY}:101", reason)]
    assert parsed.rejected["raw"].str.len_chars().max() <= 2_000
    assert parsed.events["event_id"].to_list() == [f"e{i:06}" for i in range(200)]


def test_feedback_is_an_event_and_its_labels_are_carried() -> None:
    said = [
        line(event_id="r", kind="report"),
        line(event_id="h", kind="hide", label=7),
        line(event_id="c", kind="correct", label="cat", not_label="dog"),
        line(event_id="n", kind="correct", not_label="dog", label=None),
        line(event_id="v", label="cat"),
    ]

    parsed = parse_log(log(*many(100), *said), KEY, DAY)

    assert parsed.rejected.is_empty()
    assert parsed.events[100:].select("event_id", "kind", "extra_json").rows() == [
        ("r", "report", None),
        ("h", "hide", '{"label":7}'),
        ("c", "correct", '{"label":"cat","not_label":"dog"}'),
        ("n", "correct", '{"label":null,"not_label":"dog"}'),
        ("v", GOOD["kind"], '{"label":"cat"}'),
    ]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05.1Z", datetime(2026, 1, 2, 3, 4, 5, 100_000, tzinfo=UTC)),
        ("2026-01-02T03:04:05.123456789Z", datetime(2026, 1, 2, 3, 4, 5, 123_456, tzinfo=UTC)),
        ("2026-01-02T04:04:05+01:00", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-01T21:34:05-0530", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04Z", datetime(2026, 1, 2, 3, 4, tzinfo=UTC)),
        ("2026-01-02T04:04+01:00", datetime(2026, 1, 2, 3, 4, tzinfo=UTC)),
        ("2026-01-02 03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02 03:04:05.123456789-00:00", datetime(2026, 1, 2, 3, 4, 5, 123_456, tzinfo=UTC)),
        ("2026-01-02t03:04:05z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05,25Z", datetime(2026, 1, 2, 3, 4, 5, 250_000, tzinfo=UTC)),
        ("2026-01-02T04:04:05+01", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("20260102T030405Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-W01-5T03:04Z", datetime(2026, 1, 2, 3, 4, tzinfo=UTC)),
    ],
)
@pytest.mark.parametrize("alone", [True, False])
def test_a_time_is_read_in_any_zone_and_precision(written: str, expected: datetime, alone: bool) -> None:
    """alone: with no other kind of timestamp in the block, and among others."""
    others = [] if alone else [line(event_id="x"), line(event_id="y", at="2026-01-02T03:04:05+00:00"), line(at="soon")]

    parsed = parse_log(log(line(event_id="t", at=written), *others), KEY, DAY)

    assert parsed.events.filter(pl.col("event_id") == "t")["at"].to_list() == [expected]


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({"v": "4.2"}, '{"v":"4.2"}'),
        ({"v": ""}, '{"v":""}'),
        ({"v": 3}, '{"v":3}'),
        ({"v": True, "a": False}, '{"a":false,"v":true}'),
        ({"v": 1.5}, '{"v":1.5}'),
        ({"v": None}, '{"v":null}'),
        ({"v": 2**70}, '{"v":1180591620717411303424}'),
        ({"v": 'say "hi"\n\\'}, '{"v":"say \\"hi\\"\\n\\\\"}'),
        ({"v": {"at": "x", "photo_id": 1}}, '{"v":{"at":"x","photo_id":1}}'),
        ({"v v": 1, "ü": 2}, '{"v v":1,"ü":2}'),
        ({"photo_id ": 1}, '{"photo_id ":1}'),
        ({"_line": 1, "has photo_id": "x"}, '{"_line":1,"has photo_id":"x"}'),
        ({"day": "2020-01-01", "extra_json": "{}"}, '{"day":"2020-01-01","extra_json":"{}"}'),
        ({"text": "x"}, '{"text":"x"}'),
    ],
)
def test_new_fields_are_carried_whether_one_line_has_them_or_all(extra: dict[str, Any], expected: str) -> None:
    lines = many(300, **extra)
    mixed = [one if i % 3 else line(event_id=f"e{i:06}") for i, one in enumerate(lines)]

    all_have = parse_log(log(*lines), KEY, DAY)
    some_have = parse_log(log(*mixed), KEY, DAY)

    assert all_have.rejected.is_empty()
    assert all_have.events["extra_json"].to_list() == [expected] * 300
    assert some_have.events["extra_json"].to_list() == [expected if i % 3 else None for i in range(300)]


def test_a_field_that_changes_its_type_is_carried_as_each_line_has_it() -> None:
    values = ["4.2", 4, True, None, [1], 4.5]
    lines = [line(event_id=f"e{i:06}", v=values[i % 6]) for i in range(600)]

    parsed = parse_log(log(*lines), KEY, DAY)

    assert parsed.rejected.is_empty()
    assert parsed.events["extra_json"].to_list() == [
        json.dumps({"v": values[i % 6]}, separators=(",", ":")) for i in range(600)
    ]


def test_order_of_fields_and_spaces_do_not_matter() -> None:
    turned = json.dumps(dict(reversed(GOOD.items())), indent=None, separators=(" , ", " : "))

    assert_frame_equal(parse_log(log(f"  {turned}\t\r"), KEY, DAY).events, parse_log(log(line()), KEY, DAY).events)


def test_plain_and_gzip_and_several_members_are_read_alike() -> None:
    lines = [one + "\n" for one in many(500)]
    plain = "".join(lines).encode()
    members = gzip.compress("".join(lines[:200]).encode()) + gzip.compress("".join(lines[200:]).encode()) + b"\0" * 9

    expected = parse_log(plain, KEY, DAY).events

    assert expected.height == 500
    for data in (gzip.compress(plain), members, plain[:-1], b"\xef\xbb\xbf" + plain, plain.replace(b"\n", b"\r\n")):
        parsed = parse_log(data, KEY, DAY)
        assert_frame_equal(parsed.events, expected)
        assert parsed.rejected.is_empty()


@pytest.mark.parametrize("data", [b"", b"\n\n  \n", gzip.compress(b"", mtime=0)])
def test_a_file_of_nothing_has_no_events_and_no_rejections(data: bytes) -> None:
    parsed = parse_log(data, KEY, DAY)

    assert parsed.events.is_empty()
    assert parsed.rejected.is_empty()
    assert EventLog.is_valid(parsed.events)


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9, 0.999])
def test_a_cut_gzip_keeps_its_whole_lines_and_says_so_once(keep: float) -> None:
    data = log(*many(5_000))
    cut = data[: int(len(data) * keep)]
    whole = zlib.decompressobj(wbits=31).decompress(cut).count(b"\n")

    parsed = parse_log(cut, KEY, DAY)

    assert whole > 0
    assert parsed.events.height == whole
    assert parsed.rejected.select("source", "reason").rows() == [(KEY, "damaged_gzip")]


def test_a_corrupt_gzip_keeps_the_lines_before_the_damage() -> None:
    chance = random.Random(1)
    lines = [line(event_id=f"{chance.getrandbits(64):016x}") for _ in range(5_000)]
    data = bytearray(log(*lines))
    data[len(data) // 2 : len(data) // 2 + 200] = b"\xff" * 200

    parsed = parse_log(bytes(data), KEY, DAY)

    good = parsed.events.height
    assert 1_000 < good < 5_000
    assert parsed.events["event_id"].to_list()[:1_000] == [json.loads(one)["event_id"] for one in lines[:1_000]]
    assert parsed.rejected.filter(pl.col("source") == KEY)["reason"].to_list() == ["damaged_gzip"]


def test_a_wrong_checksum_is_damage_that_costs_no_line() -> None:
    data = bytearray(log(*many(50)))
    data[-6] ^= 0xFF

    parsed = parse_log(bytes(data), KEY, DAY)

    assert parsed.events.height == 50
    assert parsed.rejected["reason"].to_list() == ["damaged_gzip"]


def test_a_gzip_bomb_is_read_up_to_the_limit() -> None:
    data = gzip.compress("".join(one + "\n" for one in many(100)).encode() + b"\0" * 50_000_000)

    parsed = parse_log(data, KEY, DAY, max_bytes=20_000_000)

    assert parsed.events.height == 100
    assert parsed.rejected["reason"].to_list() == ["too_large"]
    assert parsed.rejected["raw"].str.len_chars().max() <= 2_000


def test_a_line_without_end_takes_bounded_room() -> None:
    blocks = list(line_blocks(gzip.compress(b"x" * (5 * BLOCK_BYTES) + b"\nend\n"), 2**30))

    assert not any(isinstance(block, Damage) for block in blocks)
    assert max(len(block) for block in blocks if isinstance(block, bytes)) < 2 * BLOCK_BYTES
    assert b"".join(block for block in blocks if isinstance(block, bytes)).endswith(b"\nend\n")


@pytest.mark.slow
def test_a_file_of_garbage_is_given_up_after_many_lines() -> None:
    data = gzip.compress(b"x\n" * (BLOCK_BYTES // 2 + 1_000_000))

    parsed = parse_log(data, KEY, DAY)

    assert parsed.rejected.height == 100_001
    assert parsed.rejected["reason"].to_list()[-1] == "too_many_bad_lines"


def test_lines_keep_their_numbers_across_blocks() -> None:
    filler = line(x="y" * 60_000)
    lines = [filler if i % 100 else "{" for i in range(300)]

    parsed = parse_log(log(*lines), KEY, DAY)

    assert parsed.rejected["source"].to_list() == [f"{KEY}:{number}" for number in (1, 101, 201)]
    assert parsed.events.height == 297


@pytest.mark.slow
@given(st.binary(max_size=300))
@settings(deadline=None)
def test_any_bytes_are_read_without_an_error(data: bytes) -> None:
    for file in (data, b"\x1f\x8b\x08\0" + data, gzip.compress(data)[:-3]):
        parsed = parse_log(file, KEY, DAY)
        assert EventLog.is_valid(parsed.events)
        assert Rejected.is_valid(parsed.rejected)


names = st.sampled_from([*GOOD, "label", "photo_id ", "v", "w", 'a"b', "kind\\"])
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2**64)
    | st.sampled_from(
        ["like", "report", "correct", "x", "photo_id", '"photo_id":', "2026-01-02T00:00:00Z", "2026-01-02T05:00:00+01:00"]
    )
    | st.text(max_size=3)
    | st.floats(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
    max_leaves=3,
)
objects = st.dictionaries(names, values, max_size=3).map(lambda changes: GOOD | changes)
texts = st.builds(
    lambda value, drop, ascii_only: json.dumps({k: v for k, v in value.items() if k != drop}, ensure_ascii=ascii_only),
    objects,
    st.sampled_from(["", *GOOD]),
    st.booleans(),
) | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"), max_size=20)


@pytest.mark.slow
@given(st.lists(texts.filter(lambda text: text.strip(" \t\r") != ""), min_size=1, max_size=12))
@settings(deadline=None, max_examples=80)
def test_a_file_is_read_as_its_lines_are_one_by_one(lines: list[str]) -> None:
    """Ordinary lines come before and after, so that blocks are parsed, refused, halved and learned from."""
    lines = [*many(70), *lines, *lines, *many(70, v="1")]
    singly = [parse_line(text.strip(" \t\r").removeprefix("\ufeff" if not at else ""), DAY) for at, text in enumerate(lines)]

    parsed = parse_log("\n".join(lines).encode(), KEY, DAY)

    expected = [(DAY, *event) for event in singly if isinstance(event, Event)]
    assert parsed.events.rows() == expected
    assert parsed.rejected.select("source", "reason", "detail").rows() == [
        (f"{KEY}:{number}", bad.reason, bad.detail) for number, bad in enumerate(singly, 1) if isinstance(bad, BadLine)
    ]


@pytest.mark.parametrize(
    ("key", "day"),
    [
        ("events/2026-01-02/0000.jsonl.gz", DAY),
        ("events/2026-01-02/a/b", DAY),
        ("events/2026-01-02/", None),
        ("events/2026-02-30/a", None),
        ("events/a", None),
        ("uploads/2026-01-02/a", None),
    ],
)
def test_a_log_files_day_is_in_its_key(key: str, day: date | None) -> None:
    assert day_of_log(key) == day


def events(*found: tuple[str, int, int]) -> pl.DataFrame:
    """Events of (event_id, user, minute of arrival)."""
    return pl.DataFrame(
        [(DAY, name, user, None, "login", AT, AT + timedelta(minutes=minute), None) for name, user, minute in found],
        schema=EventLog.create_empty().schema,
        orient="row",
    )


def test_of_a_repeated_event_the_earliest_to_arrive_is_kept() -> None:
    kept, dropped = drop_duplicate_events(events(("a", 1, 5), ("b", 1, 0), ("a", 2, 3), ("a", 3, 3), ("c", 1, 9)))

    assert_frame_equal(kept, events(("b", 1, 0), ("a", 2, 3), ("c", 1, 9)))
    assert dropped.select("day", "source", "reason").rows() == [(DAY, "a", "duplicate_event")] * 2
    assert Rejected.is_valid(dropped)
    assert [json.loads(raw)["user_id"] for raw in dropped["raw"]] == [3, 1]


def test_the_same_event_id_on_two_days_is_kept_on_both() -> None:
    both = pl.concat([events(("a", 1, 0)), events(("a", 1, 0)).with_columns(day=date(2026, 1, 3))])

    kept, dropped = drop_duplicate_events(both)

    assert_frame_equal(kept, both)
    assert dropped.is_empty()


@given(st.permutations([("a", 1, 5), ("a", 2, 5), ("a", 2, 5), ("b", 1, 0), ("b", 1, 2)]))
@settings(deadline=None)
def test_what_is_kept_does_not_depend_on_the_order(found: list[tuple[str, int, int]]) -> None:
    kept, dropped = drop_duplicate_events(events(*found))

    assert_frame_equal(kept.sort("event_id"), events(("a", 1, 5), ("b", 1, 0)))
    assert dropped.height == 3


def test_the_samples_logs_are_read_with_their_spoilt_lines_kept_aside() -> None:
    logs = pytest.importorskip("pipeline_assets.sample.logs")
    days = pl.concat(
        events(*((f"{at}-{i}", i, i % 60) for i in range(40))).with_columns(
            pl.col("at", "arrived_at") + timedelta(days=at),
            app_version=pl.when(pl.col("user_id") % 2 == 0).then(pl.lit("4.2")),
        )
        for at in range(6)
    )
    for file in logs.write_day_logs(days):
        day = day_of_log(file.key)
        assert day is not None
        parsed = parse_log(file.data, file.key, day)
        assert (parsed.events.height, parsed.rejected.height) == (40, file.malformed)
        assert parsed.events["extra_json"].drop_nulls().to_list() == ['{"app_version":"4.2"}'] * 20
