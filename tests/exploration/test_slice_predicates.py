"""Conditions on single columns, as SQL."""

import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.exploration.slices.predicates import COLUMNS, MAX_VALUES, conjunction, predicates, quoted
from pipeline_assets.training.schemas import TrainingTable
from pipeline_assets.versioning.pin.condition import condition


def held(rows, text):
    return rows.select(pl.sql_expr(text).fill_null(False).alias("held"))["held"].to_list()


@given(st.lists(st.one_of(st.none(), st.text(max_size=6)), min_size=1, max_size=8))
def test_a_value_of_any_text_selects_exactly_its_rows(values):
    rows = pl.DataFrame({"top_class": values}, schema={"top_class": pl.String})
    for value in {one for one in values if one is not None}:
        assert held(rows, f"top_class = {quoted(value)}") == [one == value for one in values]


numbers = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True, width=32), st.just(0.0))


@given(st.lists(numbers, min_size=2, max_size=30))
def test_the_texts_select_the_rows_that_are_searched(values):
    rows = pl.DataFrame({"brightness": pl.Series(values, dtype=pl.Float32)})
    found = predicates(rows, ["brightness"])
    for number, text in enumerate(found.texts):
        assert held(rows, text) == found.holds[:, number].tolist()
        assert 1 <= found.holds[:, number].sum() <= rows.height - 1


def test_texts_few_numbers_many_numbers_and_nulls():
    rows = pl.DataFrame(
        {
            "top_class": ["it's", "b", "b", "b"] * 25,
            "posted_weekday": pl.Series([1, 1, 2, 3] * 25, dtype=pl.Int8),
            "followers_at_post": [None, *range(1, 100)],
            "has_location": [True, False] * 50,
            "aspect": pl.Series([math.nan, *(number * 37 % 100 / 100 for number in range(1, 100))], dtype=pl.Float32),
        }
    )
    texts = predicates(rows, rows.columns).texts
    assert "top_class = 'it''s'" in texts
    assert {"posted_weekday = 2", "followers_at_post is null", "has_location = true"} <= set(texts)
    assert {"aspect <= 0.11", "aspect > 0.5", "aspect > 0.26 and aspect <= 0.5"} <= set(texts)
    assert "has_location = true" in predicates(rows, rows.columns, min_rows=50).texts
    assert "top_class = 'it''s'" not in predicates(rows, rows.columns, min_rows=50).texts


def test_conditions_that_hold_for_the_same_rows_are_one():
    rows = pl.DataFrame({"top_class": ["a", "b"] * 4, "has_location": [True, False] * 4})
    assert predicates(rows, rows.columns).texts == ("top_class = 'a'", "top_class = 'b'")


def test_of_many_values_the_most_frequent_ones_are_tried():
    rows = pl.DataFrame({"top_class": [*(f"{number:07}" for number in range(1_000)), *("frequent" for _ in range(9))]})
    texts = predicates(rows, ["top_class"]).texts
    assert len(texts) == MAX_VALUES
    assert texts[0] == "top_class = 'frequent'"


@pytest.mark.parametrize("values", [[], [0.5] * 9, [None] * 9, [math.nan] * 9])
def test_a_column_without_two_values_offers_nothing(values):
    rows = pl.DataFrame({"brightness": pl.Series(values, dtype=pl.Float32)})
    assert predicates(rows, ["brightness"]).texts == ()


def test_a_checkout_takes_the_conditions():
    rows = TrainingTable.create_empty().lazy()
    names = rows.collect_schema().names()
    assert set(COLUMNS) <= set(names)
    condition(
        rows, conjunction(["top_class = 'it''s'", "aspect > 0.25 and aspect <= 0.5", "mean_popularity_30d is null"]), names
    )
