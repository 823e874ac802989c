"""Parts that must go on: started in order, watched, started again when one ends, given up when one can't stay up.

What the parts are is their owner's matter (`resources.ui`). Nothing here knows Dagster, PostgreSQL or S3.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import psutil

from resources.errors import ServiceFailed
from resources.processes import LAUNCHER

TICK_S = 0.5
DELAYS_S = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Pauses before a part is started again, for each time in a row that it lived less than LONG_S. Then it is given up."""
LONG_S = 60.0


class Part(Protocol):
    """Something that runs until it is ended, and that may die before."""

    name: str

    def alive(self) -> bool:
        """Whether it runs."""

    def start(self) -> None:
        """Start it and return when it serves. Raises ServiceFailed if it does not."""

    def ending(self) -> str:
        """How it ended, for the log."""


class Program:
    """A command as a part, in a session of its own, so that Ctrl-C reaches its owner alone, which ends it in order.

    On Linux it also gets SIGINT when its owner dies (the thread that starts it counts: the main thread). Its output is the
    owner's. ready: asked until it holds, where something else waits for it.
    """

    def __init__(
        self, name: str, command: Sequence[str], cwd: Path, env: dict[str, str], ready: Callable[[], bool] | None = None
    ) -> None:
        self.name = name
        self._command, self._cwd, self._env, self._ready = command, cwd, env, ready
        self.process: psutil.Popen | None = None
        self._left: list[psutil.Process] = []

    def alive(self) -> bool:
        """Whether it runs; what it leaves behind when it ends is noted."""
        if self.process is None or self.process.poll() is None:
            return self.process is not None
        self._left += [process for process in _session(self.process.pid) if process not in self._left]
        return False

    def start(self) -> None:
        """Start it. Raises ServiceFailed if it ends, or 60 s go by, before it is ready."""
        options = ["--cwd", str(self._cwd), "--parent", str(os.getpid()), "--death-signal", str(int(signal.SIGINT))]
        options += ["--keep-umask"]  # what runs write, such as staged shards, may be for others too
        launcher = [sys.executable, "-I", "-S", str(LAUNCHER), *options, "--", *self._command]
        self.process = psutil.Popen(launcher, start_new_session=True, env=self._env)
        deadline = time.monotonic() + LONG_S
        while self._ready is not None and not self._ready():
            if not self.alive():
                raise ServiceFailed(f"{self.name} {self.ending()} while starting. What it wrote is above.")
            if time.monotonic() > deadline:
                raise ServiceFailed(f"{self.name} was not ready after {LONG_S:.0f} s. What it wrote is above.")
            time.sleep(0.05)

    def ending(self) -> str:
        """How it ended."""
        code = self.process.returncode if self.process is not None else None
        return f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with status {code}"

    def family(self) -> list[psutil.Process]:
        """All that it started, in this life and those before: also what outlived it."""
        return self._left + (_session(self.process.pid) if self.process is not None and self.process.is_running() else [])


def supervise(parts: Sequence[Part], tell: Callable[[str], None], delays_s: Sequence[float] = DELAYS_S) -> None:
    """Keep the parts up for ever; a later part is started only while those before it run.

    tell: gets a line for each end and each new start. delays_s: pauses before new starts, see DELAYS_S. Raises
    ServiceFailed for a part that did not stay up once more than there are pauses.
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
    """Whether the part serves after one attempt, made after the pause that its `quick` ends so far ask for."""
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
    """End programs with all that they started; they may use each other and the servers while they end."""
    family = [process for program in programs for process in program.family()]
    processes = [program.process for program in programs if program.process is not None and program.process.is_running()]
    for process in processes:
        process.send_signal(signal.SIGINT)
    _, alive = psutil.wait_procs(processes, timeout=patience_s)
    for process in [*alive, *family]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs([*processes, *family], timeout=patience_s)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _session(leader: int) -> list[psutil.Process]:
    """The living processes of a session but its leader. Those whose parent has died are still in it."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            if process.pid != leader and os.getsid(process.pid) == leader:
                found.append(process)
    return found
