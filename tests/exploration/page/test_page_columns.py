"""Columns as the page reads them."""

import base64
from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from polars.testing.parametric import series

from pipeline_assets.exploration.page import columns

NUMPY = {"u1": np.uint8, "u2": np.uint16, "i4": np.int32, "f4": np.float32, "f8": np.float64}


def read(rows, in_table=()):
    found = columns.encoded(rows, in_table)
    arrays = [
        np.frombuffer(base64.b64decode(text), NUMPY[about["type"]])
        for about, text in zip(found.about, found.arrays, strict=True)
    ]
    return dict(zip([about["name"] for about in found.about], zip(found.about, arrays, strict=True), strict=True))


def test_each_kind_of_column_is_a_typed_array_with_a_description():
    rows = pl.DataFrame(
        {
            "day": [date(1970, 1, 2), None],
            "at": pl.Series([datetime(1970, 1, 3, 23, tzinfo=UTC)] * 2),
            "name": ["b", "b"],
            "is_new": [True, None],
            "likes": [3, -4],
            "views": [3, None],
            "brightness": pl.Series([0.25, float("nan")], dtype=pl.Float32),
            "embedding": [[1.0], [2.0]],
        }
    )
    found = read(rows, in_table=rows.columns)
    assert list(found) == ["day", "at", "name", "is_new", "likes", "views", "brightness"]
    np.testing.assert_array_equal(found["day"][1], np.array([1, np.nan], np.float32))
    np.testing.assert_array_equal(found["at"][1], np.array([2, 2], np.float32))
    np.testing.assert_array_equal(found["views"][1], [3, np.nan])
    assert found["likes"][1].tolist() == [3, -4]
    assert found["is_new"][1].tolist() == [1, 0]
    assert [about["type"] for about, _ in found.values()] == ["f4", "f4", "u1", "u1", "i4", "f8", "f4"]
    assert [name for name, (about, _) in found.items() if not about["sql"]] == ["at"]
    assert found["brightness"][0]["is_odd"]
    assert not found["views"][0]["is_odd"]


def test_categories_are_ordered_by_rows_and_then_by_name_and_missing_is_none_of_them():
    about, codes = read(pl.DataFrame({"name": ["b", None, "a", "c", "c"]}))["name"]
    assert about["categories"] == ["c", "a", "b"]
    assert codes.tolist() == [3, 0, 2, 1, 1]


@pytest.mark.slow
def test_a_million_categories_are_a_thousand_and_all_others():
    names = pl.Series("name", np.arange(1_000_000)).cast(pl.String)
    about, codes = read(pl.DataFrame([names.append(pl.Series("name", ["5", "5", None]))]))["name"]
    assert about["categories"][0] == "5"
    assert len(about["categories"]) == columns.MAX_CATEGORIES
    assert about["others"] == 999_000
    assert codes.max() == 1001
    assert (codes == 1001).sum() == 999_000
    assert codes[-1] == 0


def test_whole_numbers_that_a_double_rounds_are_categories_that_a_condition_names_as_numbers():
    found = read(pl.DataFrame({"big": [2**60, 2**60 + 1], "text": ["1", "2"]}))
    assert found["big"][0]["categories"] == [str(2**60), str(2**60 + 1)]
    assert [about.get("is_whole", False) for about, _ in found.values()] == [True, False]


def test_a_long_text_is_cut_and_named_in_no_condition():
    about, _ = read(pl.DataFrame({"name": ["x" * 1000, "y"]}))["name"]
    assert len(about["categories"][0]) == columns.MAX_TEXT + 1
    assert about["cut"] == [1]


def test_a_column_without_values_has_its_place():
    found = read(pl.DataFrame({"a": pl.Series([], dtype=pl.String), "b": pl.Series([], dtype=pl.Float32)}))
    assert found["a"][0]["categories"] == []
    assert found["b"][1].size == 0
    nulls = read(pl.DataFrame({"a": pl.Series([None], dtype=pl.Int64), "c": pl.Series([None], dtype=pl.String)}))
    assert np.isnan(nulls["a"][1]).all()
    assert nulls["c"][1].tolist() == [0]


@pytest.mark.slow
@given(series(name="a", allowed_dtypes=[pl.String, pl.Int64, pl.UInt64, pl.Float32, pl.Float64, pl.Date, pl.Boolean]))
def test_what_is_missing_is_what_is_null_or_not_finite(values):
    about, array = read(values.to_frame())["a"]
    is_missing = values.is_null()
    if values.dtype.is_float():
        is_missing |= ~values.is_finite().fill_null(False)
    found = array == 0 if about["kind"] == "category" else np.isnan(array.astype(np.float64))
    assert found.tolist() == is_missing.to_list()
