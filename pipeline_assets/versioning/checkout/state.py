"""The record of a checkout's folder: a state that is replaced atomically, and a journal of files written since."""

import hmac
import io
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from pipeline_assets.errors import CheckoutRefused
from pipeline_assets.versioning.pin.manifest import first_unsafe

STATE_FILE = "state"
"""Three parts: a seal in hex, a line of JSON, and the files as Parquet."""
OLD_STATE_FILE = "state.parquet"
"""The file of the first format, which had no seal."""
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
"""modified_ns, inode: null until the file is written. made_from: identity of the selected rows; null for a file of the
manifest. is_ours: false for a file that existed before with the same content."""
_STAMPS = {"path": pl.String, "modified_ns": pl.Int64, "inode": pl.Int64}
_FORMAT = 2
_BOOT = Path("/proc/sys/kernel/random/boot_id")

Stamp = tuple[str, int, int]
"""A written file: path, modified_ns, inode."""


@dataclass(frozen=True)
class State:
    """The recorded files of a folder. name: the data set, None for a new folder. files: paths may repeat.

    is_trusted: whether equal times and inodes mean that a file is unchanged.
    """

    name: str | None
    files: pl.DataFrame
    is_trusted: bool


class Record:
    """The state and the journal in a checkout's own folder.

    place: that folder, for messages; folder, parts: it and its `parts` as descriptors, -1 if missing. secret: of this
    HOME. A state without its seal is refused: it may come with a clone or an archive, to make a checkout remove files.
    """

    def __init__(self, place: Path, folder: int, parts: int, secret: bytes) -> None:
        self._place, self._folder, self._parts, self._secret = place, folder, parts, secret
        self._journal = ""

    def state(self) -> State:
        """The state that earlier checkouts recorded. Raises CheckoutRefused if it is unreadable or has another seal."""
        data = self._read(STATE_FILE)
        if data is None:
            if self._read(OLD_STATE_FILE) is None:
                return State(None, pl.DataFrame(schema=STATE), True)
            raise self._refused(OLD_STATE_FILE, "an earlier version of Darkroom or somebody else wrote it")
        seal, _, payload = data.partition(b"\n")
        if not hmac.compare_digest(seal, self._seal(payload)):
            raise self._refused(
                STATE_FILE, "it was written under another DARKROOM_HOME, changed, or put there by somebody else"
            )
        line, _, body = payload.partition(b"\n")
        try:
            header = json.loads(line)
            files = pl.read_parquet(io.BytesIO(body))
            if header["format"] != _FORMAT or files.schema != STATE:
                raise ValueError("it is of another version of Darkroom")
            if unsafe := first_unsafe(files["path"]):
                raise ValueError(f"it names the path {unsafe[0][:200]!r}: {unsafe[1]}")
            name, boot = str(header["name"]), header["boot"]
            self._journal = Path(str(header["journal"])).name
        except (PolarsError, ValueError, KeyError, TypeError) as error:
            raise self._refused(STATE_FILE, str(error)[:200]) from None
        written = self.written()
        stamped = files.join(written, on="path", how="left", suffix="_now", maintain_order="left").with_columns(
            modified_ns=pl.coalesce("modified_ns", "modified_ns_now"), inode=pl.coalesce("inode", "inode_now")
        )
        return State(name, stamped.select(STATE.names()), boot == _boot())

    def remember(self, name: str, files: pl.DataFrame) -> None:
        """Write the state atomically, and begin a new journal.

        The state names its journal: the journal of an earlier state lists files that were replaced since.
        """
        previous_journal = self._journal
        self._journal = f"{secrets.token_hex(8)}.ndjson"
        header = json.dumps({"format": _FORMAT, "name": name, "boot": _boot(), "journal": self._journal})
        body = io.BytesIO()
        files.select(STATE.names()).write_parquet(body, compression="lz4")
        payload = header.encode() + b"\n" + body.getvalue()
        descriptor = os.open(STATE_FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600, dir_fd=self._parts)
        with os.fdopen(descriptor, "wb") as file:
            file.write(self._seal(payload) + b"\n" + payload)
            file.flush()
            os.fsync(file.fileno())
        os.rename(STATE_FILE, STATE_FILE, src_dir_fd=self._parts, dst_dir_fd=self._folder)
        os.fsync(self._folder)
        if previous_journal:
            with suppress(FileNotFoundError):
                os.unlink(previous_journal, dir_fd=self._folder)

    @contextmanager
    def journal(self) -> Iterator[Callable[[Iterable[Stamp]], None]]:
        """A function that appends written files to the journal."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        with os.fdopen(os.open(self._journal, flags, 0o600, dir_fd=self._folder), "a", encoding="utf-8") as file:

            def note(stamps: Iterable[Stamp]) -> None:
                file.writelines(json.dumps(dict(zip(_STAMPS, stamp, strict=True))) + "\n" for stamp in stamps)
                file.flush()

            yield note

    def written(self) -> pl.DataFrame:
        """The files in the journal, with their stamps."""
        text = (self._read(self._journal) if self._journal else None) or b""
        complete_lines = text[: text.rfind(b"\n") + 1]  # a kill may truncate the last line
        if not complete_lines:
            return pl.DataFrame(schema=_STAMPS)
        return pl.read_ndjson(complete_lines, schema=_STAMPS).unique("path", keep="last")

    def _seal(self, payload: bytes) -> bytes:
        return hmac.digest(self._secret, payload, "sha256").hex().encode()

    def _read(self, name: str) -> bytes | None:
        """The bytes of a file in the folder, None if missing. Raises CheckoutRefused for a link or an unreadable file."""
        if self._folder < 0:
            return None
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self._folder)
            with os.fdopen(descriptor, "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._refused(name, str(error)) from None

    def _refused(self, name: str, reason: str) -> CheckoutRefused:
        return CheckoutRefused(
            f"{self._place / name} can't be used: {reason}. Nothing was written or removed. Remove the folder "
            f"{self._place.name} and check out again: files that have the right content stay, and count as yours."
        )


def _boot() -> str | None:
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return None  # Linux only: elsewhere times are always trusted
