"""A folder pinned: its files in the store once, got back byte for byte, and read again only where they changed."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from pipeline_assets.errors import PinRefused
from pipeline_assets.versioning.pin import folder as folders
from pipeline_assets.versioning.pin import manifest
from pipeline_assets.versioning.pin.contents import Pinned
from pipeline_assets.versioning.pin.pins import NO_FILES, Label, PinnedFolder, reference, store_folder
from pipeline_assets.versioning.pin.reference import Code
from resources.errors import CorruptObject
from resources.lake.lake import Lake
from resources.objects import packs
from resources.objects.store import ObjectStore

CODE = Code(commit="a" * 40, clean=True)
CONTENTS = {
    "empty": b"",
    "one": b"1",
    "same/as one": b"1",
    "below": b"b" * (packs.PACKED_BELOW - 1),
    "above": b"a" * packs.PACKED_BELOW,
    "deep/er/and/deeper": b"deep",
    "ümlaut/日本.txt": b"unicode",
}


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, object_store: Callable[[str], ObjectStore]) -> ObjectStore:
    """An empty store."""
    return object_store(request.param)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with the contents above."""
    root = tmp_path / "root"
    for path, data in CONTENTS.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


def age(root: Path) -> None:
    """Make all files older than the clock's doubt."""
    for path in root.rglob("*"):
        os.utime(path, ns=(10**18, 10**18))


def stored(root: Path, store: ObjectStore, before: pl.DataFrame = NO_FILES) -> PinnedFolder:
    return store_folder(root, store, before, root.parent / "memory.parquet")


def opened(files: pl.DataFrame, store: ObjectStore) -> Pinned:
    pinned = reference(Label("files", CODE, "tests"), files, store, {"objects": store.url})
    return Pinned(pinned, Lake(url="file:///nowhere"), {"objects": store})


def test_a_pinned_folder_is_got_back_byte_for_byte(root: Path, store: ObjectStore) -> None:
    pinned = opened(stored(root, store).files, store)
    assert {row["path"]: data for row, data in pinned.read(pinned.files)} == CONTENTS
    assert pinned.reference.manifest.files == len(CONTENTS)
    assert pinned.reference.manifest.bytes == sum(map(len, CONTENTS.values()))


def test_files_packed_into_many_objects_are_got_back_too(
    root: Path, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packs, "PACK_BYTES", 4)
    files = stored(root, store).files
    assert files["key"].n_unique() == 4
    pinned = opened(files, store)
    assert {row["path"]: data for row, data in pinned.read(pinned.files)} == CONTENTS


def test_what_is_pinned_again_unchanged_is_neither_read_nor_sent(root: Path, store: ObjectStore) -> None:
    age(root)
    folders.SETTLED_NS, settled = 0, folders.SETTLED_NS
    try:
        first = stored(root, store)
        (root / "one").write_bytes(b"another")
        second = stored(root, store, first.files)
    finally:
        folders.SETTLED_NS = settled
    assert (first.read, first.new) == (len(CONTENTS), len(CONTENTS))
    assert (second.read, second.new, second.new_bytes) == (1, 1, len(b"another"))
    pinned = opened(second.files, store)
    assert {row["path"]: data for row, data in pinned.read(pinned.files)} == {**CONTENTS, "one": b"another"}


@pytest.mark.parametrize("lost", [None, "pack", "object"])
def test_a_content_that_was_lost_from_the_store_is_sent_again_by_the_next_pin(
    root: Path, store: ObjectStore, lost: str | None
) -> None:
    age(root)
    folders.SETTLED_NS, settled = 0, folders.SETTLED_NS
    try:
        first = stored(root, store)
        is_packed = pl.col("offset").is_not_null() if lost == "pack" else pl.col("offset").is_null()
        keys = first.files.filter(is_packed)["key"].unique().to_list() if lost else []
        for key in keys:
            store.delete(key)
        second = stored(root, store, first.files)
    finally:
        folders.SETTLED_NS = settled
    assert (second.new > 0) == bool(keys)
    pinned = opened(second.files, store)
    assert {row["path"]: data for row, data in pinned.read(pinned.files)} == CONTENTS


def test_a_content_that_was_cut_in_the_store_is_said_by_the_next_pin(root: Path, store: ObjectStore) -> None:
    first = stored(root, store)
    [key] = first.files.filter(path="above")["key"]
    store.put(key, b"cut")
    with pytest.raises(CorruptObject, match="delete the damaged object and run again"):
        stored(root, store, first.files)
    store.delete(key)
    pinned = opened(stored(root, store, first.files).files, store)
    assert {row["path"]: data for row, data in pinned.read(pinned.files)} == CONTENTS


def test_a_file_written_just_now_is_read_again_since_its_clock_may_not_have_moved(root: Path, store: ObjectStore) -> None:
    stored(root, store)
    assert stored(root, store).read == len(CONTENTS)


def test_a_renamed_file_is_read_but_not_sent(root: Path, store: ObjectStore) -> None:
    first = stored(root, store)
    (root / "above").rename(root / "moved")
    second = stored(root, store, first.files)
    assert second.new == 0
    assert second.files.filter(path="moved")["key"].item() == first.files.filter(path="above")["key"].item()


def test_a_file_that_changes_while_it_is_read_is_refused(root: Path) -> None:
    found = folders.scan(root)
    (root / "one").write_bytes(b"longer than before")
    with pytest.raises(PinRefused, match=r"one changed while it was read"):
        list(folders.contents(root, found.files, packs.PACKED_BELOW))
    (root / "one").unlink()
    with pytest.raises(PinRefused, match=r"one can't be read"):
        list(folders.contents(root, found.files, packs.PACKED_BELOW))


def test_links_and_pipes_are_left_out_and_named_and_a_repository_inside_is_none_of_it(root: Path) -> None:
    (root / "link").symlink_to("/etc/passwd")
    (root / "linked folder").symlink_to("/etc")
    os.mkfifo(root / "pipe")
    (root / ".git").mkdir()
    (root / ".git" / "HEAD").write_text("ref")
    found = folders.scan(root)
    assert found.left_out == ("link", "linked folder", "pipe")
    assert found.files["path"].to_list() == sorted(CONTENTS, key=str.encode)


ODD_NAMES = [
    b"line\nfeed",
    b"not \xff utf-8",
    b"back\\slash",
    b"C:drive",
    b"a?b",
    b"a:b",
    b"CON",
    b"con.txt",
    b"nul .a.b",
    b"x.",
]
ODD_NAMES += [b"y ", b"Lpt1", "com\u00b9".encode(), b'"', b"<", b"*", b"|"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_name_that_no_other_system_could_hold_is_refused_before_anything_is_sent(
    root: Path, store: ObjectStore, name: bytes
) -> None:
    Path(os.fsdecode(bytes(root) + b"/" + name)).write_bytes(b"x")
    with pytest.raises(PinRefused, match="can't be part of a data set"):
        stored(root, store)
    assert list(store.list("")) == []


def test_names_that_only_look_like_those_that_windows_refuses_are_pinned(root: Path, store: ObjectStore) -> None:
    names = [
        "CONSOLE",
        "con_1.txt",
        "a.con",
        "COM10",
        "100%.jpg",
        "..a",
        ".hidden",
        "a b.c",
        "x'y",
        "a..b",
        "#&+,;=@[]{}~!$()^`",
    ]
    for name in names:
        (root / name).write_bytes(b"x")
    assert set(names) < set(stored(root, store).files["path"])


def test_a_set_that_was_pinned_with_a_name_that_is_refused_now_is_still_read() -> None:
    assert manifest.path_fault("a?b") is None
    assert manifest.name_fault("a/con/b") is not None


def test_a_damaged_pack_is_an_error_of_each_file_in_it_and_of_no_other(root: Path, store: ObjectStore) -> None:
    pinned = opened(stored(root, store).files, store)
    [pack] = pinned.files.filter(pl.col("offset").is_not_null())["key"].unique()
    store.put(pack, b"\0" * store.head(pack).size)
    found = {row["path"]: data for row, data in pinned.read(pinned.files)}
    assert found.pop("above") == CONTENTS["above"]
    assert found.pop("empty") == b""
    assert all(isinstance(error, CorruptObject) for error in found.values())


@pytest.mark.slow
def test_a_pin_killed_anywhere_leaves_nothing_half_and_the_next_one_ends_it(tmp_path: Path, root: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from resources.objects import packs
from pipeline_assets.versioning.pin import folder
from pipeline_assets.versioning.pin.pins import NO_FILES, store_folder
from resources.objects.store import ObjectStore
packs.PACK_BYTES = 4
left = int(os.environ["PUTS"])
plain = ObjectStore.put_if_absent
def put(self, data):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    return plain(self, data)
ObjectStore.put_if_absent = put
store = ObjectStore.open({(tmp_path / "killed").as_uri()!r})
store_folder(Path({str(root)!r}), store, NO_FILES, Path({str(tmp_path / "memory")!r}))
"""
    store = ObjectStore.open((tmp_path / "killed").as_uri())
    for puts in (0, 1, 3):
        ended = subprocess.run([sys.executable, "-c", script], env={**os.environ, "PUTS": str(puts)}, check=False)
        assert ended.returncode == -signal.SIGKILL
        assert not (tmp_path / "memory").exists()
    pinned = opened(store_folder(root, store, NO_FILES, tmp_path / "memory").files, store)
    assert {row["path"]: data for row, data in pinned.read(pinned.files)} == CONTENTS
