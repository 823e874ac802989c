"""A Darkroom on SQLite and folders, with its commands in processes of their own: what an attack on this machine meets."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

OUTER = ("DARKROOM_", "DAGSTER_", "AWS_", "GIT_")
STRANGER = 54321
"""A user id that nobody has."""


@dataclass(frozen=True)
class OnFolders:
    """A repository of the user's, and where its Darkroom keeps things. settings: others than those of `environment`."""

    root: Path
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def repository(self) -> Path:
        """The working folder of every command."""
        return self.root / "repository"

    @property
    def home(self) -> Path:
        """DARKROOM_HOME, at its default."""
        return self.repository / ".darkroom"

    @property
    def environment(self) -> dict[str, str]:
        """What a shell of the user's exports."""
        outer = {name: value for name, value in os.environ.items() if not name.startswith(OUTER)}
        own = {
            "DARKROOM_DATABASE_URL": f"sqlite:///{self.root / 'database' / 'darkroom.db'}",
            "DARKROOM_LAKE_URL": (self.root / "lake").as_uri(),
            "DARKROOM_UPLOADS_URL": (self.root / "uploads").as_uri(),
        }
        return {**outer, **own, "COLUMNS": "400", **self.settings}

    def run(self, *words: str, before: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
        """`darkroom` with these words. before: a command that runs it, such as prlimit."""
        return subprocess.run(
            [*before, sys.executable, "-m", "pipeline_assets.cli", *words],
            cwd=self.repository,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def ran(self, *words: str) -> str:
        """What it prints, where it must succeed."""
        done = self.run(*words)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def git(self, *words: str) -> str:
        """What git prints in the repository."""
        author = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *author, *words], cwd=self.repository, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def merge(self, *paths: str) -> None:
        """Have git track these paths, as after a pull request with them."""
        self.git("add", "--force", "--", *paths)
        self.git("commit", "--quiet", "--message", "a contribution")


def on_folders(root: Path, **settings: str) -> OnFolders:
    """A fresh one, where nothing is yet but a repository and the folder of the database."""
    made = OnFolders(root, settings)
    made.repository.mkdir(parents=True)
    (root / "database").mkdir()
    made.git("init", "--quiet")
    return made


def stranger_reads(path: Path) -> bytes | None:
    """What another user of this machine reads at a path; None where it is not let. Only root can become another user."""
    code = (
        "import os, sys; os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]));"
        "sys.stdout.buffer.write(open(sys.argv[2], 'rb').read())"
    )
    command = [sys.executable, "-I", "-S", "-c", code, str(STRANGER), str(path)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        assert b"PermissionError" in done.stderr, done.stderr
        return None
    return done.stdout
