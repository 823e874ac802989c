"""Rows against their schema, part by part: the same answer as all at once, in memory that does not grow."""

import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import dataframely as dy
import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from toy_assets import build

from pipeline_assets.errors import DarkroomError
from pipeline_assets.framework.declaration import Declaration, RunOfDays, Table
from pipeline_assets.framework.digest import condense
from pipeline_assets.framework.judging import as_rejected, judge
from pipeline_assets.framework.validation import PART_ROWS, validate

DAY = date(2026, 1, 1)


class Vectors(dy.Schema):
    day = dy.Date(primary_key=True)
    key = dy.Int64(primary_key=True, min=0)
    vector = dy.List(dy.Float32(), nullable=True, metadata={"bulk": True})


@pytest.fixture
def asset() -> Declaration:
    return replace(build()[1][0], name="vectors", schema=Vectors)


def vectors(*keys: int) -> pl.DataFrame:
    values = [[float(key), 0.5] for key in keys]
    return pl.DataFrame({"day": [DAY] * len(keys), "key": keys, "vector": values}, schema=Vectors.create_empty().schema)


def test_parts_frames_and_queries_give_the_same_rows(asset: Declaration) -> None:
    frame = vectors(3, 1, -1, 2)
    for rows in (frame, frame.lazy(), frame.iter_slices(1), [frame.head(3), frame.tail(1)]):
        found = validate(asset, rows)
        assert_frame_equal(pl.concat(found.stored), vectors(3, 1, 2), check_row_order=False)
        assert_frame_equal(found.rows, condense(vectors(3, 1, 2), ["vector"]), check_row_order=False)
        assert found.broken["key"].to_list() == [-1]
        assert found.rules == ("key|min",)


def test_a_key_that_comes_back_in_a_later_part_breaks_the_schema_in_both(asset: Declaration) -> None:
    found = validate(asset, [vectors(1, 2), vectors(3), vectors(2, 4)])
    assert sorted(found.rows["key"]) == [1, 3, 4] == sorted(pl.concat(found.stored)["key"])
    assert found.broken["key"].to_list() == [2, 2]
    assert found.rules == ("primary_key",)


class Marks(dy.Schema):
    day = dy.Date(primary_key=True)
    key = dy.Int64(primary_key=True, min=0)
    kind = dy.String(check=lambda column: column.is_in(["a", "b"]))


def test_each_broken_row_has_its_own_reasons(asset: Declaration) -> None:
    rows = pl.DataFrame(
        {"day": [DAY] * 6, "key": [1, -1, 2, -2, 3, 3], "kind": ["a", "a", "x", None, "a", "b"]},
        schema=Marks.create_empty().schema,
    )
    found = validate(replace(asset, schema=Marks), rows)
    assert found.rows["key"].to_list() == [1]
    told = dict(zip(found.broken.select("key", "kind").rows(), found.why, strict=True))
    assert told == {
        (-1, "a"): "key|min",
        (2, "x"): "kind|check",
        (-2, None): "key|min, kind|nullability",
        (3, "a"): "primary_key",
        (3, "b"): "primary_key",
    }
    assert found.rules == ("key|min", "kind|check", "kind|nullability", "primary_key")
    rejected = as_rejected(found.broken, ["day", "key"], found.why)
    assert rejected.filter(pl.col("source") == f"{DAY} 2")["detail"].to_list() == ["breaks the table's schema: kind|check"]


def test_a_value_that_can_not_be_cast_is_the_reason_of_its_own_row(asset: Declaration) -> None:
    rows = pl.DataFrame({"day": [DAY] * 3, "key": ["1", "no number", "-1"], "kind": ["a"] * 3})
    found = validate(replace(asset, schema=Marks), rows)
    assert found.rows["key"].to_list() == [1]
    assert sorted(found.why) == ["key|dtype", "key|min"]


def test_no_rows_in_any_form_are_no_rows(asset: Declaration) -> None:
    for rows in (vectors(), vectors().lazy(), [], iter([vectors()])):
        found = validate(asset, rows)
        assert (found.rows.height, found.broken.height, found.rules) == (0, 0, ())


@pytest.mark.parametrize("form", [list, iter, pl.concat], ids=["list", "generator", "frame"])
def test_a_broken_row_whose_day_is_a_time_breaks_its_day(asset: Declaration, form: Callable[[Any], Any]) -> None:
    rows = vectors(1, -1).with_columns(pl.col("day").cast(pl.Datetime).dt.offset_by("12h"))
    judged = judge(
        replace(asset, checks=(), quarantines=False), RunOfDays("vectors", (DAY,), "", "", None), Table(form([rows]))
    )
    assert list(judged.bad) == [DAY]


def test_a_missing_column_is_named(asset: Declaration) -> None:
    with pytest.raises(DarkroomError, match="no columns \\['vector'\\]"):
        validate(asset, [vectors(1).drop("vector")])


def test_of_many_parts_few_are_held_at_a_time(asset: Declaration) -> None:
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0

    def parts() -> Iterator[pl.DataFrame]:
        nonlocal most
        for number in range(20):
            values = np.full((100, 64), number, dtype=np.float32)
            alive.append(weakref.ref(values))
            keys = np.arange(100) + number * 100
            frame = pl.DataFrame({"day": [DAY] * 100, "key": keys, "vector": list(values)}, schema=vectors().schema)
            del values
            yield frame
            del frame
            most = max(most, sum(ref() is not None for ref in alive))

    found = validate(asset, parts())
    assert found.rows.height == 2000
    assert most <= 2
    assert max(part.height for part in found.stored) <= PART_ROWS
