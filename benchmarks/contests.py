"""Fair runs: contestants take turns, so that a busy machine tires all alike, and a process is measured with its children."""

import contextlib
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil

R = TypeVar("R")
SAMPLE_S = 0.2
MOST_TIME = 0.02
"""Of a core, for looking: to see all processes takes milliseconds, and these may be the measured one's."""


def take_turns(contestants: Mapping[str, Callable[[], R]], repeats: int) -> dict[str, list[R]]:
    """Every contestant's results, one a round; another one begins each round."""
    names = list(contestants)
    runs: dict[str, list[R]] = {name: [] for name in names}
    for turn in range(repeats):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            runs[name].append(contestants[name]())
    return runs


@dataclass(frozen=True)
class Used:
    """What a process and its descendants used. peak_mb: memory at the worst moment, pages that they share counted once."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    output: str


class CommandFailed(Exception):
    """A measured command ended with an error; the message has the end of what it said."""


def measured(
    command: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None, timeout_s: float = 900
) -> Used:
    """Run a command to its end and measure it and all its descendants; env is added to this process's.

    Sampled up to five times a second: of a descendant that lived shorter, the memory may be missed. One command at a time.
    Raises CommandFailed for another exit status than 0, or after timeout_s.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        before_s = _waited_for_s()
        started_at = time.perf_counter()
        process = subprocess.Popen(
            list(command), cwd=cwd, env={**os.environ, **(env or {})}, stdout=output, stderr=errors, text=True
        )
        family = _Family(process.pid)
        try:
            while process.poll() is None:
                looking_s = time.thread_time()
                family.sample()
                looking_s = time.thread_time() - looking_s
                if time.perf_counter() - started_at > timeout_s:
                    raise CommandFailed(f"{command[0]} ... took longer than {timeout_s:.0f} s")
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(SAMPLE_S, looking_s / MOST_TIME))
            wall_s = time.perf_counter() - started_at
        finally:
            family.end()
            process.wait()
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            raise CommandFailed(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{errors.read()[-3000:]}")
        # Neither sees all: the one misses daemons that nobody waits for, the other what came and went between two samples.
        cpu_s = max(_waited_for_s() - before_s, family.cpu_s)
        return Used(wall_s, cpu_s, family.peak_mb, output.read())


def _waited_for_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class _Family:
    """A process and all its descendants, also those whose parent has ended."""

    def __init__(self, pid: int) -> None:
        self.root = psutil.Process(pid)
        self.seen: dict[int, psutil.Process] = {pid: self.root}
        self.cpu_of: dict[int, float] = {}
        self.peak_mb = 0.0
        self._most_resident = 0

    @property
    def cpu_s(self) -> float:
        """CPU seconds of every member, as last seen."""
        return sum(self.cpu_of.values())

    def sample(self) -> None:
        """Look at every member once.

        What they share is asked only when they have more memory than ever: to answer, the kernel walks all pages, which
        takes a tenth of a core's time if it is asked five times a second of a process of 800 MB.
        """
        self._meet()
        resident = 0
        for pid, member in self.seen.items():
            with contextlib.suppress(psutil.Error):
                times = member.cpu_times()
                self.cpu_of[pid] = times.user + times.system
                resident += member.memory_info().rss
        if resident > 1.01 * self._most_resident:
            self._most_resident = resident
            self.peak_mb = max(self.peak_mb, sum(map(_memory, self.seen.values())) / 1e6)

    def _meet(self) -> None:
        """Children of members are members; parents come before children, as their numbers nearly always do."""
        for process in psutil.process_iter(["ppid"]):
            if process.pid not in self.seen and process.info["ppid"] in self.seen:
                self.seen[process.pid] = process

    def end(self) -> None:
        """Kill whoever is still there."""
        self._meet()
        for member in self.seen.values():
            with contextlib.suppress(psutil.Error):
                member.kill()


def _memory(process: psutil.Process) -> int:
    """Bytes of memory, shared pages divided among their users where the system tells (Linux)."""
    with contextlib.suppress(psutil.Error):
        try:
            return process.memory_full_info().pss
        except (AttributeError, psutil.AccessDenied):
            return process.memory_info().rss
    return 0
