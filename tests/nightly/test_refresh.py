"""Refresh: which runs compute exactly the stale days, in which order, and what they are expected to cost."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.framework.staleness import Rule, order
from pipeline_assets.nightly.night import Launch
from pipeline_assets.nightly.refresh import costs, launches, preview
from pipeline_assets.nightly.survey import Range, ranges

START = date(2026, 1, 1)


def day(number: int) -> date:
    return START + timedelta(days=number)


def rules(reads: Mapping[str, Mapping[str, tuple[int, int]]]) -> dict[str, Rule]:
    return {name: Rule("1", {}, windows) for name, windows in reads.items()}


GRAPH = rules({"a": {}, "b": {"a": (0, 0)}, "c": {"b": (0, 0), "d": (-5, 1)}, "d": {}, "e": {"c": (-3, 0)}})


def stale(days: Mapping[str, list[int]]) -> pl.DataFrame:
    """Stale days in the order of a survey."""
    rows = [(name, day(number), "new", "never computed") for name in order(GRAPH) for number in sorted(days.get(name, []))]
    return pl.DataFrame(
        rows, schema={"asset": pl.String, "day": pl.Date, "reason": pl.String, "detail": pl.String}, orient="row"
    )


def told(days: Mapping[str, list[int]]) -> list[tuple[set[str], int, int]]:
    """The launches as assets with the numbers of the first and last day."""
    found = launches(stale(days), GRAPH)
    return [(set(run.assets), (run.first - START).days, (run.last - START).days) for run in found]


def test_days_in_a_row_are_one_run_of_all_assets_that_have_them() -> None:
    assert told(dict.fromkeys("abcde", [3, 4, 5])) == [(set("abcde"), 3, 5)]


def test_a_gap_is_not_computed() -> None:
    assert told(dict.fromkeys("ab", [1, 2, 7])) == [({"a", "b"}, 1, 2), ({"a", "b"}, 7, 7)]


def test_with_a_gap_what_reads_other_days_waits_for_all_ranges_of_its_input() -> None:
    assert told(dict.fromkeys("cde", [1, 2, 7])) == [
        ({"d"}, 1, 2),
        ({"d"}, 7, 7),
        ({"c"}, 1, 2),
        ({"c"}, 7, 7),
        ({"e"}, 1, 2),
        ({"e"}, 7, 7),
    ]


def test_an_asset_joins_an_earlier_run_of_its_days_but_none_before_its_inputs() -> None:
    assert told({"a": [1], "d": [0, 1, 2], "b": [1], "c": [1]}) in (
        [({"a", "b"}, 1, 1), ({"d"}, 0, 2), ({"c"}, 1, 1)],
        [({"d"}, 0, 2), ({"a", "b", "c"}, 1, 1)],
    )


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("abcde"), st.lists(st.integers(0, 9), unique=True)))
def test_the_runs_are_exactly_the_stale_days_each_after_every_day_that_it_reads(days: dict[str, list[int]]) -> None:
    done: dict[tuple[str, date], int] = {}
    runs = launches(stale(days), GRAPH)
    for number, run in enumerate(runs):
        for name in run.assets:
            for of in run.days():
                assert (name, of) not in done
                done[name, of] = number
    assert set(done) == {(name, day(number)) for name, numbers in days.items() for number in numbers}
    for (name, of), number in done.items():
        for up, (first, last) in GRAPH[name].windows.items():
            for offset in range(first, last + 1):
                assert done.get((up, of + timedelta(days=offset)), -1) <= number  # within a run, Dagster has the order


def test_ranges_are_runs_of_consecutive_days() -> None:
    found = ranges(pl.Series([day(5), day(1), day(2), day(0)]))
    assert found == [Range(day(0), day(2)), Range(day(5), day(5))]
    assert ranges(pl.Series([], dtype=pl.Date)) == []
    assert Launch((), day(0), day(2)).days() == [day(0), day(1), day(2)]


def entries(*rows: tuple[str, int, str, int, float | None]) -> pl.DataFrame:
    """The ledger's newest entries: asset, day, digest, rows, seconds."""
    made: list[tuple[Any, ...]] = [(name, day(number), *rest) for name, number, *rest in rows]
    schema = {"asset": pl.String, "day": pl.Date, "digest": pl.String, "rows": pl.Int64, "seconds": pl.Float64}
    return pl.DataFrame(made, schema=schema, orient="row")


UPLOADS = pl.DataFrame({"day": [day(0), day(1), day(2)], "objects": [3, 5, 7]})


def test_the_cost_is_that_of_earlier_rows_and_unknown_days_have_the_median() -> None:
    newest = entries(("a", 0, "x", 10, 2.0), ("a", 1, "x", 30, 6.0), ("a", 9, "", 0, None), ("a", 3, "x", 20, None))
    found = costs(stale({"a": [1, 2, 9]}), newest, UPLOADS)
    assert found.rows() == [("a", 3, 30 + 20 + 20, 12, pytest.approx(70 * 0.2))]


def test_where_days_have_no_rows_a_day_costs_what_a_day_took() -> None:
    assert costs(stale({"a": [1]}), entries(("a", 0, "x", 0, 3.0)), UPLOADS)["seconds"].to_list() == [3.0]


def test_what_was_never_computed_or_timed_has_no_estimate() -> None:
    found = costs(stale({"a": [1], "d": [1]}), entries(("d", 0, "x", 10, None)), UPLOADS).sort("asset")
    assert found.rows() == [("a", 1, None, 5, None), ("d", 1, 10, 5, None)]


def test_the_sum_says_at_least_where_a_part_is_unknown() -> None:
    schema = {"asset": pl.String, "days": pl.UInt32, "rows": pl.Int64, "uploads": pl.Int64, "seconds": pl.Float64}
    made = pl.DataFrame([("a", 1, 4, 1, 200.0), ("b", 2, None, 0, None)], schema=schema, orient="row")
    assert preview(made).columns[-1].footer == "at least 3 min"
    assert preview(made.head(1)).columns[-1].footer == "3 min"
    assert preview(made.tail(1)).columns[-1].footer == "not known"
    assert preview(made.tail(1).with_columns(seconds=5000.0)).columns[-1].footer == "83 min"
    assert preview(made.tail(1).with_columns(seconds=9000.0)).columns[-1].footer == "2 h 30 min"
