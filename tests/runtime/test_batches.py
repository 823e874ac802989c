"""A LazyFrame made of batches: what it hands on, and that it makes no more than is asked for."""

from collections.abc import Iterator

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline_assets.runtime.batches import in_batches

SCHEMA = pl.Schema({"a": pl.Int64, "b": pl.String})
PARTS = [pl.DataFrame({"a": [n, n + 1], "b": ["x", "y"]}, schema=SCHEMA) for n in range(0, 10, 2)]


def numbered() -> pl.LazyFrame:
    return in_batches(lambda: iter(PARTS), SCHEMA)


@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
def test_all_rows_come_in_the_order_of_the_batches_as_often_as_asked(engine):
    lazy = numbered()
    for _ in range(2):
        assert_frame_equal(lazy.collect(engine=engine), pl.concat(PARTS))


@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
def test_filters_columns_and_heads_are_those_of_the_whole_table(engine):
    whole = pl.concat(PARTS)
    for wanted in (
        lambda table: table.filter(pl.col("b") == "y").select("a"),
        lambda table: table.select("b").head(3),
        lambda table: table.filter(pl.col("a") > 2).head(4),
        lambda table: table.select(pl.len()),
    ):
        assert_frame_equal(wanted(numbered()).collect(engine=engine), wanted(whole))


def test_nothing_is_made_before_it_is_asked_for_nor_after_enough():
    made: list[int] = []

    def batches() -> Iterator[pl.DataFrame]:
        for number, part in enumerate(PARTS):
            made.append(number)
            yield part

    lazy = in_batches(batches, SCHEMA)
    assert lazy.collect_schema() == SCHEMA
    assert made == []
    assert lazy.head(1).collect(engine="streaming").height == 1
    assert made == [0]


def test_no_batches_are_an_empty_table_and_another_schema_is_refused():
    assert_frame_equal(in_batches(lambda: iter([]), SCHEMA).collect(engine="streaming"), pl.DataFrame(schema=SCHEMA))
    with pytest.raises(pl.exceptions.PolarsError):
        in_batches(lambda: iter([PARTS[0].rename({"a": "c"})]), SCHEMA).collect(engine="streaming")
