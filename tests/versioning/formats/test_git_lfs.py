"""git-lfs: what is exported satisfies the real `git lfs`, and what the real one made is imported."""

import os
import shutil
from pathlib import Path

import pytest

from pipeline_assets.errors import ExportRefused, ImportRefused
from pipeline_assets.versioning.formats import landing
from pipeline_assets.versioning.formats.git_lfs import git_lfs
from pipeline_assets.versioning.formats.git_lfs.pointer import Pointer
from pipeline_assets.versioning.pin.pins import NO_FILES
from resources.objects.store import ObjectStore
from tests.versioning.formats.pinned_folders import (
    CONTENTS,
    committed,
    contents_of,
    git,
    opened,
    pinned_as,
    pinned_folder,
    read,
    written,
)

needs_git_lfs = pytest.mark.skipif(not shutil.which("git-lfs"), reason="git-lfs is not installed (apt install git-lfs)")


@pytest.fixture
def exported(tmp_path: Path, folder_store: ObjectStore) -> Path:
    """A work tree into which the set was exported."""
    git_lfs.export(pinned_folder(tmp_path / "root", folder_store, CONTENTS), tmp_path / "tree")
    return tmp_path / "tree"


@pytest.mark.slow
@needs_git_lfs
def test_a_clone_gets_the_bytes_by_git_lfs_pull_from_what_git_lfs_push_sent(
    tmp_path: Path, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing, "IN_MEMORY_BELOW", 1000)  # so that one content goes the way of large ones
    tree, bare = tmp_path / "tree", tmp_path / "bare.git"
    assert git_lfs.export(pinned_folder(tmp_path / "root", store, CONTENTS), tree) == len(CONTENTS)
    git(tree, "lfs", "install", "--local")
    committed(tree)
    assert git(tree, "lfs", "fsck") == "Git LFS fsck OK\n"
    assert git(tree, "status", "--porcelain") == ""
    git(tmp_path, "init", "-q", "--bare", str(bare))
    git(tree, "remote", "add", "origin", bare.as_uri())
    git(tree, "push", "-q", "origin", "HEAD")
    git(tree, "lfs", "push", "--all", "origin")
    git(tmp_path, "clone", "-q", "--no-checkout", bare.as_uri(), "clone")
    git(tmp_path / "clone", "lfs", "install", "--local", "--skip-smudge")
    git(tmp_path / "clone", "checkout", "-q")
    git(tmp_path / "clone", "lfs", "pull")
    assert contents_of(tmp_path / "clone" / "set") == CONTENTS


@needs_git_lfs
def test_what_git_lfs_committed_is_imported_at_any_revision(tmp_path: Path, store: ObjectStore) -> None:
    tree = written(tmp_path / "tree", {f"data/{path}": data for path, data in CONTENTS.items()} | {"code.py": b"print()"})
    git(tree, "init", "-q")
    git(tree, "lfs", "install", "--local")
    git(tree, "lfs", "track", "data/**")
    committed(tree)
    written(tree, {"data/a/one.txt": b"two\n", "no data": b""})
    committed(tree)
    found = git_lfs.import_(tree, store, NO_FILES, revision="HEAD~1", folder="data")
    assert read(opened(found, store)) == CONTENTS
    assert (found.read, found.new) == (len(set(CONTENTS.values())), len(set(CONTENTS.values())))
    later = git_lfs.import_(tree, store, found.files)
    assert (later.read, later.new) == (1, 1)
    assert later.files["path"].to_list() == sorted(f"data/{path}" for path in CONTENTS)


def test_an_export_is_imported_as_the_same_data_set(tmp_path: Path, store: ObjectStore) -> None:
    pinned = pinned_folder(tmp_path / "root", store, CONTENTS)
    git_lfs.export(pinned, tmp_path / "tree")
    found = git_lfs.import_(committed(tmp_path / "tree"), store, NO_FILES, folder="set")
    assert opened(found, store).reference.manifest.digest == pinned.reference.manifest.digest
    git(tmp_path, "clone", "-q", "--bare", "tree", "bare")
    again = git_lfs.import_(tmp_path / "bare", store, found.files, folder="set")
    assert again.files.equals(found.files)
    assert again.read == 0


def test_a_later_version_replaces_the_one_that_git_has(tmp_path: Path, folder_store: ObjectStore, exported: Path) -> None:
    git_lfs.export(pinned_folder(tmp_path / "root", folder_store, CONTENTS), exported)
    committed(exported)
    git_lfs.export(pinned_folder(tmp_path / "root", folder_store, {"a-b": b"other", "new": b"new"}), exported)
    assert sorted(contents_of(exported / "set")) == ["a-b", "new"]
    assert (exported / ".gitattributes").read_text().count("/set/**") == 1
    assert not list((exported / ".git/lfs/tmp").glob("darkroom-*"))


@needs_git_lfs
def test_files_that_git_lfs_checked_out_are_as_git_has_them_also_where_only_the_repository_knows_of_git_lfs(
    tmp_path: Path, folder_store: ObjectStore, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # no settings of the user's
    git(exported, "lfs", "install", "--local")
    committed(exported)
    git(exported, "lfs", "checkout")
    assert (exported / "set/a-b").read_bytes() == CONTENTS["a-b"]
    index = (exported / ".git/index").read_bytes()
    for path in (exported / "set").rglob("*"):
        os.utime(path)  # git must look into them
    git_lfs.export(pinned_folder(tmp_path / "root", folder_store, {"new": b"new"}), exported)
    assert list(contents_of(exported / "set")) == ["new"]
    assert (exported / ".git/index").read_bytes() == index


@pytest.mark.parametrize("is_committed_before", [False, True])
def test_a_file_that_git_has_not_as_it_is_is_never_replaced(
    tmp_path: Path, folder_store: ObjectStore, exported: Path, is_committed_before: bool
) -> None:
    if is_committed_before:
        committed(exported)
    written(exported, {"set/a-b": b"my work"})
    with pytest.raises(ExportRefused, match="a-b would be replaced"):
        git_lfs.export(pinned_folder(tmp_path / "root", folder_store, CONTENTS), exported)
    assert (exported / "set" / "a-b").read_bytes() == b"my work"


def test_an_ignored_file_is_not_replaced_either(tmp_path: Path, folder_store: ObjectStore, exported: Path) -> None:
    written(exported, {".gitignore": b"*.log", "set/mine.log": b"my work"})
    with pytest.raises(ExportRefused, match=r"mine\.log would be replaced"):
        git_lfs.export(pinned_folder(tmp_path / "root", folder_store, CONTENTS), exported)


def test_a_link_in_the_place_of_the_set_is_not_followed(tmp_path: Path, folder_store: ObjectStore) -> None:
    tree = tmp_path / "tree"
    git(tmp_path, "init", "-q", str(tree))
    (tree / "set").symlink_to(written(tmp_path / "elsewhere", {"a-b": b"mine"}))
    with pytest.raises(ExportRefused, match="is a link"):
        git_lfs.export(pinned_folder(tmp_path / "root", folder_store, CONTENTS), tree)
    assert contents_of(tmp_path / "elsewhere") == {"a-b": b"mine"}


def test_a_folder_that_is_no_work_tree_is_left_alone(tmp_path: Path, folder_store: ObjectStore) -> None:
    pinned = pinned_folder(tmp_path / "root", folder_store, CONTENTS)
    with pytest.raises(ExportRefused, match="not the top of a git work tree"):
        git_lfs.export(pinned, written(tmp_path / "mine", {"thesis.tex": b"..."}))
    assert contents_of(tmp_path / "mine") == {"thesis.tex": b"..."}


@pytest.mark.parametrize("path", ["a/.git/config", ".GIT/config", ".gitattributes"])
def test_a_name_that_git_takes_for_its_own_is_refused(tmp_path: Path, folder_store: ObjectStore, path: str) -> None:
    with pytest.raises(ExportRefused, match="reserved by git"):
        git_lfs.export(pinned_as(folder_store, path, b"x"), tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


def test_missing_objects_are_counted_and_nothing_is_imported(folder_store: ObjectStore, exported: Path) -> None:
    committed(exported)
    shutil.rmtree(exported / ".git/lfs/objects")
    with pytest.raises(ImportRefused, match=r"6 of 7 files are missing.*git lfs fetch origin HEAD"):
        git_lfs.import_(exported, folder_store, NO_FILES)


@pytest.mark.parametrize("path", ["a-b", "large.bin"])
def test_a_damaged_object_is_told_from_its_name(folder_store: ObjectStore, exported: Path, path: str) -> None:
    pointer = Pointer.loads((committed(exported) / "set" / path).read_bytes(), path)
    assert pointer
    place = exported / ".git/lfs/objects" / git_lfs.object_key(pointer.oid)
    place.write_bytes(b"X" + place.read_bytes()[1:])
    with pytest.raises(ImportRefused, match=f"set/{path} is damaged"):
        git_lfs.import_(exported, folder_store, NO_FILES)


def test_damage_in_our_store_stops_an_export(tmp_path: Path, folder_store: ObjectStore) -> None:
    pinned = pinned_folder(tmp_path / "root", folder_store, {"a": b"some", "b": b"thing"})
    folder_store.put(pinned.files["key"][0], b"someTHING")
    with pytest.raises(ExportRefused, match="b can't be exported"):
        git_lfs.export(pinned, tmp_path / "tree")
    assert not (tmp_path / "tree/set").exists()


def test_repositories_without_pointers_and_folders_without_git_are_refused(
    tmp_path: Path, folder_store: ObjectStore
) -> None:
    tree = written(tmp_path / "tree", {"code.py": b"print()", "empty": b""})
    with pytest.raises(ImportRefused, match="not the top of a git repository"):
        git_lfs.import_(tree, folder_store, NO_FILES)
    git(tree, "init", "-q")
    committed(tree)
    with pytest.raises(ImportRefused, match="names no files"):
        git_lfs.import_(tree, folder_store, NO_FILES)
    with pytest.raises(ImportRefused, match="has no nowhere"):
        git_lfs.import_(tree, folder_store, NO_FILES, revision="nowhere")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"oid sha256:zz\nsize 1\n",
        b"oid sha256:" + b"a" * 64 + b"\nsize -1\n",
        b"oid sha256:" + b"a" * 64 + b"\n",
        b"ext-0-x sha256:" + b"b" * 64 + b"\noid sha256:" + b"a" * 64 + b"\nsize 1\n",
    ],
)
def test_a_pointer_that_goes_on_otherwise_is_refused(text: bytes) -> None:
    with pytest.raises(ImportRefused, match="begins as a git-lfs pointer"):
        Pointer.loads(b"version https://git-lfs.github.com/spec/v1\n" + text, "it")
