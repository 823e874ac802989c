"""What a checkout knows of its folder from one time to the next: a state that is replaced whole, and a journal since."""

import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from pipeline_assets.errors import CheckoutRefused

STATE_FILE = "state.parquet"
STATE = pl.Schema(
    {
        "path": pl.String,
        "sha256": pl.Binary,
        "size_bytes": pl.Int64,
        "modified_ns": pl.Int64,
        "inode": pl.Int64,
        "made_from": pl.String,
        "is_ours": pl.Boolean,
    }
)
"""modified_ns, inode: null until the file is written. made_from: of rows, what they were selected by; null for a file of the
manifest. is_ours: false for a file that was there before, with the same content."""
_STAMPS = {"path": pl.String, "modified_ns": pl.Int64, "inode": pl.Int64}
_FORMAT = 1
_BOOT = Path("/proc/sys/kernel/random/boot_id")

Stamp = tuple[str, int, int]
"""A file that was written: path, modified_ns, inode."""


@dataclass(frozen=True)
class State:
    """What Darkroom knows of a folder. name: the data set, None for a new folder. files: a path may be there twice.

    is_trusted: whether times and inodes tell that a file is as it was written.
    """

    name: str | None
    files: pl.DataFrame
    is_trusted: bool


class Record:
    """The state and the journal in the folder that a checkout keeps for itself. parts: where files are written first."""

    def __init__(self, folder: Path, parts: Path) -> None:
        self._folder = folder
        self._parts = parts
        self._journal = ""

    def state(self) -> State:
        """What earlier checkouts wrote here. Raises CheckoutRefused if their record can't be read."""
        path = self._folder / STATE_FILE
        if not path.exists():
            return State(None, pl.DataFrame(schema=STATE), True)
        try:
            header = json.loads(pl.read_parquet_metadata(path)["darkroom"])
            files = pl.read_parquet(path)
            if header["format"] != _FORMAT or files.schema != STATE:
                raise ValueError("it is of another version of Darkroom")
            name, boot = str(header["name"]), header["boot"]
            self._journal = Path(str(header["journal"])).name
        except (PolarsError, OSError, ValueError, KeyError, TypeError) as error:
            raise CheckoutRefused(
                f"{path} can't be read: {str(error)[:200]}. Remove the folder {self._folder.name} and check out again: "
                "files that have the right content stay, and count as yours from then on."
            ) from None
        written = self.written()
        known = files.join(written, on="path", how="left", suffix="_now", maintain_order="left").with_columns(
            modified_ns=pl.coalesce("modified_ns", "modified_ns_now"), inode=pl.coalesce("inode", "inode_now")
        )
        return State(name, known.select(STATE.names()), boot == _boot())

    def remember(self, name: str, files: pl.DataFrame) -> None:
        """Write the state down, whole or not at all, and begin a new journal.

        The state names its journal: one of an earlier state would tell of files that have been replaced since.
        """
        part, before = self._parts / STATE_FILE, self._journal
        self._journal = f"{secrets.token_hex(8)}.ndjson"
        header = json.dumps({"format": _FORMAT, "name": name, "boot": _boot(), "journal": self._journal})
        files.select(STATE.names()).write_parquet(part, compression="lz4", metadata={"darkroom": header})
        _sync(part)
        part.replace(self._folder / STATE_FILE)
        _sync(self._folder)
        if before:
            (self._folder / before).unlink(missing_ok=True)

    @contextmanager
    def journal(self) -> Iterator[Callable[[Iterable[Stamp]], None]]:
        """A function that writes down which files have been written."""
        with (self._folder / self._journal).open("a", encoding="utf-8") as file:

            def note(stamps: Iterable[Stamp]) -> None:
                file.writelines(json.dumps(dict(zip(_STAMPS, stamp, strict=True))) + "\n" for stamp in stamps)
                file.flush()

            yield note

    def written(self) -> pl.DataFrame:
        """The files that the journal tells of, with their stamps."""
        try:
            text = (self._folder / self._journal).read_bytes() if self._journal else b""
        except FileNotFoundError:
            text = b""
        whole = text[: text.rfind(b"\n") + 1]  # a line that a kill cut short has no end
        if not whole:
            return pl.DataFrame(schema=_STAMPS)
        return pl.read_ndjson(whole, schema=_STAMPS).unique("path", keep="last")


def _boot() -> str | None:
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return None  # other systems than Linux have none: times are trusted there


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
