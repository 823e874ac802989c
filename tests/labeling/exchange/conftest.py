"""A real Label Studio, shared by all tests of a run, and a database of each kind that knows what was asked there."""

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline_assets.labeling.exchange.projects import Tool, tool_of
from resources.database.contract import Database
from resources.servers.label_studio import Account


@pytest.fixture
def tool(label_studio: Account, database: Database, of_all_workers: Path) -> Iterator[Tool]:
    """Label Studio, for one test at a time: its SQLite answers 500 to one of two that write for longer than 5 s."""
    opened = tool_of(label_studio, database, lambda line: None)
    with (of_all_workers / "label-studio.lock").open("w") as turn, opened.client:
        fcntl.flock(turn, fcntl.LOCK_EX)
        yield opened
