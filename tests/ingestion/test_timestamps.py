"""Timestamps: what is read in bulk is read alone to the same moment, and what is refused says why."""

import pyarrow as pa
import pyarrow.compute as pa_compute
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.ingestion.timestamps import BULK_TIMESTAMP, BadTimestamp, parse_timestamp


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2026-01-02T03:04:05", "no zone"),
        ("2026-01-02 03:04", "no zone"),
        ("2026-01-01T23:59:60Z", "leap second"),
        ("20160101T235960Z", "leap second"),
        ("2026-01-01T23:59:60.5+01:00", "leap second"),
        ("1969-12-31T23:59:59Z", "years 1970 to 2999"),
        ("0001-01-01T00:00:00+02:00", "years 1970 to 2999"),
        ("9999-12-31T23:59:59-02:00", "years 1970 to 2999"),
        ("1970-01-01T00:30:00+01:00", "years 1970 to 2999"),
        ("2026-02-30T00:00:00Z", "day is out of range"),
        ("2026-01-01T24:00:00Z", "hour must be in"),
        ("2026-01-02", "not a time of ISO 8601"),
        ("yesterday", "not a time of ISO 8601"),
        ("", "not a time of ISO 8601"),
        ("+12026-01-02T03:04:05Z", "not a time of ISO 8601"),
        ("2026-01-02_03:04:05Z", "not a time of ISO 8601"),
    ],
)
def test_a_refused_text_is_told_what_is_wrong_with_it(text: str, reason: str) -> None:
    with pytest.raises(BadTimestamp, match=reason):
        parse_timestamp(text)


@given(st.from_regex(BULK_TIMESTAMP.removesuffix("$") + r"\Z"))
def test_arrow_reads_the_usual_writings_to_the_same_moment_or_not_at_all(text: str) -> None:
    try:
        in_bulk = pa_compute.cast(pa.array([text]), pa.timestamp("us", "UTC")).to_pylist()[0]
    except pa.ArrowInvalid:
        return
    assert parse_timestamp(text) == in_bulk
