"""The commands between the formats: a set goes to another tool's repository and comes back as a version of its own."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline_assets.commands.main import main
from resources.settings import CONNECTION
from tests.versioning.formats.pinned_folders import CONTENTS, committed, git, written


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a pinned folder, on folders as stores."""
    root = tmp_path / "project"
    written(root, {".gitignore": b"/home\n/scans\n/lake\n"} | {f"scans/{path}": data for path, data in CONTENTS.items()})
    git(root, "init", "-q")
    git(root, "config", "user.name", "Test")
    git(root, "config", "user.email", "test@example.org")
    committed(root)
    for name in CONNECTION:  # a command exports its settings: this undoes it
        monkeypatch.setenv(f"DARKROOM_{name.upper()}", "")
        monkeypatch.delenv(f"DARKROOM_{name.upper()}")
    monkeypatch.chdir(root)
    monkeypatch.setenv("DARKROOM_HOME", str(root / "home"))
    monkeypatch.setenv("DARKROOM_LAKE_URL", (root / "lake").as_uri())
    monkeypatch.setenv("DARKROOM_UPLOADS_URL", (root / "lake/uploads").as_uri())
    # No command here needs a server, so none is started.
    monkeypatch.setenv("DARKROOM_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    said("pin", "scans", "--folder", "scans")
    return root


def said(*words: str, status: int = 0) -> str:
    """What a command prints."""
    done = CliRunner().invoke(main, words)
    assert done.exit_code == status, done.output
    return done.output


@pytest.mark.parametrize(("kind", "extra"), [("git-lfs", ()), ("dvc", ("--remote", "remote"))])
def test_a_set_goes_and_comes_back_as_the_same(project: Path, kind: str, extra: tuple[str, ...]) -> None:
    target = project.parent / "theirs"
    assert "Wrote 7 files" in said("export", "scans", str(target), "--format", kind, *extra)
    committed(target)
    told = said("import", str(target), "--format", kind, "--folder", "scans", "--name", "back", "--allow-dirty")
    assert "Read 6 contents; 6 new" in told
    assert identity(project, "back") == identity(project, "scans")
    again = said("import", str(target), "--format", kind, "--folder", "scans", "--name", "back", "--allow-dirty")
    assert "Read 0 contents; 0 new" in again


def identity(project: Path, name: str) -> str:
    """The digest of a set's files."""
    text = (project / "datasets" / f"{name}.json").read_text()
    return next(line for line in text.splitlines() if '"digest"' in line)


@pytest.mark.parametrize(
    "words",
    [
        ("export", "scans", "t", "--format", "dvc", "--columns", "a"),
        ("export", "scans", "t", "--format", "parquet", "--remote", "r"),
        ("import", ".", "--format", "dvc"),
        ("import", ".", "--format", "dvc", "--name", "a", "--bytes-column", "b"),
        ("import", ".", "--format", "parquet", "--name", "a", "--remote", "r"),
    ],
)
def test_options_that_do_not_apply_are_refused(words: tuple[str, ...]) -> None:
    assert "Usage" in said(*words, status=2)


def test_what_is_refused_is_said_in_one_line(project: Path) -> None:
    told = said("import", str(project), "--format", "dvc", "--name", "a", "--allow-dirty", status=1)
    assert told.startswith("Error: ImportRefused: ")
    assert told.count("\n") == 1
