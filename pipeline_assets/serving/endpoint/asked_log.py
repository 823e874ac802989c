"""The log of what was asked and answered: JSON lines, kept on this machine until the lake has them.

Each line is written before its answer is sent, so that a killed process loses none. Now and then the lines become a segment
of the lake, `serving/{day}/{digest}.jsonl.gz`, named by its content: a segment that is put twice is one. What a killed
process has left is put by the next one.
"""

import fcntl
import gzip
import hashlib
import json
import os
import secrets
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from resources.errors import is_full

PREFIX = "serving/"
SEGMENT_S = 60.0
SEGMENT_BYTES = 4 * 2**20
MOST_BYTES = 2**30
"""Lines kept on this machine while the lake is away; what comes then, or on a full disk, is counted, not kept."""
ENDING = ".jsonl"
_encoded = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def is_sampled(ask_id: str, share: float) -> bool:
    """Whether this ask belongs to the logged share. ask_id: 16 random hexadecimal digits."""
    return int(ask_id, 16) < share * 2**64


def _is_written(file: IO[bytes], line: bytes) -> bool:
    """Whether a line was written whole; on a full disk nothing of it is left."""
    size = os.fstat(file.fileno()).st_size
    try:
        if file.write(line) == len(line):
            return True
        file.truncate(size)
    except OSError as error:
        if not is_full(error):
            raise
    return False


class AskedLog:
    """Lines of one process. put: stores an object under a key. Safe on threads."""

    def __init__(self, folder: Path, put: Callable[[str, bytes], object]) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder, self._put = folder, put
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._day, self.dropped, self.put_failures = "", 0, 0
        self._waiting_bytes = sum(path.stat().st_size for path in folder.glob(f"*{ENDING}"))

    def append(self, record: Mapping[str, Any], at: datetime) -> None:
        """Write one line; `at` decides its day. A line too many is dropped, and counted."""
        line = _encoded(record).encode() + b"\n"
        with self._lock:
            if self._waiting_bytes + len(line) > MOST_BYTES:
                self.dropped += 1
                return
            day = at.strftime("%Y-%m-%d")
            if self._file is None or day != self._day or self._file.tell() > SEGMENT_BYTES:
                self._close()
                self._file, self._day = self._opened(day), day
            if _is_written(self._file, line):
                self._waiting_bytes += len(line)
            else:
                self.dropped += 1

    def flush(self) -> int:
        """Put all lines into the lake, those of killed processes too. Returns the number of segments."""
        with self._lock:
            self._close()
        segments = 0
        for path in sorted(self._folder.glob(f"*{ENDING}")):
            segments += self._flush(path)
        return segments

    def _opened(self, day: str) -> IO[bytes]:
        """A new file that is locked: until it is closed, no other process takes it for a killed one's."""
        while True:
            path = self._folder / f"{day}-{secrets.token_hex(8)}{ENDING}"
            file = path.open("ab", buffering=0)
            fcntl.flock(file, fcntl.LOCK_EX)
            if path.exists():  # else it was taken for one before it was locked
                return file
            file.close()

    def _close(self) -> None:
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    def _flush(self, path: Path) -> bool:
        """Put one file of lines, and delete it; False if another process writes it, or has put it."""
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                data = file.read()
                whole = data[: data.rfind(b"\n") + 1]
                if whole:
                    name = hashlib.sha256(whole).hexdigest()[:32]
                    self._put(f"{PREFIX}{path.name[:10]}/{name}.jsonl.gz", gzip.compress(whole, mtime=0))
                path.unlink()
        except (BlockingIOError, FileNotFoundError):
            return False
        with self._lock:
            self._waiting_bytes -= len(data)
        return bool(whole)
