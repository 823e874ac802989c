"""A pull request that changes nothing but a reference's JSON, and thereby wants a commit of its own to be run."""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from pipeline_assets.errors import NotReproducible
from pipeline_assets.versioning.pin.reference import Code, Manifest, Reference, TableVersion
from pipeline_assets.versioning.pin.repository import Repository
from pipeline_assets.versioning.reproduce.reproduce import ENTRY, checked_commit, reproduce
from tests.versioning.git_repository import commit, git, repository

PROGRAM = """\
import json, os, pathlib, sys
pathlib.Path({canary!r}).write_text(json.dumps(dict(os.environ)))
"""


@dataclass(frozen=True)
class Attacked:
    """A repository; a commit of a stranger that it has, and no branch; what that commit's code writes if it is run."""

    repository: Repository
    stranger: str
    canary: Path

    def reference(self, hash_: str) -> Reference:
        """What the pull request's JSON names."""
        day = date(2026, 3, 1)
        return Reference(
            name="x",
            created_at=datetime(2026, 3, 2, tzinfo=UTC),
            created_by="Eve",
            code=Code(commit=hash_, clean=True),
            asset="training_table",
            tables={"training_table": TableVersion(version=1, first_day=day, last_day=day, rows=1, digest="a" * 32)},
            manifest=Manifest(sha256="0" * 64, size_bytes=1, digest="0" * 32, files=0, bytes=0),
        )


@pytest.fixture
def attacked(tmp_path: Path) -> Attacked:
    """As after `git fetch origin pull/7/head`: the stranger's commit is there, as FETCH_HEAD."""
    ours = repository(tmp_path / "ours")
    git(tmp_path, "clone", "--quiet", str(ours.root), "theirs")
    canary = tmp_path / "canary"
    stranger = with_program(tmp_path / "theirs", canary)
    git(ours.root, "fetch", "--quiet", "../theirs", "HEAD")
    return Attacked(ours, stranger, canary)


def with_program(root: Path, canary: Path) -> str:
    """A commit whose code leaves its environment in a file."""
    (root / ENTRY).parent.mkdir(parents=True)
    (root / ENTRY).parent.joinpath("__init__.py").touch()
    (root / ENTRY).parents[1].joinpath("__init__.py").touch()
    (root / ENTRY).write_text(PROGRAM.format(canary=str(canary)))
    return commit(root, "entry")


def test_a_commit_that_no_branch_of_ours_has_is_not_run(attacked: Attacked, tmp_path: Path) -> None:
    with pytest.raises(NotReproducible, match=f"--commit {attacked.stranger}"):
        reproduce(attacked.repository, attacked.reference(attacked.stranger), tmp_path)
    assert not attacked.canary.exists()


@pytest.mark.parametrize("ref", ["refs/heads/pr-7", "refs/tags/v9", "refs/pull/7/head", "refs/remotes/origin/pr-7"])
def test_a_branch_that_holds_what_others_sent_vouches_for_nothing(attacked: Attacked, tmp_path: Path, ref: str) -> None:
    git(attacked.repository.root, "update-ref", ref, attacked.stranger)
    with pytest.raises(NotReproducible, match="--commit"):
        reproduce(attacked.repository, attacked.reference(attacked.stranger), tmp_path)
    assert not attacked.canary.exists()


def test_what_a_replacement_makes_of_our_own_commit_is_not_run(attacked: Attacked, tmp_path: Path) -> None:
    """`refs/replace` shows another commit under a name that our branch has."""
    ours = with_program(attacked.repository.root, tmp_path / "ours ran")
    git(attacked.repository.root, "replace", ours, attacked.stranger)
    with pytest.raises(NotReproducible, match="failed to build"):
        reproduce(attacked.repository, attacked.reference(ours), tmp_path)
    assert (tmp_path / "ours ran").exists()
    assert not attacked.canary.exists()


def test_a_branch_whose_name_is_a_hash_is_no_commit(attacked: Attacked) -> None:
    name = "f" * 41
    git(attacked.repository.root, "update-ref", f"refs/heads/{name}", attacked.stranger)
    with pytest.raises(NotReproducible, match="not in this repository"):
        checked_commit(attacked.repository, attacked.reference(name), allowed=name)


def test_a_commit_is_run_if_its_whole_hash_is_named(attacked: Attacked, tmp_path: Path) -> None:
    reference = attacked.reference(attacked.stranger)
    with pytest.raises(NotReproducible, match="--commit"):
        reproduce(attacked.repository, reference, tmp_path, allowed=attacked.stranger[:12])
    with pytest.raises(NotReproducible, match="names the commit"):
        reproduce(attacked.repository, reference, tmp_path, allowed="0" * 40)
    with pytest.raises(NotReproducible, match="failed to build"):
        reproduce(attacked.repository, reference, tmp_path, allowed=attacked.stranger)
    assert attacked.canary.exists()


@pytest.mark.parametrize("vouching", ["HEAD", "refs/heads/main", "refs/remotes/origin/HEAD"])
def test_a_commit_of_the_branch_that_one_is_on_or_of_the_main_one_is_run(
    attacked: Attacked, tmp_path: Path, vouching: str
) -> None:
    root = attacked.repository.root
    git(root, "checkout", "--quiet", "--orphan", "side")
    commit(root, "unrelated")
    git(root, "update-ref", vouching, attacked.stranger)
    with pytest.raises(NotReproducible, match="failed to build"):
        reproduce(attacked.repository, attacked.reference(attacked.stranger), tmp_path)
    assert attacked.canary.exists()


def test_what_will_run_is_said_before_it_runs(attacked: Attacked, tmp_path: Path) -> None:
    said: list[str] = []

    def tell(line: str) -> None:
        assert not attacked.canary.exists()
        said.append(line)

    with pytest.raises(NotReproducible, match="failed to build"):
        reproduce(attacked.repository, attacked.reference(attacked.stranger), tmp_path, allowed=attacked.stranger, tell=tell)
    (told,) = said
    assert attacked.stranger in told
    assert "Ann" in told
    assert "entry" in told


def test_the_code_of_then_gets_the_settings_and_nothing_else_of_the_environment(
    attacked: Attacked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {
        "DARKROOM_LAKE_URL": "s3://lake",
        "DARKROOM_S3_ACCESS_KEY": "key",
        "DARKROOM_S3_SECRET_KEY": "secret",
        "DARKROOM_DATABASE_URL": "postgresql://darkroom@127.0.0.1/x",
        "OMP_NUM_THREADS": "1",
    }
    left = {
        "DARKROOM_ALERT_WEBHOOK": "https://hooks.example/token",
        "DARKROOM_DAGSTER_POSTGRES_URL": "postgresql://dagster@127.0.0.1/x",
        "AWS_SECRET_ACCESS_KEY": "of another account: Darkroom's S3 has a key of its own",
        "GITHUB_TOKEN": "token",
        "SSH_AUTH_SOCK": "/run/agent",
        "HF_TOKEN": "token",
        "PYTHONSTARTUP": "/x.py",
        "GIT_ASKPASS": "/x",
    }
    for name, value in (kept | left).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(NotReproducible, match="failed to build"):
        reproduce(attacked.repository, attacked.reference(attacked.stranger), tmp_path, allowed=attacked.stranger)
    seen = json.loads(attacked.canary.read_text())
    assert {name: seen.get(name) for name in kept} == kept
    assert seen["DARKROOM_POSTGRES_URL"] == kept["DARKROOM_DATABASE_URL"], "older code knows this name only"
    assert left.keys() & seen.keys() == set()


def test_where_s3_has_no_key_of_ours_the_aws_environment_is_handed_on(
    attacked: Attacked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Darkroom then signs by AWS's own chain of credentials, as everywhere."""
    monkeypatch.setenv("DARKROOM_S3_ACCESS_KEY", "")
    monkeypatch.setenv("DARKROOM_LAKE_URL", "s3://lake")
    monkeypatch.setenv("AWS_PROFILE", "team")
    with pytest.raises(NotReproducible, match="failed to build"):
        reproduce(attacked.repository, attacked.reference(attacked.stranger), tmp_path, allowed=attacked.stranger)
    assert json.loads(attacked.canary.read_text())["AWS_PROFILE"] == "team"
