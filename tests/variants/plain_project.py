"""A project without a server, and the command in it."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from click.testing import Result

from resources.lake.lake import Lake
from resources.objects.store import ObjectStore
from tests.in_process import invoke, outer_environment


class Project:
    """A folder and an SQLite file. policy: of its variants; settings: further ones that its commands find."""

    def __init__(self, root: Path, policy: Mapping[str, Any], settings: Mapping[str, str] | None = None) -> None:
        self.root = root
        self.policy = policy
        self.settings = settings or {}

    @property
    def environment(self) -> dict[str, str]:
        return outer_environment() | {
            "DARKROOM_HOME": str(self.root / ".darkroom"),
            "DARKROOM_DATABASE_URL": f"sqlite:///{self.root}/darkroom.db",
            "DARKROOM_UPLOADS_URL": (self.root / "uploads").as_uri(),
            "DARKROOM_LAKE_URL": (self.root / "lake").as_uri(),
            "DARKROOM_VARIANTS": json.dumps(self.policy),
            "COLUMNS": "160",
            **self.settings,
        }

    @property
    def lake(self) -> Lake:
        return Lake(url=(self.root / "lake").as_uri())

    @property
    def objects(self) -> ObjectStore:
        return ObjectStore.open((self.root / "lake" / "objects").as_uri())

    def command(self, *words: str, answer: str = "") -> "subprocess.CompletedProcess[str]":
        """Run `darkroom`. answer: what a person types; nothing more comes after it."""
        return self._run(str(Path(sys.executable).with_name("darkroom")), *words, answer=answer)

    def invoke(self, *words: str, answer: str = "") -> Result:
        """The same in this process."""
        return invoke(self.environment, *words, folder=self.root, answer=answer)

    def python(self, code: str, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run code that finds the words as its arguments."""
        return self._run(sys.executable, "-c", code, *words)

    def _run(self, *command: str, answer: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command, env=self.environment, cwd=self.root, input=answer, capture_output=True, text=True, timeout=500
        )
