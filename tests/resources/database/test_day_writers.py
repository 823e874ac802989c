"""Runs of one day side by side, in every order of their steps and killed before any of them: the ledger is true of the table.

The agreement that is tested is told in `resources/database/day_writers.py`. That the explorer can see the bug is shown by leaving
out one half of it at a time.
"""

import secrets
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from interleavings import Actor, Run, explore
from obstore.store import LocalStore

from resources.database import day_writers, ledger
from resources.database.sqlite import Sqlite
from resources.lake.lake import Lake
from resources.lake.standing import commit_id, standing
from resources.objects.store import ObjectStore

DAY, OTHER = date(2026, 2, 1), date(2026, 2, 2)


class World:
    """A lake on a folder and a database in a file, with a table `t` whose day holds `old`, as its entry says."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lake = Lake(url=(root / "lake").as_uri())
        self.database = Sqlite(url=f"sqlite:///{root / 'darkroom.db'}")

    def write(self, value: str) -> None:
        """Replace the day as a run does that is alone."""
        run(self, value)(ObjectStore("memory://", LocalStore(self.root), None), lambda _: None)

    def copy(self) -> "World":
        root = self.root.parent / secrets.token_hex(4)
        shutil.copytree(self.root, root)
        return World(root)

    def rows(self) -> list[str]:
        return sorted(self.lake.scan("t", [DAY]).collect()["value"])

    def newest(self) -> pl.DataFrame:
        """The newest entry of the day: none, or one."""
        return ledger.latest(self.database, ["t"], DAY, DAY)

    def fault(self) -> str | None:
        """What is untrue of the ledger: said to be current and other rows, or not of the highest version."""
        entries = self.database.rows("select digest, delta_version, commit_id from materializations order by id")
        recorded = [(version, digest, name) for digest, version, name in entries if digest]
        if not entries or not entries[-1][0]:
            return None  # begun and not recorded: to be computed
        version, digest, name = recorded[-1]
        if version != max(recorded)[0]:
            return f"the newest entry is of version {version}, another of {max(recorded)[0]}"
        if commit_id(self.lake, "t", version) != name:
            return f"version {version} is another commit"
        return None if self.rows() == words(digest) else f"the table has {self.rows()}, the ledger says {digest!r}"


def words(value: str) -> list[str]:
    return [] if value == "nothing" else [value]


def entry(value: str, version: int, name: str | None) -> ledger.Materialization:
    return ledger.Materialization("t", DAY, value, 1, 0, "c", "i", {}, version, None, "run", commit_id=name)


def rows(value: str) -> pl.DataFrame:
    found = words(value)
    return pl.DataFrame({"day": [DAY] * len(found), "value": found}, schema={"day": pl.Date, "value": pl.String})


def run(world: World, value: str) -> Actor:
    """A run that gives the day this row: what `execution.py` does from its plan on."""

    def act(_store: ObjectStore, step: Callable[[str], None]) -> None:
        step("plan")
        before = {found["day"]: found for found in world.newest().iter_rows(named=True)}
        had = before.get(DAY)
        is_unchanged = had is not None and had["digest"] == value
        step("claim")
        claim = day_writers.claim(world.database, "t", [DAY], [] if is_unchanged else [DAY], value)

        def held() -> set[date]:
            step("ask")
            mine = claim.owned_days()
            step("write")
            return mine

        if is_unchanged and had is not None:
            entries, unchanged = [entry(value, had["delta_version"], had["commit_id"])], {DAY: had["id"]}
        else:
            made = world.lake.commit("t", [DAY], rows(value), owned_days=held)
            entries, unchanged = [entry(value, made.version, made.commit_id) for _ in made.days], {}
        step("record")
        day_writers.record(claim, entries, unchanged)

    return act


def run_without_asking(world: World, value: str) -> Actor:
    """The same without claims: it commits whatever others do, and enters it when it gets to that."""

    def act(_store: ObjectStore, step: Callable[[str], None]) -> None:
        step("commit")
        made = world.lake.commit("t", [DAY], rows(value))
        step("record")
        ledger.record(world.database, [entry(value, made.version, made.commit_id)])

    return act


def run_without_marks(world: World, value: str) -> Actor:
    """The same with claims, but without the entry that a day is about to be replaced."""

    def act(_store: ObjectStore, step: Callable[[str], None]) -> None:
        step("claim")
        claim = day_writers.claim(world.database, "t", [DAY], [], value)
        made = world.lake.commit("t", [DAY], rows(value), owned_days=claim.owned_days)
        step("record")
        day_writers.record(claim, [entry(value, made.version, made.commit_id) for _ in made.days], {})

    return act


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("worlds") / "template"
    root.mkdir()
    world = World(root)
    world.database.migrate()
    world.write("old")
    return world


def outcomes(
    template: World,
    actors: Callable[[World], dict[str, Actor]],
    *,
    switches: int = 2,
    killed_at: tuple[str, int] | None = None,
) -> list[tuple[Run, str | None]]:
    """Every order's run with what is untrue afterwards, and after one more run that is alone."""
    found: list[tuple[Run, str | None]] = []
    worlds: list[World] = []

    def start() -> tuple[LocalStore, dict[str, Actor]]:
        worlds.append(template.copy())
        return LocalStore(worlds[-1].root), actors(worlds[-1])

    for one in explore(start, switches=switches, killed_at=killed_at):
        world = worlds.pop()
        fault = world.fault()
        world.write("next")
        found.append((one, fault or world.fault() or (None if world.rows() == ["next"] else "the next run changed nothing")))
        shutil.rmtree(world.root)
    return found


def faults(found: list[tuple[Run, str | None]]) -> set[str]:
    return {fault for _, fault in found if fault}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "second", "switches"), [("a", "b", 2), ("a", "old", 2), ("a", "nothing", 1), ("nothing", "old", 1)]
)
def test_two_runs_of_a_day_in_every_order_leave_an_entry_that_is_true(
    template: World, first: str, second: str, switches: int
) -> None:
    """switches: how often one goes on where the other was."""
    actors = (first, second)
    found = outcomes(template, lambda world: {name: run(world, name) for name in actors}, switches=switches)
    assert len(found) > 5
    assert faults(found) == set()
    assert not any(one.errors for one, _ in found)


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), [("a", "nothing"), ("nothing", "a"), ("nothing", "nothing"), ("a", "b")])
def test_two_runs_of_a_day_that_has_no_rows_yet_leave_an_entry_that_is_true(
    template: World, first: str, second: str
) -> None:
    """A commit of no rows beside one that adds some: no file is of both, yet the table must not keep the older run's."""
    world = template.copy()
    world.write("nothing")
    actors = {"one": first, "two": second}
    found = outcomes(world, lambda copy: {name: run(copy, value) for name, value in actors.items()}, switches=2)
    assert faults(found) == set()
    assert not any(one.errors for one, _ in found)


@pytest.mark.slow
def test_three_runs_of_a_day_leave_an_entry_that_is_true(template: World) -> None:
    found = outcomes(template, lambda world: {name: run(world, name) for name in ("a", "b", "c")}, switches=1)
    assert faults(found) == set()


@pytest.mark.slow
@pytest.mark.parametrize("steps", range(1, 5))
def test_a_run_killed_at_any_step_beside_another_leaves_an_entry_that_is_true(template: World, steps: int) -> None:
    """Killed before it enters what it has committed, it leaves the day to be computed."""
    found = outcomes(
        template,
        lambda world: {"killed": run(world, "a"), "other": run(world, "b")},
        switches=1,
        killed_at=("killed", steps),
    )
    assert faults(found) == set()


def test_the_explorer_finds_what_goes_wrong_where_no_run_claims_its_days(template: World) -> None:
    found = outcomes(template, lambda world: {name: run_without_asking(world, name) for name in ("a", "b")})
    assert any("the newest entry is of version" in fault for fault in faults(found))


def test_the_explorer_finds_what_goes_wrong_where_nothing_says_that_a_day_is_about_to_be_replaced(template: World) -> None:
    """The killed run has committed and entered nothing; the entry that is there is that of before."""
    found = outcomes(template, lambda world: {"killed": run_without_marks(world, "a")}, killed_at=("killed", 1))
    assert any("the table has ['a'], the ledger says 'old'" in fault for fault in faults(found))


def test_a_day_that_another_run_claims_is_left_to_it_and_the_others_are_written(template: World) -> None:
    world = template.copy()
    claim = day_writers.claim(world.database, "t", [DAY, OTHER], [DAY, OTHER], "run")
    day_writers.claim(world.database, "t", [DAY], [DAY], "another")
    both = pl.DataFrame({"day": [DAY, OTHER], "value": ["mine", "mine"]}, schema={"day": pl.Date, "value": pl.String})
    made = world.lake.commit("t", [DAY, OTHER], both, owned_days=claim.owned_days)
    assert made.days == (OTHER,)
    assert world.rows() == ["old"]
    assert standing(world.lake, "t").rows == {DAY: 1, OTHER: 1}
    assert day_writers.record(claim, [entry("mine", made.version, made.commit_id)], {}) == set()
