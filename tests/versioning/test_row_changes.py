"""Changes of rows: a thing compared with itself has none, and changes applied lead to the other version."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline_assets.versioning.diff.row_changes import compare

SCHEMA = {"day": pl.Int8, "key": pl.String, "score": pl.Float32, "words": pl.List(pl.String), "raw": pl.Binary}
KEY = ["day", "key"]

row = st.fixed_dictionaries(
    {
        "day": st.integers(0, 2),
        "key": st.none() | st.sampled_from("abc"),
        "score": st.none() | st.floats(width=32),
        "words": st.none() | st.lists(st.none() | st.text(max_size=2), max_size=2),
        "raw": st.none() | st.binary(max_size=2),
    }
)
rows = st.lists(row, max_size=9, unique_by=lambda one: (one["day"], one["key"]))


def frame(found: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(found, schema=SCHEMA)


@pytest.mark.slow
@settings(deadline=None)
@given(rows, st.randoms())
def test_rows_compared_with_themselves_have_no_changes(found: list[dict[str, Any]], random: Any) -> None:
    changes = compare(frame(found), frame(random.sample(found, len(found))), KEY)
    assert (changes.added.height, changes.removed.height, changes.before.height, changes.masks) == (0, 0, 0, {})


@pytest.mark.slow
@settings(deadline=None)
@given(rows, rows)
def test_changes_applied_lead_to_the_other_version(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> None:
    changes = compare(frame(before), frame(after), KEY)
    assert_frame_equal(changes.applied(frame(before)).sort(KEY), frame(after).sort(KEY))


@pytest.mark.slow
@settings(deadline=None)
@given(rows, rows)
def test_the_way_back_swaps_what_came_and_what_went(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> None:
    there, back = compare(frame(before), frame(after), KEY), compare(frame(after), frame(before), KEY)
    assert_frame_equal(there.added, back.removed)
    assert_frame_equal(there.before, back.after)
    assert {name: mask.to_list() for name, mask in there.masks.items()} == {
        name: mask.to_list() for name, mask in back.masks.items()
    }


def test_only_columns_with_another_value_count() -> None:
    before = frame([{"day": 1, "key": key, "score": 1.0, "words": ["x"], "raw": b"r"} for key in "abc"])
    after = before.with_columns(
        score=pl.when(key="b").then(None).otherwise("score"), words=pl.when(key="c").then(pl.lit([])).otherwise("words")
    ).cast(SCHEMA)  # type: ignore[arg-type]
    changes = compare(before, after, KEY)
    assert changes.before["key"].to_list() == ["b", "c"]
    assert {name: mask.to_list() for name, mask in changes.masks.items()} == {"score": [True, False], "words": [False, True]}


@pytest.mark.slow
def test_nan_equals_nan_and_the_two_zeros_are_one() -> None:
    before = frame([{"day": 1, "key": "a", "score": float("nan")}, {"day": 1, "key": "b", "score": 0.0}])
    after = frame([{"day": 1, "key": "a", "score": -float("nan")}, {"day": 1, "key": "b", "score": -0.0}])
    assert compare(before, after, KEY).before.is_empty()
