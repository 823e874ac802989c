"""Launches, recognises and stops server processes; finds free ports. Each server's options are in `pgserver` and `weed`."""

import contextlib
import itertools
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from resources.errors import ServiceFailed

LAUNCHER = Path(__file__).with_name("launcher.py")
# Below Linux's ephemeral range (from 32768), so that no outgoing connection takes a stored port.
PORTS = range(20000, 22700)
GRPC_OFFSET = 10_000


@dataclass(frozen=True)
class ProcessId:
    """A process, identified by its pid and start time, since pids are reused."""

    pid: int
    started: float

    def process(self) -> psutil.Process | None:
        """The living process, or None if it has ended with all its threads. Reaps a child of this process."""
        try:
            process = psutil.Process(self.pid)
            if abs(started_s(self.pid) - self.started) > 0.05:
                return None
            # A killed process is a zombie while its last threads still have its ports.
            if process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1:
                process.wait(0)
                return None
        except (psutil.NoSuchProcess, psutil.TimeoutExpired):
            return None
        return process


def started_s(pid: int) -> float:
    """The start of a process: on Linux in seconds since boot, which does not change when the clock is set.

    Raises psutil.NoSuchProcess.
    """
    if sys.platform != "linux":
        return psutil.Process(pid).create_time()
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        raise psutil.NoSuchProcess(pid) from None
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


def launch(
    command: list[str],
    *,
    cwd: Path,
    log: Path,
    env: dict[str, str],
    launcher_options: tuple[str, ...] = (),
) -> ProcessId:
    """Start a server in its own session, with `env` as its whole environment. It outlives this process.

    Its output is appended to `log`.
    """
    options = ["--cwd", str(cwd), *launcher_options]
    arguments = [sys.executable, "-I", "-S", str(LAUNCHER), *options, "--", *command]
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawn(
        sys.executable,
        arguments,
        env,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), append, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
    )
    return ProcessId(pid, started_s(pid))


@dataclass(frozen=True)
class Ending:
    """The signal that asks a server to end, and the one that forces it to after `patience_s`."""

    polite: signal.Signals
    firm: signal.Signals
    patience_s: float


def stop(servers: list[tuple[ProcessId, Ending]]) -> None:
    """End all servers at the same time, and wait for them. Raises ServiceFailed if one does not end."""
    deadline = time.monotonic()
    for server, ending in servers:
        _send(server, ending.polite)
    for server, ending in servers:
        if not _gone(server, deadline + ending.patience_s - time.monotonic()):
            _send(server, ending.firm)
            if not _gone(server, 10.0):
                raise ServiceFailed(f"Process {server.pid} does not end; end it by hand: `kill -9 {server.pid}`.")


def _send(server: ProcessId, number: signal.Signals) -> None:
    process = server.process()
    if process is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _gone(server: ProcessId, patience_s: float) -> bool:
    """Whether a server ends in time. A zombie counts as ended."""
    until = time.monotonic() + patience_s
    while server.process() is not None:
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def wait_until(ready: Callable[[], bool], server: ProcessId, name: str, log: Path, timeout_s: float) -> None:
    """Poll `ready` until it is true. Raises ServiceFailed with the log's end if the server dies or time runs out."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if ready():
            return
        if server.process() is None:
            raise ServiceFailed(f"{name} ended while starting. The end of {log}:\n{log_tail(log)}")
        time.sleep(0.02)
    raise ServiceFailed(f"{name} was not ready after {timeout_s:.0f} s. The end of {log}:\n{log_tail(log)}")


def log_tail(log: Path, size: int = 3000) -> str:
    """The last `size` bytes of a log, or a note that there is none."""
    if not log.exists():
        return "(no log was written)"
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - size))
        return file.read().decode(errors="replace")


def rotate(log: Path, limit: int = 10 * 1024**2) -> None:
    """Rename a log of more than `limit` bytes; one older log is kept."""
    if log.exists() and log.stat().st_size > limit:
        log.replace(log.with_suffix(".1.log"))


def listening(server: ProcessId) -> set[int | str]:
    """The ports of 127.0.0.1 and paths of Unix sockets on which this process listens; empty once it has ended."""
    process = server.process()
    if process is None:
        return set()
    with contextlib.suppress(psutil.NoSuchProcess):
        connections = process.net_connections("all")
        ports = {c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN and c.laddr.ip == "127.0.0.1"}
        return ports | {c.laddr for c in connections if c.family == socket.AF_UNIX and c.laddr}
    return set()


def is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:port now."""
    with socket.socket() as probe:
        # Like servers: a port in TIME_WAIT counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(count: int, is_usable: Callable[[int], bool] = is_free) -> list[int]:
    """Distinct usable ports. Raises ServiceFailed if there are too few."""
    candidates = random.SystemRandom().sample(PORTS, len(PORTS))
    ports = list(itertools.islice(filter(is_usable, candidates), count))
    if len(ports) < count:
        raise ServiceFailed(f"No {count} free ports between {PORTS.start} and {PORTS.stop}; stop some servers.")
    return ports
