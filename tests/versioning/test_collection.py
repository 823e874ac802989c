"""The clean-up, on a folder and on a versioned bucket: what stays, what goes, and that a kill or a writer costs nothing.

`LATER` is two days after everything was written, so that the grace period is over.
"""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from types import FrameType

import polars as pl
import pytest

from pipeline_assets.errors import CleanUpRefused, DarkroomError, ManifestBroken, ReferenceUnreadable
from pipeline_assets.versioning.gc import collection
from pipeline_assets.versioning.gc.collection import Place
from pipeline_assets.versioning.pin.contents import Pinned
from pipeline_assets.versioning.pin.pins import NO_FILES, Label, reference, store_folder
from pipeline_assets.versioning.pin.reference import Code, Reference, TableVersion
from pipeline_assets.versioning.pin.repository import Repository
from resources.database import ledger
from resources.database.postgres import Postgres
from resources.errors import AlreadyRunning, TableMissing
from resources.lake.lake import Lake
from resources.objects.removal import holdings
from resources.objects.results import KEY, Results
from resources.objects.store import ObjectStore, content_key

KILLS = 6
STEPS = (
    "versioning/gc/collection.py",
    "resources/objects/removal.py",
    "resources/objects/store.py",
    "resources/database/postgres.py",
)
forks = multiprocessing.get_context("forkserver")
FIRST, SECOND = date(2026, 1, 1), date(2026, 1, 2)
LATER = datetime.now(UTC) + timedelta(days=2)


def git(root: Path, *words: str) -> None:
    author = ("-c", "user.email=a@example.com", "-c", "user.name=A")
    subprocess.run(["git", *author, *words], cwd=root, check=True, capture_output=True)


@dataclass
class World:
    """A lake, a database and a repository."""

    place: Place
    root: Path

    @property
    def lake(self) -> Lake:
        return self.place.lake

    @property
    def objects(self) -> ObjectStore:
        return self.place.objects

    def commit(self, table: str, day: date, rows: pl.DataFrame) -> int:
        """Replace a day and enter it into the ledger, as a run does."""
        version = self.lake.replace(table, [day], rows.with_columns(day=pl.lit(day)))
        digest = f"{version:016x}"
        entry = ledger.Materialization(table, day, digest, rows.height, 0, "c", "i", {}, version, None, "run")
        ledger.record(self.place.database, [entry])
        return version

    def pin(self, name: str, asset: str, version: int) -> Reference:
        tables = {asset: TableVersion(version=version, first_day=FIRST, last_day=SECOND, rows=1, digest="0" * 32)}
        label = Label(name, Code(commit=None, clean=False), "A")
        made = reference(label, NO_FILES, self.objects, {"objects": self.place.objects_url}, asset, tables)
        self.place.repositories[0].write(made)
        return made

    def pin_folder(self, name: str, files: dict[str, bytes]) -> Reference:
        folder = self.root / f"files-{name}"
        for path, data in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        stored = store_folder(folder, self.objects, NO_FILES, self.root / f"{name}.parquet")
        label = Label(name, Code(commit=None, clean=False), "A")
        made = reference(label, stored.files, self.objects, {"objects": self.place.objects_url})
        self.place.repositories[0].write(made)
        return made

    def bytes_of(self, made: Reference) -> list[bytes]:
        pinned = Pinned(made, self.lake, {"objects": self.objects})
        found = [data for _, data in pinned.read(pinned.files)]
        assert all(isinstance(data, bytes) for data in found), found
        return sorted(data for data in found if isinstance(data, bytes))

    def clean(self, now: datetime = LATER, **changes: object) -> tuple[dict[str, int], collection.Tally]:
        """What was planned, by kind, and what was removed."""
        place = replace(self.place, **changes)  # type: ignore[arg-type]
        with collection.exclusive(place.database), collection.plan_collection(place, now) as plan:
            removed = collection.carry_out(plan, place, print)
            return {kind: tally.objects for kind, tally in plan.doomed.items()}, removed


def values(*numbers: int) -> pl.DataFrame:
    return pl.DataFrame({"value": numbers})


@pytest.fixture(params=["folder", "s3"])
def world(request: pytest.FixtureRequest, tmp_path: Path, postgres_url: str) -> World:
    postgres = Postgres(url=postgres_url)
    postgres.migrate()
    on_s3 = request.param == "s3"
    url = request.getfixturevalue("s3_url") if on_s3 else (tmp_path / "lake").as_uri()
    options = request.getfixturevalue("s3_options") if on_s3 else {}
    root = tmp_path / "repository"
    root.mkdir()
    git(root, "init", "-q")
    git(root, "commit", "-q", "--allow-empty", "-m", "first")
    objects_url = f"{url}/objects"
    place = Place(
        Lake(url=url, **options),
        ObjectStore.open(url, **options),
        ObjectStore.open(objects_url, **options),
        objects_url,
        postgres,
        (Repository.around(root),),
    )
    return World(place, root)


def test_files_of_versions_that_nothing_names_go_and_every_kept_version_scans_wholly(world: World) -> None:
    for value in (1, 2, 3, 4):
        last = world.commit("numbers", FIRST, values(value))
        world.commit("numbers", SECOND, values(10 * value))
    world.pin("two", "numbers", 3)
    before = {version: world.lake.scan("numbers", version=version).collect().sort("day") for version in (3, last + 1)}
    planned, removed = world.clean()
    assert planned[collection.FILE] >= 4
    assert removed.objects == sum(planned.values())
    for version, rows in before.items():
        assert world.lake.scan("numbers", version=version).collect().sort("day").equals(rows)
    with pytest.raises(TableMissing, match="was cleaned up"):
        world.lake.scan("numbers", version=1)
    assert world.clean()[0] == {}


def test_a_table_whose_old_log_was_cut_off_behind_a_checkpoint_is_cleaned_up_from_there_on(world: World) -> None:
    weights = [world.objects.put_if_absent(f"weights {n}".encode()).sha256 for n in range(2)]
    for day, sha256 in zip((FIRST, SECOND), weights, strict=True):
        at = world.commit("popularity_model", day, pl.DataFrame({"weights_sha256": [sha256]}))
    world.lake.table("popularity_model").create_checkpoint()
    for version in range(at):
        world.place.files.delete(f"tables/popularity_model/_delta_log/{version:020}.json")
    world.commit("numbers", FIRST, values(1))
    assert world.clean()[0] == {}
    assert all(world.objects.exists(content_key(sha256)) for sha256 in weights)
    world.place.files.delete(f"tables/popularity_model/_delta_log/{at:020}.json")
    with pytest.raises(CleanUpRefused, match="log of the table popularity_model"):
        world.clean()


def test_a_dry_plan_changes_nothing_and_what_is_young_stays(world: World) -> None:
    for value in (1, 2):
        world.commit("numbers", FIRST, values(value))
    world.objects.put_if_absent(b"nothing names this")
    before = [item.key for item in holdings(world.place.files, "")]
    with collection.plan_collection(world.place, LATER) as plan:
        assert plan.total.objects == 2
        assert len(list(plan)) == 2
    assert [item.key for item in holdings(world.place.files, "")] == before
    assert world.clean(now=datetime.now(UTC))[0] == {}
    assert world.clean(grace=timedelta(days=3))[0] == {}


def test_what_a_branch_a_tag_a_stash_or_the_work_tree_pins_stays_and_the_rest_goes(world: World) -> None:
    world.commit("numbers", FIRST, values(1))
    git(world.root, "commit", "-q", "--allow-empty", "-m", "second")
    made: dict[str, Reference] = {}
    for name in ("branch", "tag", "stash", "tree", "lost"):
        made[name] = world.pin_folder(name, {f"{name}/{n}.txt": f"{name} {n}".encode() for n in range(3)})
        git(world.root, "add", f"datasets/{name}.json")
        if name in ("branch", "tag"):
            git(world.root, "checkout", "-q", "-b", name)
            git(world.root, "commit", "-q", "-m", name)
            if name == "tag":
                git(world.root, "tag", "v1")
            git(world.root, "checkout", "-q", "-")
        elif name == "stash":
            git(world.root, "stash")
        elif name == "lost":
            git(world.root, "rm", "-q", "-f", "--cached", "datasets/lost.json")
            (world.root / "datasets" / "lost.json").unlink()
    planned, _ = world.clean()
    assert planned == {collection.CONTENT: 2}  # the lost pin's pack and manifest
    for name in ("branch", "tag", "stash", "tree"):
        assert len(world.bytes_of(made[name])) == 3
    assert list(world.place.files.list("objects/condemned/")) == []


def test_a_pack_stays_while_one_file_in_it_is_reached(world: World) -> None:
    world.commit("numbers", FIRST, values(1))
    whole = world.pin_folder("whole", {"a": b"one", "b": b"two"})
    files = Pinned(whole, world.lake, {"objects": world.objects}).files.head(1)
    part = reference(Label("part", Code(commit=None, clean=False), "A"), files, world.objects, {})
    world.place.repositories[0].write(part)
    (world.root / "datasets" / "whole.json").unlink()
    assert world.clean()[0] == {collection.CONTENT: 1}
    assert world.bytes_of(part) == [b"one"]


def test_what_rows_of_the_newest_materializations_name_stays(world: World) -> None:
    weights = [world.objects.put_if_absent(f"weights {n}".encode()).sha256 for n in range(3)]
    for n in range(3):
        world.commit("numbers", FIRST, values(n))
    pinned = world.pin_folder("nightly", {"a": b"of a night"})
    (world.root / "datasets" / "nightly.json").unlink()
    for sha256 in weights:
        named = {
            "weights_sha256": [sha256],
            "table_versions_json": [json.dumps({"numbers": 1})],
            "reference_json": [pinned.dumps()],
        }
        world.commit("popularity_model", FIRST, pl.DataFrame(named))
    world.clean(keep_last=2)
    there = [world.objects.exists(content_key(sha256)) for sha256 in weights]
    assert there == [False, True, True]
    assert world.lake.scan("numbers", version=1).collect()["value"].to_list() == [0]
    assert world.bytes_of(pinned) == [b"of a night"]
    assert world.lake.scan("numbers", version=2).collect()["value"].to_list() == [1]
    world.clean()
    with pytest.raises(TableMissing):
        world.lake.scan("numbers", version=2)
    assert [world.objects.exists(content_key(sha256)) for sha256 in weights] == [False, False, True]


def test_results_stay_until_their_kind_is_forgotten_and_then_their_rows_go_first(world: World) -> None:
    world.commit("numbers", FIRST, values(1))
    results = Results(world.place.database, world.objects)
    for kind in ("model 1", "model 2"):
        results.put(kind, pl.DataFrame({KEY: ["a", "b"], "value": [kind, kind]}))
    assert world.clean()[0] == {}
    assert world.clean(forgotten=("model 1",))[0] == {collection.CONTENT: 1}
    assert results.missing("model 1", ["a", "b"]) == ["a", "b"]
    assert pl.concat(results.parts("model 2", ["a", "b"]))["value"].to_list() == ["model 2"] * 2


def test_a_kill_between_rows_and_chunks_of_results_leaves_what_works_and_the_next_call_completes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.commit("numbers", FIRST, values(1))
    results = Results(world.place.database, world.objects)
    rows = pl.DataFrame({KEY: ["a"], "value": [1]})
    results.put("model", rows)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(collection, "remove_contents", _interrupted)
        world.clean(forgotten=("model",))
    assert results.missing("model", ["a"]) == ["a"]
    assert world.clean()[0] == {collection.CONTENT: 1}
    results.put("model", rows)
    assert pl.concat(results.parts("model", ["a"])).equals(rows)


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("text", ["{", "<<<<<<< HEAD", '{"darkroom": 2}'])
def test_nothing_is_deleted_while_any_reference_on_any_branch_can_not_be_read(world: World, text: str) -> None:
    world.commit("numbers", FIRST, values(1))
    world.objects.put_if_absent(b"nothing names this")
    git(world.root, "checkout", "-q", "-b", "other")
    (world.root / "datasets").mkdir()
    (world.root / "datasets" / "broken.json").write_text(text)
    git(world.root, "add", ".")
    git(world.root, "commit", "-q", "-m", "broken")
    git(world.root, "checkout", "-q", "-")
    with pytest.raises(ReferenceUnreadable, match=r"datasets/broken\.json"):
        world.clean()
    assert len(list(world.objects.list("sha256/"))) == 1


def test_nothing_is_deleted_while_a_pin_s_manifest_is_gone(world: World) -> None:
    world.commit("numbers", FIRST, values(1))
    made = world.pin_folder("scans", {"a": b"one"})
    world.objects.delete(content_key(made.manifest.sha256))
    with pytest.raises(ManifestBroken, match="nothing was deleted"):
        world.clean()


def test_nothing_is_deleted_with_the_database_of_another_project(world: World) -> None:
    world.lake.replace("numbers", [FIRST], values(1).with_columns(day=pl.lit(FIRST)))
    with pytest.raises(CleanUpRefused, match="another project"):
        world.clean()


def test_uploads_events_and_the_tables_logs_are_never_looked_at(world: World) -> None:
    world.commit("numbers", FIRST, values(1))
    others = [
        "events/2026-01-01/a.jsonl.gz",
        "uploads/2026-01-01/1/a.jpg",
        "objects/notes.txt",
        "tables/numbers/_x/a.parquet",
    ]
    for key in others:
        world.place.files.put(key, b"not ours to judge")
    logs = [info.key for info in world.place.files.list("tables/numbers/_delta_log/")]
    assert world.clean()[0] == {}
    assert all(world.place.files.exists(key) for key in [*others, *logs])


def test_only_one_clean_up_runs_at_a_time(world: World) -> None:
    with collection.exclusive(world.place.database), pytest.raises(AlreadyRunning):
        world.clean()


def clean_until(place: tuple[str, dict[str, str], str, str, Path], kill_at: int, counted: Path) -> None:
    """A clean-up in a process that kills itself at its n-th call into what plans, removes and stores.

    If it ends: how many calls there were before the first removal, and in all.
    """
    url, options, objects_url, postgres_url, root = place
    calls = 0

    def watch(frame: FrameType, event: str, _: object) -> None:
        nonlocal calls
        if event == "call" and frame.f_code.co_filename.endswith(STEPS):
            calls += 1
            if calls == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    lake, stores = Lake(url=url, **options), [ObjectStore.open(one, **options) for one in (url, objects_url)]
    told = Place(lake, *stores, objects_url, Postgres(url=postgres_url), (Repository.around(root),))
    sys.setprofile(watch)
    with collection.exclusive(told.database), collection.plan_collection(told, LATER) as plan:
        first = calls
        collection.carry_out(plan, told, print)
    sys.setprofile(None)
    counted.write_text(json.dumps([first, calls]))


@pytest.mark.slow
def test_a_clean_up_killed_at_any_step_loses_nothing_and_the_next_one_completes(
    request: pytest.FixtureRequest, world: World, tmp_path: Path, postgres_url: str
) -> None:
    options = request.getfixturevalue("s3_options") if world.objects.s3 is not None else {}
    place = (world.lake.url, options, world.place.objects_url, postgres_url, world.root)
    kept = world.pin_folder("scans", {"a": b"kept"})
    turns = count()

    def killed(kill_at: int) -> int | None:
        """The same amount to remove each time: four versions of a table, five contents, a pin that is taken back."""
        turn = next(turns)
        for value in (1, 2, 3, 4):
            world.commit("numbers", FIRST, values(turn, value))
        for n in range(5):
            world.objects.put_if_absent(f"nothing names {turn} {n}".encode())
        world.pin_folder("lost", {f"{turn}": b"lost"})
        (world.root / "datasets" / "lost.json").unlink()
        process = forks.Process(target=clean_until, args=(place, kill_at, tmp_path / "counted"))
        process.start()
        process.join(60)
        assert world.bytes_of(kept) == [b"kept"]
        assert world.lake.scan("numbers").collect()["value"].to_list() == [turn, 4]
        return process.exitcode

    assert killed(0) == 0
    first, last = json.loads((tmp_path / "counted").read_text())
    assert last > first + KILLS > KILLS
    for number in range(KILLS):
        assert killed(first - 2 + round(number * (last - first) * 0.9 / (KILLS - 1))) == -signal.SIGKILL
        finish(world)
        assert world.clean()[0] == {}
        assert [info.key for info in world.place.files.list("objects/condemned/")] == []


def finish(world: World) -> None:
    """The next call; a database lets go of a killed session's lock a little later."""
    until = time.monotonic() + 20
    while True:
        try:
            world.clean()
        except AlreadyRunning:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return


def test_a_deletion_on_a_versioned_bucket_leaves_no_version_behind(world: World) -> None:
    world.commit("numbers", FIRST, values(1))
    kept = world.pin_folder("scans", {"a": b"kept"})
    key = content_key(world.objects.put_if_absent(b"nothing names this").sha256)
    for _ in range(2):
        world.objects.put(key, b"nothing names this")
    hidden = content_key(world.objects.put_if_absent(b"deleted long ago").sha256)
    world.objects.delete(hidden)
    world.objects.put(content_key(kept.manifest.sha256), world.objects.get_content(kept.manifest.sha256))
    world.clean()
    left = [item.key for item in holdings(world.objects, "sha256/")]
    assert key not in left
    assert hidden not in left
    assert len(left) == len(set(left)) == 2  # the pack and the manifest, each once
    assert world.bytes_of(kept) == [b"kept"]


def test_writers_on_threads_beside_clean_ups_lose_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """They keep results whose chunks are old and were reached by nothing, while clean-ups go on one after the other."""
    if world.objects.s3 is not None:
        pytest.skip("what lies on S3 can't be made old; see the explorer, and the versions above")
    world.commit("numbers", FIRST, values(1))
    results = Results(world.place.database, world.objects)
    chunks = [pl.DataFrame({KEY: [f"{n}"], "value": [n]}) for n in range(25)]
    for chunk in chunks:
        results.put("model", chunk)
    world.place.database.execute("delete from results")
    for path in (world.root.parent / "lake" / "objects").rglob("*"):
        if path.is_file():
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 48 * 3600))

    def write(seed: int) -> None:
        for chunk in random.Random(seed).sample(chunks, len(chunks)):
            results.put("model", chunk)

    with ThreadPoolExecutor(3) as pool:
        writing = [pool.submit(write, seed) for seed in range(3)]
        rounds = 0
        while rounds == 0 or not all(future.done() for future in writing):
            world.clean(now=datetime.now(UTC))
            rounds += 1
        for future in writing:
            future.result()
    assert sorted(pl.concat(results.parts("model", [str(n) for n in range(25)]))["value"]) == list(range(25))


def test_a_shallow_clone_is_refused(world: World, tmp_path: Path) -> None:
    world.commit("numbers", FIRST, values(1))
    git(world.root, "commit", "-q", "--allow-empty", "-m", "second")
    subprocess.run(["git", "clone", "-q", "--depth=1", world.root.as_uri(), tmp_path / "clone"], check=True)
    with pytest.raises(DarkroomError, match="shallow clone"):
        world.clean(repositories=(Repository.around(tmp_path / "clone"),))
