"""Supervises parts: starts them in order, restarts one that ends, and gives up if one does not stay up.

`resources.servers.ui` defines the parts. This module does not know Dagster, PostgreSQL or S3.
"""

import codecs
import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

import psutil

from resources.errors import ServiceFailed
from resources.servers.processes import LAUNCHER

TICK_S = 0.5
DELAYS_S = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Pauses before the restarts of a part that repeatedly lived less than LONG_S, in seconds. After them it is given up."""
LONG_S = 60.0
CHUNK_BYTES = 65_536
COLOUR, UNFINISHED_COLOUR = re.compile("\x1b\\[[0-9;]{0,16}m"), re.compile("\x1b(\\[[0-9;]{0,16})?$")
"""Escape sequences of colours: Dagster colours its log lines on any output."""


class Part(Protocol):
    """Something that runs until it is ended, and that may die earlier."""

    name: str

    def alive(self) -> bool:
        """Whether the part runs."""

    def start(self) -> None:
        """Start the part, and return when it is ready. Raises ServiceFailed if it does not start."""

    def ending(self) -> str:
        """How the part ended, for the log."""


class Program:
    """A command as a part, in its own session, so that only its owner gets Ctrl-C and ends the parts in order.

    On Linux it also gets SIGINT when its owner dies (more exactly the thread that starts it: the main thread). Its output
    and that of its children goes through the owner's `sys.stderr`, which makes control characters visible. ready: polled
    until it is true, if other parts depend on this one. descriptors: open files that it inherits.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        cwd: Path,
        env: dict[str, str],
        ready: Callable[[], bool] | None = None,
        descriptors: Sequence[int] = (),
    ) -> None:
        self.name = name
        self._command, self._cwd, self._env, self._ready = command, cwd, env, ready
        self._descriptors = descriptors
        self.process: psutil.Popen | None = None
        self._left: list[psutil.Process] = []

    def alive(self) -> bool:
        """Whether the command runs. When it has ended, processes that it left are recorded."""
        if self.process is None or self.process.poll() is None:
            return self.process is not None
        self._left += [process for process in _session(self.process.pid) if process not in self._left]
        return False

    def start(self) -> None:
        """Start the command. Raises ServiceFailed if it ends, or 60 s pass, before it is ready."""
        options = ["--cwd", str(self._cwd), "--parent", str(os.getpid()), "--death-signal", str(int(signal.SIGINT))]
        options += ["--keep-umask"]  # files that runs write, such as staged shards, may be for other users, too
        launcher = [sys.executable, "-I", "-S", str(LAUNCHER), *options, "--", *self._command]
        self.process = psutil.Popen(
            launcher,
            start_new_session=True,
            env=self._env,
            pass_fds=self._descriptors,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        threading.Thread(target=_pass_on, args=(self.process.stdout,), name=self.name, daemon=True).start()
        deadline = time.monotonic() + LONG_S
        while self._ready is not None and not self._ready():
            if not self.alive():
                raise ServiceFailed(f"{self.name} {self.ending()} while starting. What it wrote is above.")
            if time.monotonic() > deadline:
                raise ServiceFailed(f"{self.name} was not ready after {LONG_S:.0f} s. What it wrote is above.")
            time.sleep(0.05)

    def ending(self) -> str:
        """How the command ended."""
        code = self.process.returncode if self.process is not None else None
        return f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with status {code}"

    def left(self) -> list[psutil.Process]:
        """The processes that it left when it ended."""
        return self._left


def _pass_on(output: BinaryIO) -> None:
    """Write output to stderr as it arrives, without colours, until the last writer has closed it."""
    decoder, pending = codecs.getincrementaldecoder("utf-8")("backslashreplace"), ""
    with output:
        while chunk := os.read(output.fileno(), CHUNK_BYTES):
            text = COLOUR.sub("", pending + decoder.decode(chunk))
            cut = unfinished.start() if (unfinished := UNFINISHED_COLOUR.search(text)) else len(text)
            text, pending = text[:cut], text[cut:]
            with contextlib.suppress(OSError, ValueError):  # reading continues without a terminal
                sys.stderr.write(text)
                sys.stderr.flush()


def supervise(parts: Sequence[Part], tell: Callable[[str], None], delays_s: Sequence[float] = DELAYS_S) -> None:
    """Keep the parts running; a part starts only while all earlier ones run. Never returns.

    tell: called with a line for each end and each restart. delays_s: pauses before restarts, see DELAYS_S. Raises
    ServiceFailed for a part that ended soon after its start more often than there are pauses.
    """
    started = {part.name: time.monotonic() for part in parts if part.alive()}
    quick = {part.name: 0 for part in parts}
    while True:
        for part in parts:
            if part.alive():
                continue
            if part.name in started:
                quick[part.name] = quick[part.name] + 1 if time.monotonic() - started[part.name] < LONG_S else 1
                tell(f"{part.name} {part.ending()}.")
            if not _started(part, quick[part.name], delays_s, tell):
                started[part.name] = time.monotonic()
                break
            if part.name in started:
                tell(f"{part.name} runs again.")
            started[part.name] = time.monotonic()
        time.sleep(TICK_S)


def _started(part: Part, quick: int, delays_s: Sequence[float], tell: Callable[[str], None]) -> bool:
    """Start the part once, after a pause for its `quick` early ends so far. Returns whether it started."""
    if quick > len(delays_s):
        raise ServiceFailed(
            f"{part.name} did not stay up, {quick} times in a row, and is given up. What it wrote last is above or in the "
            "logs folder of DARKROOM_HOME: mend the cause, and start `darkroom ui` again. No data are lost."
        )
    if quick:
        time.sleep(delays_s[quick - 1])
    try:
        part.start()
    except ServiceFailed as failure:
        tell(str(failure))
        return False
    return True


def end(programs: Sequence[Program], patience_s: float = 20.0) -> None:
    """End programs with all their processes; they may use each other and the servers while they end."""
    processes = [process for program in programs if (process := program.process) is not None and process.is_running()]
    for process in processes:
        process.send_signal(signal.SIGINT)
    _, alive = psutil.wait_procs(processes, timeout=patience_s)
    # Listed only now: a run may have been launched meanwhile.
    family = [process for program in programs for process in program.left()]
    family += [member for process in processes for member in _session(process.pid)]
    for process in [*alive, *family]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs([*alive, *family], timeout=patience_s)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _session(leader: int) -> list[psutil.Process]:
    """The living processes of a session without its leader, including those whose parent has died."""
    members = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            if process.pid != leader and os.getsid(process.pid) == leader:
                members.append(process)
    return members
