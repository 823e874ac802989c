"""Reads HDF5 in a process of its own: for some damaged files libhdf5 never returns, and neither Ctrl-C nor a thread ends it.

The process is started for the first file and kept for the next ones. It has a limit of CPU time for each part of a file, and
no credentials in its environment. It runs `apart_process.py`.
"""

import atexit
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from pipeline_assets.errors import ImportRefused
from pipeline_assets.runtime.apart import bare_environment
from pipeline_assets.versioning.formats import incoming
from pipeline_assets.versioning.formats.incoming import Batch, Reading, Rejected

CPU_S = 20
"""For each part of a file; a part of 32 MB takes a tenth of a second."""
END = {"end": True}


def batches(path: Path, options: Reading) -> Iterator[Batch | Rejected]:
    """The rows of one file, or a rejection: of the file, or of all its rows from one on.

    Raises ImportRefused if the process can't be started, or the requested column of bytes is missing.
    """
    rows = 0
    process = _ready()
    try:
        for item in process.items(path):
            if isinstance(item, pl.DataFrame):
                rows += item.height
                yield from incoming.batches_of(path.name, item, options)
            else:
                yield item
    except (EOFError, ConnectionError):
        reason = process.stop()
        yield Rejected(path.name, "unreadable", f"row {rows:,} and all after it: {reason}")
    except BaseException:
        process.stop()
        raise
    else:
        _idle.append(process)


def _ready() -> "_Process":
    """A process that waits for a file: one that has died meanwhile is no fault of the next file."""
    while _idle:
        process = _idle.pop()
        if process.is_alive():
            return process
        process.stop()
    return _Process()


class _Process:
    """One process that reads files, one after the other."""

    def __init__(self) -> None:
        environment = bare_environment()
        self._socket, their_end = socket.socketpair()
        with their_end:
            command = [sys.executable, "-P", "-m", f"{__package__}.apart_process", str(their_end.fileno()), str(CPU_S)]
            try:
                self._process = subprocess.Popen(  # noqa: S603
                    command, env=environment, pass_fds=[their_end.fileno()], stdin=subprocess.DEVNULL
                )
            except OSError as error:
                self._socket.close()
                raise ImportRefused(f"The process that reads HDF5 can't be started ({error}).") from error
        self._stream = self._socket.makefile("rwb")
        try:
            self._message()
        except (EOFError, ConnectionError) as error:
            raise ImportRefused(f"The process that reads HDF5 can't be started: {self.stop()}.") from error

    def items(self, path: Path) -> Iterator[pl.DataFrame | Rejected]:
        """Frames of a file, and what is rejected. Raises EOFError or ConnectionError if the process ends."""
        self._stream.write(json.dumps(str(path.absolute())).encode() + b"\n")
        self._stream.flush()
        while (head := self._message()) != END:
            yield Rejected(**head["rejected"]) if "rejected" in head else pl.read_ipc(self._bytes(head["bytes"]))

    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def stop(self) -> str:
        """End it. Returns why it had ended, as part of a sentence."""
        for close in (partial(self._socket.shutdown, socket.SHUT_RDWR), self._stream.close, self._socket.close):
            with suppress(OSError):  # what was not sent yet goes nowhere
                close()
        try:
            status = self._process.wait(1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        if status == -signal.SIGXCPU:
            return f"libhdf5 took more than {CPU_S} s of CPU time for a part of it"
        return f"the process that reads it died ({signal.Signals(-status).name if status < 0 else status})"

    def _message(self) -> dict[str, Any]:
        line = self._stream.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        head: dict[str, Any] = json.loads(line)
        return head

    def _bytes(self, count: int) -> bytes:
        data = self._stream.read(count)
        if len(data) != count:
            raise EOFError
        return data


_idle: list[_Process] = []
"""Processes that read nothing now."""


@atexit.register
def _stop_all() -> None:
    while _idle:
        _idle.pop().stop()
