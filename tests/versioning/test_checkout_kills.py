"""Checkouts that are killed -9 at steps all through, that run out of disk, or that meet each other: nothing is lost.

A killed checkout runs in a process of its own. Python tells an audit hook of each file that is opened, linked, renamed and
removed; the process kills itself at the n-th, so that every step is met, and none twice.
"""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from data_sets import SECRET, content, pinned_folder, pinned_table, write

from pipeline_assets.versioning.checkout import checkout as checkouts
from pipeline_assets.versioning.checkout.content_cache import ContentCache
from pipeline_assets.versioning.checkout.placement import IN_MEMORY_BELOW
from pipeline_assets.versioning.checkout.selection import select
from pipeline_assets.versioning.checkout.target import OWN
from pipeline_assets.versioning.pin.contents import Pinned
from pipeline_assets.versioning.pin.reference import Reference
from resources.errors import NoSpace
from resources.lake.lake import Lake
from resources.objects.store import ObjectStore

checkout = partial(checkouts.checkout, secret=SECRET)
OLD = {
    "same.bin": b"same" * 500,
    "changed.bin": b"old",
    "gone/gone.bin": b"gone",
    **{f"{n}.bin": b"%d" % n for n in range(5)},
}
NEW = {**OLD, "changed.bin": b"new", "gone": b"a file now", "large.bin": b"0123456789abcdef" * (IN_MEMORY_BELOW // 16 + 5)}
del NEW["gone/gone.bin"]
POINTS = 6
STEPS = ("open", "os.link", "os.rename", "os.remove", "os.rmdir", "os.mkdir")

forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload(
    [
        "pytest",
        "pipeline_assets.versioning.checkout.checkout",
        "pipeline_assets.versioning.pin.pins",
        "pipeline_assets.versioning.pin.verification",
    ]
)


def opened(text: str, url: str, options: dict[str, str]) -> Pinned:
    """A data set in a process that knows where it lies and no more."""
    store = ObjectStore.open(url, **options)
    return Pinned(Reference.loads(text, "the test"), Lake(url="file:///no-lake"), {"objects": store, "uploads": store})


def work(
    text: str, url: str, options: dict[str, str], target: Path, cache: Path | None, kill_at: int, counted: Path
) -> None:
    """A checkout that kills its process at a step below the target or in the cache; the count of steps if it ends."""
    steps = 0
    places = (str(target), str(cache or target))

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal steps
        if event not in STEPS:
            return
        named = str(arguments[0])
        if event == "open" and named.startswith("/") and not named.startswith(places):
            return
        steps += 1
        if steps == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    pinned = opened(text, url, options)
    selection = select(pinned)
    sys.addaudithook(hook)
    checkout(pinned, target, selection, cache=ContentCache(cache) if cache else None, tell=lambda line: None)
    counted.write_text(json.dumps(steps))


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "with_cache"), [("folder", False), ("folder", True), ("s3", True)])
def test_a_checkout_killed_at_any_step_leaves_whole_files_alone_and_the_next_one_finishes(
    request: pytest.FixtureRequest,
    object_store: Callable[[str], ObjectStore],
    tmp_path: Path,
    backend: str,
    with_cache: bool,
) -> None:
    """An update: files are added, replaced and removed, beside one of someone else."""
    store = object_store(backend)
    options = request.getfixturevalue("s3_options") if backend == "s3" else {}
    old = pinned_folder(store, write(tmp_path / "old", OLD))
    new = pinned_folder(store, write(tmp_path / "new", NEW))
    counted = tmp_path / "counted"

    def run(target: Path, cache: Path | None, kill_at: int) -> int | None:
        checkout(old, target, select(old), cache=ContentCache(cache) if cache else None)
        write(target, {"mine.txt": b"mine"})
        arguments = (new.reference.dumps(), store.url, options, target, cache, kill_at, counted)
        process = forks.Process(target=work, args=arguments)
        process.start()
        process.join(60)
        return process.exitcode

    assert run(tmp_path / "whole", tmp_path / "whole-cache" if with_cache else None, 0) == 0
    total = json.loads(counted.read_text())
    assert total > POINTS
    for point in sorted({1 + round(number * (total - 2) / (POINTS - 1)) for number in range(POINTS)}):
        target, cache = tmp_path / f"target-{point}", tmp_path / f"cache-{point}" if with_cache else None
        assert run(target, cache, point) == -signal.SIGKILL
        left = content(target)
        assert left.pop("mine.txt") == b"mine"
        assert all(data in (OLD.get(path), NEW.get(path)) for path, data in left.items()), point
        there = sum(left.get(path) == data for path, data in NEW.items())
        report = checkout(new, target, select(new), cache=ContentCache(cache) if cache else None)
        assert content(target) == {**NEW, "mine.txt": b"mine"}, point
        assert (report.kept, report.written) == (there, len(NEW) - there), point
        assert report.damaged == 0
        assert list((target / OWN / "parts").iterdir()) == []
        assert checkout(new, target, select(new)).written == 0


@pytest.mark.slow
def test_two_checkouts_into_one_folder_at_once_lose_nothing(
    tmp_path: Path, object_store: Callable[[str], ObjectStore]
) -> None:
    store = object_store("folder")
    pinned = pinned_folder(store, write(tmp_path / "new", NEW))
    target = tmp_path / "target"
    arguments = (pinned.reference.dumps(), store.url, {}, target, None, 0, tmp_path / "counted")
    processes = [forks.Process(target=work, args=arguments) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert 0 in [process.exitcode for process in processes]
    assert content(target) == NEW


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of its own. Mounting takes rights that not every place gives."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={64 * 1024**2}", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no tmpfs can be mounted here: run as root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_fills_up_is_told_and_what_is_there_is_kept(
    tmp_path: Path, small_disk: Path, object_store: Callable[[str], ObjectStore]
) -> None:
    """The free space is enough when it is asked for, and taken by someone else while files are written."""
    files = {f"{n}.bin": bytes([n]) * 900_000 for n in range(20)}
    pinned = pinned_folder(object_store("folder"), write(tmp_path / "source", files))
    filler = small_disk / "of-someone-else"

    def fill(_line: object) -> None:
        free = os.statvfs(small_disk)
        subprocess.run(["fallocate", "-l", str(free.f_bavail * free.f_frsize - 8 * 1024**2), str(filler)], check=True)

    class Filling(ObjectStore):
        """The real store; with its first answer the disk fills."""

        def get_range(self, key: str, start: int, end: int, *, version_id: str | None = None) -> memoryview:
            if not filler.exists():
                fill(key)
            return super().get_range(key, start, end, version_id=version_id)

    filling = Filling.open(pinned.stores["objects"].url)
    target = small_disk / "target"
    with pytest.raises(NoSpace, match="is full"):
        checkout(Pinned(pinned.reference, pinned.lake, {"objects": filling}), target, select(pinned))
    there = content(target)
    assert 0 < len(there) < len(files)
    assert all(files[path] == data for path, data in there.items())
    with pytest.raises(NoSpace, match="free some"):
        checkout(pinned, target, select(pinned))
    filler.unlink()
    report = checkout(pinned, target, select(pinned))
    assert (report.kept, report.written) == (len(there), len(files) - len(there))
    assert content(target) == files


@pytest.mark.parametrize("where", [None, "likes > 0"])
def test_a_disk_that_is_too_full_for_rows_is_told(
    tmp_path: Path, small_disk: Path, object_store: Callable[[str], ObjectStore], where: str | None
) -> None:
    table = pinned_table(object_store("folder"), Lake(url=(tmp_path / "lake").as_uri()))
    free = os.statvfs(small_disk)
    filler = small_disk / "of-someone-else"
    subprocess.run(["fallocate", "-l", str(free.f_bavail * free.f_frsize), str(filler)], check=True)
    target = small_disk / "target"
    with pytest.raises(NoSpace):
        checkout(table, target, select(table, where), where=where)
    filler.unlink()
    assert checkout(table, target, select(table, where), where=where).rows == "rows-photos.parquet"
