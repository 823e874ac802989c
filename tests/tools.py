"""Label Studio for tests: its environment is installed once and kept, and one server is shared by all tests of a run."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from resources.servers.label_studio import NAME
from resources.settings import Settings

ROOT = Path(__file__).parents[1]


def tools_folder() -> Path:
    """Where the environments of tools stay between runs of the tests: build/tools-of-tests, or DARKROOM_TEST_TOOLS."""
    return Path(os.environ.get("DARKROOM_TEST_TOOLS") or ROOT / "build" / "tools-of-tests").absolute()


def settings_of(home: Path, ca_bundle: str = "") -> Settings:
    """The settings of a home whose tools are those of the tests."""
    return Settings(home=home, tools_dir=tools_folder(), s3_ca_bundle=Path(ca_bundle) if ca_bundle else None)


def copy_of_label_studio(shared: Path, home: Path) -> None:
    """Give a home the data of another one's Label Studio, which may run: a new database takes a minute."""
    (home / NAME).mkdir(parents=True, mode=0o700)
    with (
        closing(sqlite3.connect(shared / NAME / "label_studio.sqlite3")) as source,
        closing(sqlite3.connect(home / NAME / "label_studio.sqlite3")) as target,
    ):
        source.backup(target)
    shutil.copy(shared / NAME / "account.json", home / NAME / "account.json")
