"""References in a real git repository: read from the work tree and from its past, written whole or not at all."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline_assets.errors import NotARepository, ReferenceUnreadable
from pipeline_assets.versioning.pin.reference import MAX_BYTES, Code, Manifest, Reference
from pipeline_assets.versioning.pin.repository import Repository


def git(root: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=root, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository with one commit."""
    git(tmp_path, "init", "--initial-branch", "main")
    git(tmp_path, "config", "user.name", "Ada")
    git(tmp_path, "config", "user.email", "ada@example.org")
    (tmp_path / "code.py").write_text("")
    commit(tmp_path)
    return Repository.around(tmp_path)


def commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--message", "more")


def made(name: str, files: int = 0) -> Reference:
    manifest = Manifest(sha256="0" * 64, size_bytes=1, digest="0" * 64, files=files, bytes=0)
    code = Code(commit=None, clean=False)
    return Reference(name=name, created_at=datetime(2026, 1, 1, tzinfo=UTC), created_by="Ada", code=code, manifest=manifest)


def test_a_reference_written_is_the_one_read(repository: Repository) -> None:
    path = repository.write(made("set.1"))
    assert path == repository.root / "datasets" / "set.1.json"
    assert repository.read("set.1") == made("set.1")
    assert repository.names() == ["set.1"]
    assert [found.name for found in path.parent.iterdir()] == ["set.1.json"]


def test_an_earlier_reference_is_read_by_commit_branch_and_tag(repository: Repository) -> None:
    repository.write(made("set", files=1))
    commit(repository.root)
    git(repository.root, "tag", "first")
    repository.write(made("set", files=2))
    commit(repository.root)
    for revision in ("HEAD~1", "first", "main~1"):
        assert repository.read(f"{revision}:set").manifest.files == 1
    assert repository.read("set").manifest.files == repository.read("main:set").manifest.files == 2


@pytest.mark.parametrize("name", ["nowhere:set", "HEAD:other", "--help:set", "../set", "a/b", "", "HEAD:../code"])
def test_what_is_not_there_or_no_name_is_said_so(repository: Repository, name: str) -> None:
    repository.write(made("set"))
    commit(repository.root)
    with pytest.raises(ReferenceUnreadable):
        repository.read(name)


def test_every_reference_of_every_branch_tag_and_stash_is_found_also_those_deleted_since(repository: Repository) -> None:
    repository.write(made("deleted"))
    commit(repository.root)
    (repository.folder / "deleted.json").unlink()
    commit(repository.root)
    git(repository.root, "switch", "--create", "side")
    repository.write(made("side"))
    commit(repository.root)
    git(repository.root, "switch", "main")
    repository.write(made("stashed"))
    git(repository.root, "stash", "--include-untracked")
    repository.write(made("fresh"))
    assert {found.name for found in repository.all_references()} == {"deleted", "side", "stashed", "fresh"}


def test_a_broken_reference_in_the_past_is_named_and_not_passed_over(repository: Repository) -> None:
    repository.folder.mkdir()
    (repository.folder / "broken.json").write_text("<<<<<<< HEAD")
    commit(repository.root)
    (repository.folder / "broken.json").unlink()
    commit(repository.root)
    with pytest.raises(ReferenceUnreadable, match="broken"):
        list(repository.all_references())


def test_the_code_is_clean_whatever_the_references_are(repository: Repository) -> None:
    repository.write(made("set"))
    assert repository.code.clean
    assert len(repository.code.commit or "") == 40
    (repository.root / "code.py").write_text("changed")
    assert not Repository(repository.root).code.clean
    assert repository.author == "Ada <ada@example.org>"


def test_a_repository_without_a_commit_has_no_clean_code(tmp_path: Path) -> None:
    git(tmp_path, "init")
    assert Repository.around(tmp_path).code == Code(commit=None, clean=False)


def test_outside_a_repository_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotARepository, match="git init"):
        Repository.around(tmp_path)


def test_a_huge_file_is_refused_without_being_read_whole(repository: Repository) -> None:
    repository.folder.mkdir()
    (repository.folder / "huge.json").write_bytes(b" " * (MAX_BYTES + 10))
    with pytest.raises(ReferenceUnreadable, match="has at most"):
        repository.read("huge")


def test_a_key_that_is_there_twice_and_a_newer_format_are_refused() -> None:
    text = made("set").dumps()
    with pytest.raises(ReferenceUnreadable, match="twice"):
        Reference.loads(text.replace('"name"', '"message": "x",\n  "name"'), "it")
    with pytest.raises(ReferenceUnreadable, match="newer Darkroom"):
        Reference.loads(text.replace('"darkroom": 1', '"darkroom": 3'), "it")
