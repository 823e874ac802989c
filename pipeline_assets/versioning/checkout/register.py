"""A register of the folders into which versions were checked out: HOME/checkouts.jsonl, a line for each.

Whoever looks for data, or removes them, knows from it where copies lie. A folder that is not there stays in it: it may be
on a disk that is away, or be made in a moment. What another HOME registers is not known to this one.
"""

import fcntl
import io
import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TypedDict

import polars as pl
from polars.exceptions import PolarsError

from pipeline_assets.versioning.checkout.state import STATE_FILE
from pipeline_assets.versioning.checkout.target import OWN
from resources import files as whole_files

REGISTER, LOCK = "checkouts.jsonl", "checkouts.lock"


class Entry(TypedDict):
    """One checkout. folder: absolute; name: of the data set; identity: of the version; at: of the newest checkout, ISO."""

    folder: str
    name: str
    identity: str
    at: str


def enter(home: Path, folder: Path, name: str, identity: str, at: datetime) -> None:
    """Enter a checkout before its first file is written. An earlier one of the folder is replaced."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    own: Entry = {"folder": str(folder.resolve()), "name": name, "identity": identity, "at": at.isoformat()}
    descriptor = os.open(home / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor):
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        others = [entry for entry in _entries(home) if entry["folder"] != own["folder"]]
        text = "".join(json.dumps(entry) + "\n" for entry in (*others, own))
        whole_files.write(home / REGISTER, text, mode=0o600, is_synced=True)


def read(home: Path) -> list[Entry]:
    """The checkouts whose folders are there."""
    return [entry for entry in _entries(home) if Path(entry["folder"]).is_dir()]


def _entries(home: Path) -> list[Entry]:
    try:
        text = (home / REGISTER).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines() if line]


def files(folder: Path) -> Iterator[tuple[str, str]]:
    """Path and sha256 in hex of each file that checkouts recorded in a folder; none if its record can't be read."""
    try:
        payload = (folder / OWN / STATE_FILE).read_bytes().split(b"\n", 2)[2]
        recorded = pl.read_parquet(io.BytesIO(payload), columns=["path", "sha256"])
    except (OSError, IndexError, PolarsError):
        return
    for path, sha256 in recorded.iter_rows():
        yield path, sha256.hex()
