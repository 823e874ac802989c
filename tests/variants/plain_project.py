"""A project without a server, and the command in it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resources.lake import Lake
from resources.object_store import ObjectStore


class Project:
    """A folder and an SQLite file. policy: of its variants; settings: further ones that its commands find."""

    def __init__(self, root: Path, policy: Mapping[str, Any], settings: Mapping[str, str] | None = None) -> None:
        self.root = root
        self.policy = policy
        self.settings = settings or {}

    @property
    def environment(self) -> dict[str, str]:
        others = {k: v for k, v in os.environ.items() if not k.startswith(("DARKROOM_", "AWS_", "DAGSTER"))}
        return others | {
            "DARKROOM_HOME": str(self.root / ".darkroom"),
            "DARKROOM_POSTGRES_URL": f"sqlite:///{self.root}/darkroom.db",
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

    def command(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return self._run(str(Path(sys.executable).with_name("darkroom")), *words)

    def python(self, code: str, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run code that finds the words as its arguments."""
        return self._run(sys.executable, "-c", code, *words)

    def _run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(command, env=self.environment, cwd=self.root, capture_output=True, text=True, timeout=500)
