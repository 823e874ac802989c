"""Fields and bodies of requests: what is read, and that a posting has the training table's columns."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.errors import AskRefused
from pipeline_assets.serving.endpoint.asks import Ask, ask_of
from pipeline_assets.serving.endpoint.bodies import fields_of
from pipeline_assets.training.training_table import _posting

NOW = datetime(2026, 2, 1, tzinfo=UTC)
MOMENTS = st.integers(0, 3 * 10**16).map(
    lambda microseconds: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
)


@given(st.text(), st.none() | st.text(), MOMENTS)
def test_a_posting_has_the_columns_of_the_training_table(title: str, location: str | None, at: datetime) -> None:
    ask = Ask(1, at, title, location)
    row = pl.DataFrame(
        {"posted_at": [ask.moment], "title": [title], "location": [location]}, schema_overrides={"location": pl.String}
    )
    expected = row.select(_posting()).row(0, named=True)
    assert {**ask.posting(), "followers_at_post": None} == {**expected, "followers_at_post": None}


def test_a_form_is_read_as_curl_sends_it() -> None:
    photo = b"\xff\xd8\r\n--other\r\n\x00"
    body = (
        b'--xyz\r\nContent-Disposition: form-data; name="user_id"\r\n\r\n7\r\n'
        b'--xyz\r\nContent-Disposition: form-data; name="photo"; filename="a;b.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
        + photo
        + b"\r\n--xyz--\r\n"
    )
    fields = fields_of('multipart/form-data; boundary="xyz"', body)
    assert fields == {"user_id": "7", "photo": photo}
    assert ask_of(fields, NOW, with_photo=True) == Ask(7, NOW, photo=photo)


BAD_FORMS = {
    "no boundary": ("multipart/form-data", b""),
    "cut": ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1'),
    "no name": ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--"),
    "no headers": ("multipart/form-data; boundary=x", b"--x\r\n1\r\n--x--"),
    "twice": (
        "multipart/form-data; boundary=x",
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 2 + b"--x--",
    ),
    "many": ("multipart/form-data; boundary=x", b"--x\r\n" * 40 + b"--x--"),
    "no UTF-8": ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xff\r\n--x--'),
    "deep JSON": ("application/json", b"[" * 99 + b"]" * 99),
    "repeated name": ("application/json", b'{"user_id": 1, "user_id": 2}'),
}


@pytest.mark.parametrize("case", BAD_FORMS)
def test_a_body_that_breaks_its_format_is_refused(case: str) -> None:
    with pytest.raises(AskRefused) as refused:
        fields_of(*BAD_FORMS[case])
    assert refused.value.status == 400


@given(st.binary(max_size=300), st.sampled_from(["application/json", "multipart/form-data; boundary=--", "text/html", ""]))
def test_no_bytes_do_more_than_be_refused(body: bytes, kind: str) -> None:
    try:
        ask_of(fields_of(kind, body), NOW, with_photo=True)
    except AskRefused as refused:
        assert refused.reason and refused.detail


@pytest.mark.parametrize(
    "value", ["\ud800", "a\0b", "x" * 70_000, 5, ["a"]], ids=["surrogate", "nul", "long", "number", "list"]
)
def test_a_title_that_no_table_could_hold_is_refused(value: object) -> None:
    with pytest.raises(AskRefused, match="bad_title"):
        ask_of({"user_id": 1, "title": value, "photo": "AA=="}, NOW, with_photo=True)
