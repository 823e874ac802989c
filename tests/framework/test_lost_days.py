"""What the ledger names and the lake has not: told as `lost`, computed by a plain run, and never hidden by newer versions."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
import toy_assets
from test_table_asset import ALL, NOTES, Bench, computed, day, failure_of

from pipeline_assets.framework.lost_days import judge
from pipeline_assets.framework.planning import plan_days
from resources.database import ledger
from resources.database.postgres import Postgres
from resources.lake.standing import Standing

# Dagster's own call, for a resource (the lake) inside another (its IO manager).
pytestmark = pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated")


@pytest.fixture
def bench(tmp_path: Path, postgres_url: str) -> Iterator[Bench]:
    with dg.DagsterInstance.ephemeral() as instance:
        made = Bench(tmp_path, postgres_url, instance)
        made.postgres.migrate()
        yield made


def tables(bench: Bench) -> Path:
    """The folder of the lake's tables."""
    return Path(bench.lake.uri(""))


def save(bench: Bench) -> Callable[[], None]:
    """A backup of the lake; the call that it returns restores it."""
    kept = tables(bench).with_name("kept")
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(tables(bench), kept)

    def restore() -> None:
        shutil.rmtree(tables(bench))
        shutil.copytree(kept, tables(bench))

    return restore


def reasons(bench: Bench, asset: int, last: int = 4) -> dict[int, str]:
    """Why days of February are not current, of the first, second or third toy."""
    declared = toy_assets.build(bench.code)[1][asset]
    days = [day(number) for number in range(1, last + 1)]
    found = plan_days(declared, bench.lake, bench.postgres, days, {"world": bench.world}).reasons
    return {of.day: reason for of, reason in found.items()}


ALL_NOTES = [(1, "a", 1), (2, "a", 2), (2, "b", 20), (3, "a", 3), (4, "a", 4)]


def test_days_that_a_restored_older_lake_lacks_are_lost_and_a_plain_run_computes_them(bench: Bench) -> None:
    bench.tell({number: NOTES[number] for number in (1, 2, 3)} | {2: [["a", 5]]})
    bench.run(1, 3)
    restore = save(bench)
    bench.tell(NOTES)
    bench.run(1, 4)
    restore()
    assert reasons(bench, 0) == {2: "lost", 4: "lost"}
    result = bench.run(1, 4)
    assert result.success
    assert computed(result) == {"notes": {2, 4}, "totals": {2, 3, 4}, "copies": {2, 3, 4}}
    assert bench.rows("notes") == ALL_NOTES
    assert bench.rows("copies") == [(1, 1), (2, 23), (3, 25), (4, 7)]
    assert [reasons(bench, asset) for asset in range(3)] == [{}, {}, {}]


def test_rows_of_the_same_number_in_a_restored_lake_are_known_as_others(bench: Bench) -> None:
    """The table then goes on by itself, up to the versions that the ledger names."""
    bench.tell({1: [["a", 1]], 2: [["a", 2]]})
    bench.run(1, 2, "notes")
    restore = save(bench)
    bench.tell({2: [["a", 3]]})
    bench.run(1, 2, "notes")
    restore()
    stray = bench.lake.scan("notes", [day(1)]).collect().with_columns(day=pl.lit(day(20)))
    bench.lake.replace("notes", [day(20)], stray)
    assert bench.lake.version("notes") == 2
    assert reasons(bench, 0, 2) == {2: "lost"}
    bench.run(1, 2, "notes")
    assert bench.rows("notes")[:2] == [(1, "a", 1), (2, "a", 3)]


def test_a_loss_is_not_hidden_by_runs_of_other_days(bench: Bench) -> None:
    bench.tell({1: [["a", 1]], 2: [["a", 2]]})
    bench.run(1, 2, "notes")
    restore = save(bench)
    bench.tell({2: [["a", 3]]})
    bench.run(1, 2, "notes")
    restore()
    bench.tell({3: [["a", 3]], 4: [["a", 4]]})
    bench.run(3, 3, "notes")
    bench.run(4, 4, "notes")
    assert bench.lake.version("notes") == 3
    assert reasons(bench, 0) == {2: "lost"}
    assert computed(bench.run(1, 4, "notes"))["notes"] == {2}
    assert (2, "a", 3) in bench.rows("notes")


@pytest.mark.parametrize("force", [False, True])
def test_tables_that_were_deleted_are_computed_again(bench: Bench, force: bool) -> None:
    bench.tell({**NOTES, 4: []})
    bench.run(1, 4)
    shutil.rmtree(tables(bench))
    assert reasons(bench, 0) == dict.fromkeys(range(1, 5), "lost")
    assert bench.run(1, 4, force=force).success
    assert bench.rows("notes") == ALL_NOTES[:-1]
    assert bench.rows("copies") == [(1, 1), (2, 23), (3, 25), (4, 3)]
    assert ledger.latest(bench.postgres, ALL, day(1), day(4))["delta_version"].to_list() == [1] * 12
    assert computed(bench.run(1, 4)) == dict.fromkeys(ALL, set())


def test_a_days_files_that_were_taken_out_of_the_table_are_missed(bench: Bench) -> None:
    bench.tell(NOTES)
    bench.run(1, 4)
    bench.lake.table("totals").delete("day = '2026-02-03'")
    assert reasons(bench, 1) == {3: "lost"}
    assert computed(bench.run(1, 4)) == {"notes": set(), "totals": {3}, "copies": set()}


def test_what_reads_a_lost_day_waits_for_it_and_the_other_days_go_on(bench: Bench) -> None:
    bench.tell({1: NOTES[1]})
    bench.run(1, 1, "notes", "totals")
    bench.tell(NOTES)
    bench.run(2, 4, "notes", "totals")
    bench.lake.table("notes").delete("day = '2026-02-03'")
    bench.tell({1: [["a", 100]]})
    bench.run(1, 1, "notes")
    result = bench.run(1, 4, "totals", force=True)
    assert "2026-02-03: notes of 2026-02-03 is lost from its table, materialize it first" in failure_of(result, "totals")
    assert bench.rows("totals") == [(1, 100), (2, 122), (3, 25), (4, 7)]
    bench.run(3, 3, "notes")
    assert bench.run(1, 4, "totals", force=True).success


def test_what_follows_from_a_lost_day_is_current_again_once_that_has_the_same_rows(bench: Bench) -> None:
    bench.tell(NOTES)
    bench.run(1, 4)
    shutil.rmtree(tables(bench) / "notes")
    assert computed(bench.run(1, 4)) == {"notes": {1, 2, 3, 4}, "totals": set(), "copies": set()}


Entry = tuple[int, int, int, str | None]
OK: list[Entry] = [(1, 5, 1, "a"), (2, 0, 2, "b"), (3, 7, 4, "d")]


@pytest.mark.parametrize(
    ("entries", "table", "commits", "expected"),
    [
        (OK, Standing(6, {day(1): 5, day(3): 7}), {1: "a", 2: "b", 4: "d"}, set()),
        (OK, Standing(6, {day(1): None, day(3): None}), {4: "d"}, set()),
        (OK, Standing(), {}, {1, 2, 3}),
        (OK, Standing(3, {day(1): 5}), {1: "a", 2: "b"}, {3}),
        (OK, Standing(6, {day(1): 4, day(2): 1, day(3): 7}), {4: "d"}, {1, 2}),
        (OK, Standing(6, {day(1): 5, day(2): None, day(3): 7}), {4: "d"}, {2}),
        (OK, Standing(6, {day(1): 5, day(3): 7}), {1: "a", 2: "x", 4: "y"}, {2, 3}),
        (OK, Standing(6, {day(1): 5, day(3): 7}), {1: "x", 2: "y", 4: "z"}, {1, 2, 3}),
        ([(1, 5, -1, None)], Standing(6, {day(1): 5}), {}, {1}),
        ([(1, 5, 3, None)], Standing(6, {day(1): 5}), {3: "x"}, set()),  # of before commits had names
        ([], Standing(), {}, set()),
    ],
)
def test_days_are_lost_exactly_where_the_table_has_not_what_the_ledger_names(
    entries: Sequence[Entry], table: Standing, commits: dict[int, str], expected: set[int]
) -> None:
    schema = {"day": pl.Date, "rows": pl.Int64, "delta_version": pl.Int64, "commit_id": pl.String}
    frame = pl.DataFrame([(day(number), *rest) for number, *rest in entries], schema=schema, orient="row")
    found = judge(frame, table, lambda version, name: commits.get(version) == name)
    assert {of.day for of in found} == expected


BEFORE: list[Callable[[], Any]] = []
AFTER: list[Callable[[], Any]] = []


class Racing(Postgres):
    """The database, with something that another run does just before or after the first time that the ledger is read."""

    def read(self, query: Any, parameters: Sequence[Any] = ()) -> pl.DataFrame:
        is_plan = parameters and "totals" in str(parameters[0])
        while is_plan and BEFORE:
            BEFORE.pop()()
        found = super().read(query, parameters)
        while parameters and "notes" in str(parameters[0]) and AFTER:
            AFTER.pop()()
        return found


@pytest.mark.parametrize("moment", [BEFORE, AFTER])
def test_an_input_that_is_replaced_while_a_run_begins_is_not_stored_under_its_new_digest(
    bench: Bench, moment: list[Callable[[], Any]]
) -> None:
    bench.tell({1: [["a", 1]], 2: [["a", 2]]})
    bench.run(1, 2, "notes", "totals")
    bench.code = "2"

    def another() -> None:
        bench.tell({1: [["a", 10]], 2: [["a", 2]]})
        bench.run(1, 2, "notes")

    plain = bench.postgres
    bench.postgres = Racing(url=plain.url)
    moment.append(another)
    defs = toy_assets.definitions(bench.world, bench.lake, bench.postgres, bench.code)
    bench.postgres = plain
    toy_assets.execute(defs, bench.instance, date(2026, 2, 1), date(2026, 2, 2), "totals", force=True)
    assert not moment
    bench.run(1, 2, "totals")
    assert bench.rows("totals") == [(1, 10), (2, 12)]


MEANWHILE: list[Callable[[], Any]] = []


class Overtaken(toy_assets.World):
    """What lies outside, with something that another run does after a run has read it and before it claims its days."""

    def read(self) -> dict[str, list[list[Any]]]:
        found = super().read()
        if MEANWHILE:
            MEANWHILE.pop()()
        return found


def test_what_is_kept_aside_of_an_unchanged_day_is_that_of_the_run_whose_rows_it_has(bench: Bench) -> None:
    """A run that finds the rows as they were, and that another has overtaken, leaves the rejected rows to it, too."""
    bench.tell({1: [["a", 1]]})
    bench.run(1, 1, "notes")
    bench.tell({1: [["a", 1], ["odd", 0]]})

    def another() -> None:
        bench.tell({1: [["a", 7]]})
        bench.run(1, 1, "notes")

    MEANWHILE.extend([another, lambda: None])  # the first read is the plan's
    slow = toy_assets.definitions(Overtaken(path=bench.world.path), bench.lake, bench.postgres, bench.code)
    toy_assets.execute(slow, bench.instance, day(1), day(1), "notes")
    assert not MEANWHILE
    assert bench.rows("notes") == [(1, "a", 7)]
    assert reasons(bench, 0, 1) == {}
    assert bench.lake.scan("notes_rejected").collect().is_empty()
