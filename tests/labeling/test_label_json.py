"""Which JSON can be labels: the same at every door, and nothing that a later step could stumble over."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.errors import UnfitParent
from pipeline_assets.labeling import label_json


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


REFUSED = [
    ('{"boxes": [], "score": 1e999}', "not finite"),
    ('{"boxes": [], "score": -1e999}', "not finite"),
    ('{"boxes": [], "score": 1e300}', "2^63"),
    ('{"score": NaN}', "NaN is no number"),
    ('{"score": -Infinity}', "Infinity is no number"),
    ('{"score": ' + "9" * 400 + "}", "400 digits"),
    ('{"score": ' + "9" * 5000 + "}", "5,000 digits"),
    ('{"score": 9223372036854775808}', "2^63"),
    ('{"deep": ' + "[" * 40 + "]" * 40 + "}", "nested"),
    ('{"deep": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested"),
    ("[" * 100_000, "nested"),
    ('{"a": 1, "a": 2}', "repeats"),
    ('{"a": "\\u0000"}', "NUL"),
    ('{"\\u0000": 1}', "NUL"),
    ('{"a": "\\ud800"}', "surrogate"),
    ('{"\\ud800": [1]}', "surrogate"),
    ("[1]", "an object"),
    ("null", "an object"),
    ('"text"', "an object"),
    ("1", "an object"),
    ("", "no JSON"),
    ('{"a": 1', "no JSON"),
    ('{"a": 1} x', "no JSON"),
    ("{'a': 1}", "no JSON"),
    ('{"a": 01}', "no JSON"),
]


@pytest.mark.parametrize(("text", "word"), REFUSED)
def test_what_can_be_no_labels_is_refused_with_its_reason(text: str, word: str) -> None:
    with pytest.raises(UnfitParent, match=r".*") as refused:
        label_json.parse(text)
    assert refused.value.reason == "bad_labels"
    assert word in refused.value.detail


def test_labels_are_bounded_as_they_come_and_as_they_are_kept() -> None:
    longest = label_json.MAX_CHARACTERS - len('{"a":""}')
    assert label_json.parse('{"a":"' + "x" * longest + '"}')
    with pytest.raises(UnfitParent, match="too_large"):
        label_json.parse('{"a":"' + "x" * (longest + 1) + '"}')
    with pytest.raises(UnfitParent, match="too_large"):
        label_json.dump({"a": "é" * (longest // 2)})  # six characters each, as ASCII


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 2**63, -(2**63), 10**400, {1: 2}, {"a": {None: 1}}, b"x"])
def test_labels_that_something_else_has_parsed_meet_the_same_rules(value: Any) -> None:
    for labels in ({"a": value}, {"boxes": [{"x": value}]}):
        with pytest.raises(UnfitParent, match="bad_labels"):
            label_json.dump(labels)


def test_a_nesting_up_to_the_bound_is_taken() -> None:
    assert label_json.fault(nested(label_json.MAX_DEPTH)) is None
    assert "nested" in str(label_json.fault(nested(label_json.MAX_DEPTH + 1)))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(1 - 2**62, 2**62) | st.floats(-1e18, 1e18) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=5), json_values, max_size=4))
def test_what_is_kept_is_read_again_as_it_was_and_kept_in_one_form(labels: dict[str, Any]) -> None:
    try:
        text = label_json.dump(labels)
    except UnfitParent:  # a NUL
        assert "\\u0000" in json.dumps(labels)
        return
    assert label_json.parse(text) == labels
    assert label_json.dump(label_json.parse(text)) == text
    assert text.isascii()


@given(st.text(max_size=30))
def test_no_text_raises_anything_else(text: str) -> None:
    try:
        label_json.parse(text)
    except UnfitParent as refused:
        assert refused.reason in ("bad_labels", "too_large")
