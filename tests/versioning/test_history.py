"""A data set's history in git: who, when, what, and what each version changed."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from git_repository import commit, git, repository

from pipeline_assets.errors import ReferenceUnreadable
from pipeline_assets.versioning.pin.history import changes, history
from pipeline_assets.versioning.pin.reference import Code, Manifest, Reference, TableVersion
from pipeline_assets.versioning.pin.repository import Repository


def made(rows: int = 3, digest: str = "0", message: str = "", **upstream: str) -> Reference:
    def table(count: int, of: str) -> TableVersion:
        day = date(2026, 3, 1)
        return TableVersion(version=1, first_day=day, last_day=day, rows=count, digest=of * 32)

    return Reference(
        name="pop",
        message=message,
        created_at=datetime(2026, 3, 2, tzinfo=UTC),
        created_by="Ann",
        code=Code(commit="a" * 40, clean=True),
        asset="pictures",
        tables={"pictures": table(rows, digest), **{name: table(1, of) for name, of in upstream.items()}},
        manifest=Manifest(sha256="0" * 64, size_bytes=1, digest="0" * 32, files=1, bytes=10**6),
    )


def write(of: Repository, reference: Reference, message: str) -> str:
    of.write(reference)
    return commit(of.root, message)


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    return repository(tmp_path / "repository")


def test_versions_are_told_newest_first_with_what_each_changed(repo: Repository) -> None:
    first = write(repo, made(3, "0"), "first pin")
    commit(repo.root, "something else")
    second = write(repo, made(5, "1", "more photos"), "second pin")
    found = history(repo, "pop")
    assert [version.commit for version in found.versions] == [second, first]
    assert [version.changes for version in found.versions] == [["rows +2"], []]
    assert (found.versions[0].author, found.versions[0].subject) == ("Ann <ann@example.org>", "second pin")
    assert not found.is_cut


def test_what_is_not_committed_is_shown_as_such(repo: Repository) -> None:
    write(repo, made(3), "first pin")
    repo.write(made(4, "1"))
    newest, _ = history(repo, "pop").versions
    assert (newest.commit, newest.changes) == (None, ["rows +1"])


def test_a_reference_that_was_never_committed_has_a_history_of_one(repo: Repository) -> None:
    repo.write(made())
    assert [version.commit for version in history(repo, "pop").versions] == [None]


def test_a_repository_without_a_commit_has_what_the_work_tree_has(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    Repository(tmp_path).write(made())
    assert [version.commit for version in history(Repository(tmp_path), "pop").versions] == [None]


def test_a_version_that_is_broken_or_was_removed_does_not_hide_the_others(repo: Repository) -> None:
    write(repo, made(), "pin")
    repo.path("pop").write_text("{")
    commit(repo.root, "break")
    repo.path("pop").unlink()
    commit(repo.root, "remove")
    write(repo, made(4, "1"), "again")
    again, removed, broken, first = history(repo, "pop").versions
    assert again.reference is not None
    assert first.reference is not None
    assert removed.fault == "removed"
    assert "not a reference" in broken.fault


def test_a_detached_head_and_another_revision_have_their_own_history(repo: Repository) -> None:
    first = write(repo, made(3), "first")
    write(repo, made(4, "1"), "second")
    assert [version.subject for version in history(repo, f"{first}:pop").versions] == ["first"]
    git(repo.root, "checkout", "--quiet", first)
    assert [version.subject for version in history(repo, "pop").versions] == ["first"]


def test_a_shallow_clone_says_that_older_versions_may_be_missing(repo: Repository, tmp_path: Path) -> None:
    write(repo, made(3), "first")
    write(repo, made(4, "1"), "second")
    git(tmp_path, "clone", "--quiet", "--depth=1", repo.root.as_uri(), "clone")
    found = history(Repository(tmp_path / "clone"), "pop")
    assert found.is_cut
    assert [version.subject for version in found.versions] == ["second"]


@pytest.mark.parametrize(
    ("name", "told"), [("nope", "No commit of HEAD"), ("nope:pop", "git knows no nope"), ("-x:pop", "is no commit")]
)
def test_a_name_that_nothing_has_is_an_error(repo: Repository, name: str, told: str) -> None:
    write(repo, made(), "pin")
    with pytest.raises(ReferenceUnreadable, match=told):
        history(repo, name)


def test_changes_name_what_moved_and_not_what_did_not() -> None:
    before = made(3, "0", uploads="1", logs="2")
    assert changes(before, made(3, "0", "another message", uploads="1", logs="2")) == ["nothing but the label"]
    assert changes(before, made(3, "1", uploads="1", logs="3")) == ["rows", "inputs logs"]
    code = before.model_copy(update={"code": Code(commit="b" * 40, clean=True), "models": {"classifier": "other"}})
    assert changes(before, code) == ["code", "models"]


def test_looking_at_the_history_changes_nothing(repo: Repository) -> None:
    write(repo, made(), "pin")
    repo.write(made(4, "1"))
    before = git(repo.root, "status", "--porcelain")
    history(repo, "pop")
    assert git(repo.root, "status", "--porcelain") == before
