"""Rows against their schema, part by part: the same answer as all at once, in memory that does not grow."""

import weakref
from collections.abc import Iterator
from dataclasses import replace
from datetime import date

import dataframely as dy
import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from toy_assets import build

from pipeline_assets.errors import DarkroomError
from pipeline_assets.table_asset import Declaration
from pipeline_assets.validation import PART_ROWS, validate
from pipeline_assets.versioning.digest import condense

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


def test_no_rows_in_any_form_are_no_rows(asset: Declaration) -> None:
    for rows in (vectors(), vectors().lazy(), [], iter([vectors()])):
        found = validate(asset, rows)
        assert (found.rows.height, found.broken.height, found.rules) == (0, 0, ())


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
