"""Writers beside a clean-up, in every order of their steps: whatever a committed reference names is there.

The agreement that is tested is told in `resources/objects/removal_marks.py`. That the explorer can see the bug is shown by leaving
out one half of it at a time.
"""

import os
import secrets
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from interleavings import Actor, Run, explore
from obstore.store import LocalStore

from resources.errors import StoreUnavailable
from resources.objects import removal_marks
from resources.objects.removal import delete_removal_lists, holdings, remove, remove_contents
from resources.objects.store import ObjectStore, content_key

CONTENT = b"a content that was reached once"
GRACE = timedelta(hours=24)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal_marks, "PAUSE_S", 0.0)


class World:
    """A folder with one content of a certain age, and references as objects `refs/NAME` that hold a key."""

    def __init__(self, root: Path, hours: float) -> None:
        self.root = root / secrets.token_hex(4)
        self.backend = LocalStore(self.root, mkdir=True)
        self.store = ObjectStore("memory://", self.backend, None)
        self.key = content_key(self.store.put_if_absent(CONTENT).sha256)
        self.age(hours)

    def age(self, hours: float) -> None:
        """Let time pass: everything is older."""
        for path in self.root.rglob("*"):
            if path.is_file():
                then = path.stat().st_mtime - 3600 * hours
                os.utime(path, (then, then))

    def lost(self) -> list[str]:
        """References whose content is gone."""
        refs = [info.key for info in self.store.list("refs/")]
        return [ref for ref in refs if not self.store.exists(self.store.get(ref).decode())]

    def close(self) -> None:
        shutil.rmtree(self.root)


def writer(name: str) -> Actor:
    def act(store: ObjectStore, step: Callable[[str], None]) -> None:
        ref = store.put_if_absent(CONTENT)
        store.put(f"refs/{name}", content_key(ref.sha256).encode())

    return act


def writer_that_trusts_what_is_there(name: str) -> Actor:
    def act(store: ObjectStore, step: Callable[[str], None]) -> None:
        import hashlib

        key = content_key(hashlib.sha256(CONTENT).hexdigest())
        if not store.exists(key):
            store.put(key, CONTENT)
        store.put(f"refs/{name}", key.encode())

    return act


def doomed(store: ObjectStore, older_than: datetime) -> list:  # type: ignore[type-arg]
    reached = {store.get(info.key).decode() for info in store.list("refs/")}
    return [item for item in holdings(store, "sha256/") if item.key not in reached and item.last_modified < older_than]


def cleaner(store: ObjectStore, step: Callable[[str], None]) -> None:
    step("begin")
    older_than = datetime.now(UTC) - GRACE
    remove_contents(store, doomed(store, older_than), older_than)


def cleaner_without_condemning(store: ObjectStore, step: Callable[[str], None]) -> None:
    step("begin")
    older_than = datetime.now(UTC) - GRACE
    for item in doomed(store, older_than):
        if store.head(item.key).last_modified < older_than:
            remove(store, [item])


def in_turn(actor: str, what: str, run: Run) -> bool:
    """A writer that waits for a clean-up is let go once that has made another step."""
    last = max((n for n, (name, _) in enumerate(run.steps) if name == actor), default=None)
    if last is None or not run.steps[last][1].startswith("get_async condemned/"):
        return True
    return any(name == "cleaner" for name, _ in run.steps[last + 1 :])


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer gives up at once where a clean-up is in its way."""
    monkeypatch.setattr(removal_marks, "PATIENCE_S", -1.0)


def outcomes(
    root: Path,
    actors: dict[str, Actor],
    hours: float,
    *,
    switches: int | None = None,
    killed_at: tuple[str, int] | None = None,
) -> list[tuple[Run, list[str], World]]:
    found: list[tuple[Run, list[str], World]] = []
    worlds: list[World] = []

    def start() -> tuple[LocalStore, dict[str, Actor]]:
        worlds.append(World(root, hours))
        return worlds[-1].backend, actors

    for run in explore(start, enabled=in_turn, switches=switches, killed_at=killed_at):
        world = worlds.pop()
        found.append((run, world.lost(), world))
        if killed_at is None:
            world.close()
    return found


def faults(found: list[tuple[Run, list[str], World]]) -> list[Run]:
    return [run for run, lost, _ in found if lost]


@pytest.mark.slow
def test_a_writer_and_a_clean_up_in_every_order_lose_nothing(tmp_path: Path) -> None:
    found = outcomes(tmp_path, {"cleaner": cleaner, "writer": writer("a")}, hours=48, switches=3)
    assert len(found) > 100
    assert faults(found) == []
    assert not any(run.errors for run, _, _ in found)
    steps = {what.split("/")[0] for run, _, _ in found for _, what in run.steps}
    assert {"put_async condemned", "delete_async sha256", "get_async condemned"} <= steps  # what is tested does happen


def test_the_explorer_finds_what_a_writer_loses_that_trusts_what_is_there(tmp_path: Path) -> None:
    found = outcomes(tmp_path, {"cleaner": cleaner, "writer": writer_that_trusts_what_is_there("a")}, hours=48, switches=3)
    assert faults(found)


@pytest.mark.slow
def test_the_explorer_finds_what_is_lost_where_a_clean_up_looks_at_the_age_but_condemns_nothing(tmp_path: Path) -> None:
    found = outcomes(tmp_path, {"cleaner": cleaner_without_condemning, "writer": writer("a")}, hours=48, switches=3)
    assert faults(found)


@pytest.mark.slow
def test_two_writers_and_a_clean_up_lose_nothing(tmp_path: Path) -> None:
    actors = {"cleaner": cleaner, "first": writer("a"), "second": writer("b")}
    found = outcomes(tmp_path, actors, hours=48, switches=2)
    assert len(found) > 200
    assert faults(found) == []


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("steps", range(1, 9))
def test_a_clean_up_that_is_killed_before_any_step_loses_nothing_and_the_next_completes(tmp_path: Path, steps: int) -> None:
    """The writer of a condemned content is told so, and does its work once the next clean-up has run."""
    found = outcomes(
        tmp_path, {"cleaner": cleaner, "writer": writer("a")}, hours=48, switches=2, killed_at=("cleaner", steps)
    )
    assert faults(found) == []
    for run, _, world in found:
        assert all(isinstance(error, StoreUnavailable) for error in run.errors.values())
        delete_removal_lists(world.store)
        older_than = datetime.now(UTC) - GRACE
        remove_contents(world.store, doomed(world.store, older_than), older_than)
        if run.errors:
            writer("a")(world.store, lambda _: None)
        assert world.lost() == []
        assert len(list(world.store.list("refs/"))) == 1
        assert list(world.store.list("condemned/")) == []
        world.close()


@pytest.mark.parametrize("steps", range(1, 6))
def test_a_writer_that_is_killed_before_any_step_leaves_nothing_that_is_not_there(tmp_path: Path, steps: int) -> None:
    found = outcomes(
        tmp_path, {"cleaner": cleaner, "writer": writer("a")}, hours=48, switches=2, killed_at=("writer", steps)
    )
    assert faults(found) == []
    for _, _, world in found:
        world.close()


@pytest.mark.parametrize("hours", [1, 11, 13, 23, 25])
def test_a_writer_that_commits_eleven_hours_later_finds_its_content_there(tmp_path: Path, hours: float) -> None:
    world = World(tmp_path, hours)
    world.store.put_if_absent(CONTENT)
    world.age(11)
    cleaner(world.store, lambda _: None)
    assert world.store.exists(world.key)


def test_a_content_that_nothing_asks_for_is_removed(tmp_path: Path) -> None:
    world = World(tmp_path, 25)
    cleaner(world.store, lambda _: None)
    assert not world.store.exists(world.key)
    assert list(world.store.list("")) == []
