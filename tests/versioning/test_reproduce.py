"""Building a pinned table again: what can't be, work trees that leave nothing behind, and the whole of it after a real run."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path

import pytest
from click.testing import Result
from git_repository import commit, git, repository

from pipeline_assets.errors import NotReproducible
from pipeline_assets.sample.photos import sample_photos
from pipeline_assets.versioning.pin.reference import Code, Manifest, Reference, TableVersion
from pipeline_assets.versioning.pin.repository import Repository
from pipeline_assets.versioning.reproduce.rebuilt import Day, Rebuilt
from pipeline_assets.versioning.reproduce.reproduce import ENTRY, Reproduced, checked_commit, reproduce, worktree
from tests.in_process import invoke, outer_environment

ROOT = Path(__file__).parents[2]
PHOTOS = 24
POLICY = '{"receipts": {"children": 0}}'
"""Rendering takes long, and is not what is tested."""


def pinned(code: Code, asset: str = "training_table") -> Reference:
    day = date(2026, 3, 1)
    return Reference(
        name="pop",
        created_at=datetime(2026, 3, 2, tzinfo=UTC),
        created_by="Ann",
        code=code,
        asset=asset,
        tables={asset: TableVersion(version=1, first_day=day, last_day=day, rows=1, digest="a" * 32)},
        manifest=Manifest(sha256="0" * 64, size_bytes=1, digest="0" * 32, files=0, bytes=0),
    )


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    return repository(tmp_path / "repository")


def with_entry(repo: Repository, program: str) -> str:
    """A commit whose rebuild entry is this program."""
    for folder in ("pipeline_assets", "pipeline_assets/versioning"):
        (repo.root / folder).mkdir()
        (repo.root / folder / "__init__.py").touch()
    (repo.root / ENTRY).write_text(program)
    return commit(repo.root, "entry")


def test_a_pin_without_a_commit_or_with_changes_on_top_names_no_code(repo: Repository) -> None:
    head = git(repo.root, "rev-parse", "HEAD")
    with pytest.raises(NotReproducible, match="outside a commit"):
        checked_commit(repo, pinned(Code(commit=None, clean=False)))
    with pytest.raises(NotReproducible, match="uncommitted changes"):
        checked_commit(repo, pinned(Code(commit=head, clean=False)))


def test_a_folder_was_not_computed(repo: Repository) -> None:
    head = git(repo.root, "rev-parse", "HEAD")
    folder = pinned(Code(commit=head, clean=True)).model_copy(update={"asset": None, "tables": {}})
    with pytest.raises(NotReproducible, match="no code computed"):
        checked_commit(repo, folder)


def test_a_commit_that_is_not_here_is_to_be_fetched(repo: Repository) -> None:
    with pytest.raises(NotReproducible, match="git fetch"):
        checked_commit(repo, pinned(Code(commit="0" * 40, clean=True)))


def test_a_commit_without_the_pipelines_code_can_build_nothing(repo: Repository) -> None:
    head = git(repo.root, "rev-parse", "HEAD")
    with pytest.raises(NotReproducible, match=r"has no pipeline_assets/versioning/rebuild\.py"):
        checked_commit(repo, pinned(Code(commit=head, clean=True)))


def test_a_work_tree_is_gone_after_its_block_also_after_an_error(repo: Repository, tmp_path: Path) -> None:
    (repo.root / ".git" / "hooks" / "post-checkout").write_text("#!/bin/sh\nexit 1\n")
    (repo.root / ".git" / "hooks" / "post-checkout").chmod(0o755)
    head = git(repo.root, "rev-parse", "HEAD")
    with pytest.raises(RuntimeError, match="inside"), worktree(repo, head, tmp_path / "code", keep=False) as code:
        assert code.is_dir()
        raise RuntimeError("inside")
    assert not (tmp_path / "code").exists()
    assert len(git(repo.root, "worktree", "list").splitlines()) == 1


@pytest.mark.parametrize(
    ("program", "told"),
    [
        pytest.param("raise ValueError('no such column')", "failed to build training_table .* no such column", id="fails"),
        pytest.param("print('nothing')", "failed to build", id="says nothing"),
        pytest.param(
            "import sys, pathlib\n"
            'pathlib.Path(sys.argv[2]).write_text(\'{"code": "/elsewhere", "digest": "", "pinned_digest": ""}\')',
            "imported /elsewhere instead",
            id="another code",
        ),
        pytest.param(
            'import sys, pathlib\npathlib.Path(sys.argv[2]).write_text(\'{"code": "", "refused": "not this one"}\')',
            "^not this one$",
            id="refuses",
        ),
    ],
)
def test_code_that_does_not_build_it_is_an_error_and_leaves_nothing(
    repo: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, told: str
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    reference = pinned(Code(commit=with_entry(repo, program), clean=True))
    with pytest.raises(NotReproducible, match=told):
        reproduce(repo, reference, tmp_path)
    assert list(temporary.iterdir()) == []
    assert len(git(repo.root, "worktree", "list").splitlines()) == 1


def test_only_equal_digests_of_all_three_are_a_reproduction() -> None:
    reference = pinned(Code(commit="0" * 40, clean=True))
    same, other = "a" * 32, "b" * 32

    def found(digest: str, in_lake: str) -> tuple[bool, bool]:
        made = Reproduced(reference, Rebuilt(code="", digest=digest, pinned_digest=in_lake), None)
        return made.is_same, made.is_intact

    assert found(same, same) == (True, True)
    assert found(other, same) == (False, True)
    assert found(other, other) == (False, False)


def test_a_result_of_newer_code_is_read_and_what_is_unknown_is_left() -> None:
    day = {"day": "2026-03-01", "rows": 1, "pinned_rows": 1, "digest": "a", "pinned_digest": "a", "seconds": 3}
    (read,) = Rebuilt.model_validate_json(json.dumps({"code": "", "days": [day], "packages": {}})).days
    assert read == Day(day=date(2026, 3, 1), rows=1, pinned_rows=1, digest="a", pinned_digest="a")
    assert read.is_same


@dataclass(frozen=True)
class Project:
    """A clone of this project's code as a repository of its own, and a home in which it has run."""

    root: Path
    home: Path

    def process(self, *words: str) -> None:
        """The command in a process of its own; it must succeed."""
        environment = {**outer_environment(), "DARKROOM_HOME": str(self.home), "DARKROOM_VARIANTS": POLICY}
        command = [str(Path(sys.executable).with_name("darkroom")), *words]
        done = subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def darkroom(self, *words: str) -> Result:
        """The command in this process, which is quicker. What it exports is taken back."""
        settings = {"DARKROOM_HOME": str(self.home), "DARKROOM_VARIANTS": POLICY, "COLUMNS": "200"}
        return invoke(outer_environment() | settings, *words, folder=self.root)

    def told(self, *words: str) -> str:
        """What a command prints; it must succeed."""
        done = self.darkroom(*words)
        assert done.exit_code == 0, done.output
        return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("project")
    made = Project(folder / "root", folder / "home")
    for name in ("pipeline_assets", "resources", "sensors"):
        shutil.copytree(ROOT / name, made.root / name, ignore=shutil.ignore_patterns("__pycache__"))
    (made.root / ".gitignore").write_text("__pycache__\n")
    repository(made.root)
    photos = folder / "photos"
    photos.mkdir()
    for photo in islice((photo for photo in sample_photos() if len(photo.data) < 60_000), PHOTOS):
        (photos / Path(photo.name).name).write_bytes(photo.data)
    made.process("up")
    try:
        made.process("run", "--photos", str(photos), "--days", "2")
        yield made
    finally:
        made.process("down")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_table_and_a_model_are_reproduced_at_their_commit_whatever_the_code_is_now(project: Project) -> None:
    project.told("pin", "pop")
    project.told("pin", "model", "--asset", "popularity_model")
    project.told("pin", "raw", "--asset", "raw_uploads")
    commit(project.root, "pins")
    join = project.root / "pipeline_assets" / "training" / "training_table.py"
    told = join.read_text()
    changed = told.replace('("title").str.len_chars()', '("title").str.len_chars().add(1)', 1)
    assert changed != told
    join.write_text(changed)
    after = commit(project.root, "another join")

    assert "Reproduced." in project.told("reproduce", "pop")
    assert "1 of 1 days are the same" in project.told("reproduce", "model")

    project.told("pin", "other")  # rows of the code before, said to be of the code now
    other = project.darkroom("reproduce", "other")
    assert other.exit_code == 1
    assert "title_length (" in other.stdout
    assert "NOT reproduced." in other.stdout

    raw = project.darkroom("reproduce", "raw")
    assert raw.exit_code == 1
    assert "raw_uploads is computed from external data" in raw.stderr

    assert len(git(project.root, "worktree", "list").splitlines()) == 1
    assert git(project.root, "status", "--porcelain", "--", "pipeline_assets") == ""
    assert git(project.root, "rev-parse", "HEAD") == after

    compared = json.loads(project.told("diff", "pop", "other", "--json"))
    assert compared["code"]["files"] == ["pipeline_assets/training/training_table.py"]
    assert compared["rows"]["changed"] == 0

    logged = json.loads(project.told("log", "pop", "--json"))
    assert [version["subject"] for version in logged["versions"]] == ["pins"]
    origins = {table["table"]: table for table in logged["lineage"]}
    assert logged["lineage"][0]["table"] == "training_table"
    assert "the uploads in s3://uploads" in origins["raw_uploads"]["outside"]
    assert all(table["runs"] for table in origins.values())
