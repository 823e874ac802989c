"""Every prompt of the command, answered with yes, with no, with Enter, and by the end of input: only yes does anything."""

from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from resources.lake.lake import Lake
from tests.variants.plain_project import Project
from tests.versioning.git_repository import repository

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

REFUSALS = pytest.mark.parametrize("answer", ["n\n", "\n", ""], ids=["no", "enter", "end-of-input"])


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """One upload of today in the bucket and in no table."""
    made = Project(tmp_path, {})
    folder = tmp_path / "uploads" / "uploads" / f"{datetime.now(UTC):%Y-%m-%d}" / "1"
    folder.mkdir(parents=True)
    (tmp_path / "lake").mkdir()
    (folder / "note.txt").write_text("no photo, and a row all the same")
    return made


def rows(lake: Lake) -> int:
    return lake.scan("raw_uploads").collect().height if lake.exists("raw_uploads") else 0


def test_refresh_runs_what_it_asked_for_after_yes(project: Project) -> None:
    done = project.command("refresh", "--asset", "raw_uploads", answer="y\n")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Done." in done.stdout
    assert rows(project.lake) == 1


@REFUSALS
def test_refresh_runs_nothing_without_yes(project: Project, answer: str) -> None:
    done = project.invoke("refresh", "--asset", "raw_uploads", answer=answer)
    assert done.exit_code == (0 if answer else 1), done.output
    assert ("Nothing was run." in done.stdout) == bool(answer)
    assert rows(project.lake) == 0


def doomed(project: Project) -> Path:
    """An object of the lake that nothing names."""
    data = b"nobody needs this"
    digest = sha256(data).hexdigest()
    key = f"objects/sha256/{digest[:2]}/{digest[2:]}"
    assert project.invoke("up").exit_code == 0
    repository(project.root)
    project.lake.store.put(key, data)
    return project.root / "lake" / key


def test_gc_deletes_after_yes(project: Project) -> None:
    orphan = doomed(project)
    done = project.invoke("gc", "--grace", "0", answer="y\n")
    assert done.exit_code == 0, done.output
    assert not orphan.exists()


@REFUSALS
def test_gc_deletes_nothing_without_yes(project: Project, answer: str) -> None:
    orphan = doomed(project)
    done = project.invoke("gc", "--grace", "0", answer=answer)
    assert done.exit_code == 1
    assert "Aborted" in done.stderr
    assert orphan.exists()


def test_down_deletes_the_state_after_yes(project: Project) -> None:
    assert project.invoke("up").exit_code == 0
    done = project.invoke("down", "--delete", answer="y\n")
    assert done.exit_code == 0, done.output
    assert not (project.root / ".darkroom").exists()


@REFUSALS
def test_down_deletes_nothing_without_yes(project: Project, answer: str) -> None:
    assert project.invoke("up").exit_code == 0
    done = project.invoke("down", "--delete", answer=answer)
    assert done.exit_code == (0 if answer else 1), done.output
    assert ("Nothing was deleted." in done.stdout) == bool(answer)
    assert (project.root / ".darkroom").exists()
