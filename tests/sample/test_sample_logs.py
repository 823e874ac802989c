import gzip
import json
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline_assets.ingestion.schemas import EVENT_KINDS
from pipeline_assets.sample.logs import DEFECTS, decode_log, encode_log, write_day_logs
from pipeline_assets.sample.simulator import simulate

SCHEMA = {
    "event_id": pl.String,
    "user_id": pl.Int64,
    "photo_id": pl.Int64,
    "kind": pl.String,
    "at": pl.Datetime("us", "UTC"),
    "arrived_at": pl.Datetime("us", "UTC"),
    "app_version": pl.String,
    "label": pl.String,
    "not_label": pl.String,
}


def at(hour: int, microsecond: int = 0) -> datetime:
    return datetime(2025, 3, 1, hour, 5, 6, microsecond, tzinfo=UTC)


EVENTS = pl.DataFrame(
    [
        ("e-1", 7, None, "login", at(1), at(1, 500), None, None, None),
        ("e-2", 8, 3, "view", at(2), at(3), "4.1.0", None, None),
    ],
    schema=SCHEMA,
    orient="row",
)


@pytest.fixture(scope="module")
def events() -> pl.DataFrame:
    uploads = pl.DataFrame(
        {"name": [f"sample-{name}-{i}.jpg" for i in range(30) for name in ("moon", "chelsea")], "appeal": [0.1] * 60}
    )
    first = date(2025, 3, 1)
    return simulate(uploads, first_day=first, days=6, until=first + timedelta(days=16), users=20, seed=3).events


def parsed(line: bytes) -> dict[str, object]:
    """The line's fields as the log's reader must see them. Raises where the line is malformed."""
    row = json.loads(line.decode())
    if not isinstance(row, dict) or row["kind"] not in EVENT_KINDS:
        raise ValueError("not an event")
    for name in ("at", "arrived_at"):
        row[name] = datetime.strptime(row[name], "%Y-%m-%dT%H:%M:%S.%f%z")
    return row


def read(lines: list[bytes]) -> tuple[list[dict[str, object]], int]:
    good, malformed = [], 0
    for line in lines:
        try:
            good.append(parsed(line))
        except (ValueError, KeyError):
            malformed += 1
    return good, malformed


def test_two_hand_worked_events_become_two_lines_and_a_missing_version_is_left_out():
    assert gzip.decompress(encode_log(EVENTS)).decode() == (
        '{"event_id":"e-1","user_id":7,"photo_id":null,"kind":"login",'
        '"at":"2025-03-01T01:05:06.000000Z","arrived_at":"2025-03-01T01:05:06.000500Z"}\n'
        '{"event_id":"e-2","user_id":8,"photo_id":3,"kind":"view",'
        '"at":"2025-03-01T02:05:06.000000Z","arrived_at":"2025-03-01T03:05:06.000000Z","app_version":"4.1.0"}\n'
    )


def test_a_frame_without_the_new_field_encodes_as_if_it_were_null():
    unversioned = EVENTS.with_columns(app_version=pl.lit(None, pl.String))
    assert encode_log(EVENTS.drop("app_version")) == encode_log(unversioned)


def test_no_events_make_an_empty_log():
    assert decode_log(encode_log(EVENTS.clear())) == []
    assert list(write_day_logs(EVENTS.clear())) == []


def test_what_a_correction_says_is_in_its_line():
    said = EVENTS.with_columns(kind=pl.lit("correct"), label=pl.lit('a "cat"'), not_label=pl.lit(None, pl.String))
    assert [json.loads(line).get("label") for line in decode_log(encode_log(said))] == ['a "cat"'] * 2
    assert all(b"not_label" not in line for line in decode_log(encode_log(said)))


def test_the_same_events_in_any_order_make_the_same_files(events):
    assert list(write_day_logs(events)) == list(write_day_logs(events.sample(fraction=1, shuffle=True, seed=1)))


def test_every_event_comes_back_exactly_once_and_each_malformed_line_is_counted(events):
    rows, malformed, stated = [], 0, 0
    for file in write_day_logs(events):
        good, bad = read(decode_log(file.data))
        rows += good
        malformed += bad
        stated += file.malformed
    days = events["arrived_at"].dt.date().n_unique()
    assert malformed == stated == days
    assert_frame_equal(pl.DataFrame(rows, schema=SCHEMA), events)


def test_every_line_lies_in_the_file_of_its_arrival_day_and_keys_are_in_order(events):
    keys = []
    for file in write_day_logs(events, rows_per_file=200):
        keys.append(file.key)
        good, _ = read(decode_log(file.data))
        assert {f"events/{row['arrived_at']:%Y-%m-%d}" for row in good} == {file.key.rsplit("/", 1)[0]}
        assert len(good) <= 200
    assert keys == sorted(set(keys))
    assert any(key.endswith("/0001.jsonl.gz") for key in keys)


def test_six_days_in_a_row_show_every_defect_once(events):
    one_a_day = events.unique("arrived_at").group_by(pl.col("arrived_at").dt.date().alias("day")).first().sort("day")
    spoilt = []
    for file in write_day_logs(one_a_day.drop("day")[: len(DEFECTS)]):
        lines = decode_log(file.data)
        spoilt += [line for line in lines if not read([line])[0]]
    assert len(spoilt) == len(DEFECTS)
    reasons = {_reason(line) for line in spoilt}
    assert reasons == set(DEFECTS)


def _reason(line: bytes) -> str:
    try:
        row = json.loads(line.decode())
    except UnicodeDecodeError:
        return "not_utf8"
    except json.JSONDecodeError:
        return "broken_json"
    if not isinstance(row, dict):
        return "not_an_object"
    if "kind" not in row:
        return "missing_field"
    return "bad_timestamp" if row["kind"] in EVENT_KINDS else "unknown_kind"
