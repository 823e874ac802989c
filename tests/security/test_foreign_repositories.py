"""Git repositories of strangers: what lies in `.git` is data, whatever it asks git to run, to fetch or to read elsewhere."""

import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline_assets.errors import ExportRefused, ImportRefused
from pipeline_assets.versioning.formats.dvc import dvc
from pipeline_assets.versioning.formats.git_lfs import git_lfs
from pipeline_assets.versioning.pin.pins import NO_FILES
from resources.objects.store import ObjectStore
from tests.versioning.formats.pinned_folders import committed, git, opened, pinned_folder, read, written

CONTENTS = {"a": b"one", "b/c": b"two", "empty": b""}
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore.open((tmp_path / "objects").as_uri())


@pytest.fixture
def tree(tmp_path: Path, store: ObjectStore) -> Path:
    """A stranger's repository with a data set of git-lfs, unpacked from an archive."""
    git_lfs.export(pinned_folder(tmp_path / "root", store, CONTENTS), tmp_path / "tree")
    return committed(tmp_path / "tree")


@pytest.fixture
def program(tmp_path: Path) -> Iterator[str]:
    """A command of the stranger, which leaves a trace; a test fails if it ran."""
    ran = tmp_path / "ran"
    script = tmp_path / "script"
    script.write_text(f'#!/bin/sh\necho "$0 $@" >> {shlex.quote(str(ran))}\n')
    script.chmod(0o755)
    yield str(script)
    assert not ran.exists(), ran.read_text()


def lacking_a_blob(tree: Path) -> None:
    """Like a partial clone: git asks the remote for what is not there."""
    blob = git(tree, "rev-parse", "HEAD:set/a").strip()
    (tree / ".git/objects" / blob[:2] / blob[2:]).unlink()
    git(tree, "config", "core.repositoryFormatVersion", "1")
    git(tree, "config", "extensions.partialClone", "origin")
    git(tree, "config", "remote.origin.promisor", "true")
    git(tree, "config", "remote.origin.url", ".")


def uploadpack(tree: Path, program: str) -> None:
    lacking_a_blob(tree)
    git(tree, "config", "remote.origin.uploadpack", program)


def ssh(tree: Path, program: str) -> None:
    lacking_a_blob(tree)
    git(tree, "config", "remote.origin.url", "ssh://127.0.0.1/x")
    git(tree, "config", "core.sshCommand", program)


def ext(tree: Path, program: str) -> None:
    lacking_a_blob(tree)
    git(tree, "config", "remote.origin.url", f"ext::{program}")
    git(tree, "config", "protocol.ext.allow", "always")


def proxy(tree: Path, program: str) -> None:
    lacking_a_blob(tree)
    git(tree, "config", "remote.origin.url", "git://127.0.0.1/x")
    git(tree, "config", "core.gitProxy", program)


def remote_helper_by_name(tree: Path, program: str) -> None:
    lacking_a_blob(tree)
    git(tree, "config", "remote.origin.vcs", "ext")
    git(tree, "config", "remote.origin.url", program)
    git(tree, "config", "protocol.allow", "always")


def included(tree: Path, program: str) -> None:
    uploadpack(tree, program)
    (tree / ".git/config").rename(tree / ".git/more")
    (tree / ".git/config").write_text(
        "[core]\nrepositoryFormatVersion = 1\n[extensions]\npartialClone = origin\n[include]\npath = more\n"
    )


def of_the_work_tree(tree: Path, program: str) -> None:
    lacking_a_blob(tree)
    git(tree, "config", "extensions.worktreeConfig", "true")
    git(tree, "config", "--worktree", "remote.origin.uploadpack", program)


def hook(tree: Path, program: str) -> None:
    shutil.copy(program, tree / ".git/hooks/post-index-change")


def hooks_elsewhere(tree: Path, program: str) -> None:
    hook(tree, program)
    (tree / ".git/hooks").rename(tree / "hooks")
    git(tree, "config", "core.hooksPath", str(tree / "hooks"))


def fsmonitor(tree: Path, program: str) -> None:
    git(tree, "config", "core.fsmonitor", program)


def filters(tree: Path, program: str) -> None:
    git(tree, "config", "filter.lfs.clean", program)
    git(tree, "config", "filter.x.clean", program)
    git(tree, "config", "filter.x.smudge", program)
    git(tree, "config", "filter.y.process", program)
    written(tree, {".gitattributes": b"a filter=x\n* filter=y\n", "set/a": b"changed"})
    (tree / ".git/info/attributes").write_text("a filter=x\n")


def nested(tree: Path, program: str) -> None:
    """A submodule, with settings of its own."""
    inner = written(tree / "set/inner", {"x": b"1"})
    git(inner, "init", "-q")
    committed(inner)
    committed(tree)
    filters(inner, program)
    fsmonitor(inner, program)
    written(inner, {"a": b"changed"})


ATTACKS = [
    uploadpack,
    ssh,
    ext,
    proxy,
    remote_helper_by_name,
    included,
    of_the_work_tree,
    hook,
    hooks_elsewhere,
    fsmonitor,
    filters,
    nested,
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_import_runs_nothing_that_a_repository_names(
    tree: Path, store: ObjectStore, program: str, attack: Callable[[Path, str], None]
) -> None:
    attack(tree, program)
    try:
        found = git_lfs.import_(tree, store, NO_FILES, folder="set")
    except ImportRefused as error:
        assert "has HEAD only in part; set/a is missing" in str(error)
    else:
        assert read(opened(found, store)) == CONTENTS


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("kind", ["git-lfs", "dvc"])
def test_an_export_runs_nothing_that_the_repository_names_which_it_is_written_into(
    tmp_path: Path, tree: Path, store: ObjectStore, program: str, attack: Callable[[Path, str], None], kind: str
) -> None:
    attack(tree, program)
    pinned = pinned_folder(tmp_path / "root", store, {"a": b"new"})
    try:
        if kind == "dvc":
            dvc.export(pinned, tree, str(tmp_path / "remote"))
        else:
            git_lfs.export(pinned, tree)
    except ExportRefused as error:
        told = str(error)  # it is the stranger's data, which git has not as it is, or has as files
        assert "would be replaced" in told or "git tracks" in told or "another repository" in told


def test_a_repository_that_is_a_way_to_another_one_is_refused(tmp_path: Path, tree: Path, store: ObjectStore) -> None:
    """Else a stranger's folder would show, and publish, what lies in one of yours."""
    other = tmp_path / "other"
    other.mkdir()
    (other / ".git").write_text(f"gitdir: {tree / '.git'}\n")
    with pytest.raises(ImportRefused, match=r"leads to .*name that"):
        git_lfs.import_(other, store, NO_FILES)
    (other / ".git").unlink()
    (other / ".git").symlink_to(tree / ".git")
    with pytest.raises(ImportRefused, match=r"leads to .*name that"):
        git_lfs.import_(other, store, NO_FILES)


def test_objects_of_another_repository_are_not_read(tmp_path: Path, tree: Path, store: ObjectStore) -> None:
    other = tmp_path / "other"
    git(tmp_path, "init", "-q", str(other))
    (other / ".git/HEAD").write_text(git(tree, "rev-parse", "HEAD"))
    (other / ".git/objects/info").mkdir(exist_ok=True)
    (other / ".git/objects/info/alternates").write_text(f"{tree / '.git/objects'}\n")
    with pytest.raises(ImportRefused, match=r"git repack -a -d"):
        git_lfs.import_(other, store, NO_FILES)
    shutil.rmtree(other / ".git/objects")
    (other / ".git/objects").symlink_to(tree / ".git/objects")
    with pytest.raises(ImportRefused, match="is a link"):
        git_lfs.import_(other, store, NO_FILES)
    (other / ".git/objects").unlink()
    shutil.copytree(tree / ".git/objects", other / ".git/objects")
    (other / ".git/objects/zz").symlink_to("/dev/zero")
    with pytest.raises(ImportRefused, match="is a link"):
        git_lfs.import_(other, store, NO_FILES)


def test_a_linked_work_tree_and_a_submodule_of_ones_own_are_read_as_before(
    tmp_path: Path, tree: Path, store: ObjectStore
) -> None:
    git(tree, "worktree", "add", "-q", str(tmp_path / "linked"))
    assert read(opened(git_lfs.import_(tmp_path / "linked", store, NO_FILES, folder="set"), store)) == CONTENTS
    over = written(tmp_path / "over", {"x": b"1"})
    git(over, "init", "-q")
    git(over, "submodule", "--quiet", "add", str(tree), "inner")
    shutil.rmtree(over / ".git/modules/inner/lfs", ignore_errors=True)
    shutil.copytree(tree / ".git/lfs", over / ".git/modules/inner/lfs")
    assert read(opened(git_lfs.import_(over / "inner", store, NO_FILES, folder="set"), store)) == CONTENTS


@pytest.mark.slow
def test_a_tree_of_trees_without_end_is_refused(tmp_path: Path, store: ObjectStore, tree: Path) -> None:
    """Ten levels of ten long names for the one below: some KB that list as ten thousand million paths."""
    kind, name = "blob", git(tree, "rev-parse", "HEAD:set/a").strip()
    for _ in range(10):
        rows = "".join(f"{'100644' if kind == 'blob' else '040000'} {kind} {name}\t{n}{'x' * 200}\n" for n in range(10))
        (tmp_path / "rows").write_text(rows)
        with (tmp_path / "rows").open("rb") as file:
            name, kind = _made(tree, file.fileno()), "tree"
    bomb = git(tree, "commit-tree", "-m", "bomb", name).strip()
    with pytest.raises(ImportRefused, match="more than"):
        git_lfs.import_(tree, store, NO_FILES, revision=bomb)


def _made(tree: Path, rows: int) -> str:
    import subprocess

    return subprocess.run(["git", "mktree"], cwd=tree, stdin=rows, capture_output=True, text=True, check=True).stdout.strip()


def object_of(tree: Path, data: bytes) -> Path:
    import hashlib

    return tree / ".git/lfs/objects" / git_lfs.object_key(hashlib.sha256(data).hexdigest())


def test_an_object_that_is_a_link_out_or_a_pipe_is_not_read(tmp_path: Path, tree: Path, store: ObjectStore) -> None:
    """Also if the link leads to the bytes that are wanted: who knows a file's hash must not get the file."""
    place = object_of(tree, b"one")
    place.unlink()
    place.symlink_to(written(tmp_path, {"private": b"one"}) / "private")
    with pytest.raises(ImportRefused, match="set/a"):
        git_lfs.import_(tree, tmp_store(tmp_path), NO_FILES)
    place.unlink()
    os.mkfifo(place)
    with pytest.raises(ImportRefused, match="set/a"):
        git_lfs.import_(tree, tmp_store(tmp_path), NO_FILES)
    shutil.rmtree(place.parent)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / place.name).write_bytes(b"one")
    place.parent.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ImportRefused, match="set/a"):
        git_lfs.import_(tree, tmp_store(tmp_path), NO_FILES)


def tmp_store(tmp_path: Path) -> ObjectStore:
    """One that has nothing yet."""
    return ObjectStore.open((tmp_path / "other objects").as_uri())


@pytest.mark.parametrize("name", [".gitattributes", ".git/lfs"])
def test_an_export_writes_through_no_link(tmp_path: Path, tree: Path, store: ObjectStore, name: str) -> None:
    mine = tmp_path / "mine"
    shutil.rmtree(tree / ".git/lfs")
    if name == ".git/lfs":
        mine.mkdir()
    else:
        (tree / name).unlink()
        mine.write_bytes(b"")
    (tree / name).symlink_to(mine)
    with pytest.raises(ExportRefused, match=r"is a link|leads out"):
        git_lfs.export(pinned_folder(tmp_path / "root", store, CONTENTS), tree)
    assert mine.read_bytes() == b"" if mine.is_file() else list(mine.iterdir()) == []


def test_an_export_puts_objects_nowhere_else_than_into_the_repository(
    tmp_path: Path, tree: Path, store: ObjectStore
) -> None:
    git(tree, "config", "lfs.storage", str(tmp_path / "mine"))
    with pytest.raises(ExportRefused, match="leads out"):
        git_lfs.export(pinned_folder(tmp_path / "root", store, CONTENTS), tree)
    assert not (tmp_path / "mine").exists()


def test_a_submodule_in_the_place_of_the_set_is_not_thrown_away(tmp_path: Path, tree: Path, store: ObjectStore) -> None:
    inner = written(tree / "set/inner", {"x": b"1"})
    git(inner, "init", "-q")
    committed(inner)
    committed(tree)
    written(inner, {"y": b"my work"})
    with pytest.raises(ExportRefused, match="another repository"):
        git_lfs.export(pinned_folder(tmp_path / "root", store, CONTENTS), tree)
    assert (inner / "y").read_bytes() == b"my work"
