"""Inspection in processes of their own, for files whose decoders could take more than such a file is worth.

Sound, video and pictures of the involved formats go to one of a few processes that live as long as the block that asked
for them: each has a limit of memory and of CPU time for each file, and no credentials in its environment. A process that
dies costs its file a row `too_costly` and nobody else anything. All other files are inspected here.
"""

import json
import queue
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path

from pipeline_assets.errors import InspectionUnavailable
from pipeline_assets.ingestion.media import sounds, videos
from pipeline_assets.ingestion.media.inspection import Inspection, inspect
from pipeline_assets.ingestion.media.media_types import sniff
from pipeline_assets.runtime.apart import bare_environment
from pipeline_assets.runtime.blobs import head_of, size_of
from pipeline_assets.runtime.cores import core_count
from pipeline_assets.runtime.decode_turns import turn_file
from resources.files import sha256_of

Inspect = Callable[[bytes | Path, str], Inspection]
"""From an upload's bytes, or the file that holds them, and its name to what it is, whatever the bytes are. Safe on threads.

Raises InspectionUnavailable if a process that is needed can't be started: no upload is judged by that.
"""

APART = frozenset(("image/avif", "image/heic", "image/jp2", "image/tiff")) | sounds.DECODED | videos.DEMUXERS.keys()
"""Media types that are inspected in a process apart: their decoders are told by the file what to allocate."""
MOST_PROCESSES = 4
READY = b"+"
"""What a process says once it can read files."""
SILENCE_S = 900.0
"""After which a process counts as hung, whatever its CPU time."""
_GRACE_S = 10.0


@contextmanager
def inspecting(max_processes: int | None = None) -> Iterator[Inspect]:
    """A function that inspects any file, for the duration of a block. Each process starts when first needed."""
    free: queue.LifoQueue[_Process] = queue.LifoQueue()
    processes = [_Process() for _ in range(max_processes or min(MOST_PROCESSES, core_count()))]
    for process in reversed(processes):
        free.put(process)

    def inspect_any(data: bytes | Path, name: str) -> Inspection:
        if sniff(head_of(data)) not in APART:
            return inspect(data, name)
        process = free.get()
        try:
            return process.inspect(data, name)
        finally:
            free.put(process)

    try:
        yield inspect_any
    finally:
        for process in processes:
            process.stop()


class _Process:
    """One process that inspects, if there is one at the moment. For one thread at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def inspect(self, data: bytes | Path, name: str) -> Inspection:
        """What the file is; a row `too_costly` if the process dies of it. One killed from outside is tried once more."""
        status = None
        for _ in range(2):
            try:
                return self._ask(data, name)
            except (OSError, EOFError):
                status = self.stop()
                if status != -signal.SIGKILL:
                    break
        return Inspection("too_costly", _reason(status), sha256=sha256_of(data), media_type=sniff(head_of(data)))

    def stop(self) -> int | None:
        """End it: it ends by itself once nobody listens, and is killed if it is still at work. Returns Popen's status."""
        if self._socket is not None:
            self._socket.close()
        if self._process is None:
            return None
        process, self._process = self._process, None
        try:
            return process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return None

    def _ask(self, data: bytes | Path, name: str) -> Inspection:
        connection = self._socket if self._process is not None and self._socket is not None else self._start()
        with data.open("rb") if isinstance(data, Path) else nullcontext() as file:
            head = json.dumps({"name": name, "bytes": None if file else size_of(data)}).encode()
            files = [file.fileno()] if file else []
            socket.send_fds(connection, [len(head).to_bytes(4, "big")], files)
            connection.sendall(head)
            if isinstance(data, bytes):
                connection.sendall(data)
            reply = json.loads(received(connection, int.from_bytes(received(connection, 4), "big")))
        taken_at = reply.pop("taken_at")
        return Inspection(**reply, taken_at=datetime.fromisoformat(taken_at) if taken_at else None)

    def _start(self) -> socket.socket:
        """Start the process, and wait until it can read files. -P: what lies in the current folder is not imported."""
        environment = bare_environment()
        try:
            self._socket, their_end = socket.socketpair()
            self._socket.settimeout(SILENCE_S)
            with their_end:
                files = their_end.fileno(), turn_file()
                self._process = subprocess.Popen(  # noqa: S603
                    [sys.executable, "-P", "-m", "pipeline_assets.ingestion.media.limited_process", *map(str, files)],
                    env=environment | {"MALLOC_ARENA_MAX": "2", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
                    pass_fds=files,
                    stdin=subprocess.DEVNULL,
                )
            received(self._socket, len(READY))
        except (OSError, EOFError) as error:
            status = self.stop()
            raise InspectionUnavailable(
                f"The process that inspects sound, video and some pictures can't be started ({error}; it ended with "
                f"{status}): look at what it said, and at the limits of memory, processes and descriptors. "
                "No upload was judged."
            ) from error
        return self._socket


def received(connection: socket.socket, count: int) -> bytes:
    """The next `count` bytes. Raises EOFError if the other side has gone."""
    data = bytearray()
    while len(data) < count:
        piece = connection.recv(min(count - len(data), 2**20))
        if not piece:
            raise EOFError("the other process has ended")
        data += piece
    return bytes(data)


def _reason(status: int | None) -> str:
    if status == -signal.SIGXCPU:
        return "reading it takes more CPU time than a file of its size needs"
    if status is None:
        return f"reading it gave no answer within {SILENCE_S:.0f} s"
    return f"the process that read it died ({signal.Signals(-status).name if status < 0 else status})"
