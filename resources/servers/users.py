"""Users of the embedded servers: each process locks its own file, and the kernel releases the lock when it ends.

Callers of `join`, `present` and `leave` hold the lock of the servers' home (`embedded`), so that users are not counted while
another one joins or leaves.
"""

import contextlib
import fcntl
import json
import os
import secrets
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from resources.servers.processes import started_s

MARK = "DARKROOM_STARTED_BY"
"""Environment variable of all descendants of a user: it identifies the user."""


@dataclass(frozen=True)
class User:
    """A process that uses the servers, with its shortened command line."""

    pid: int
    command: str


class Users:
    """The users of the servers of one home, living or killed: one file for each in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def join(self) -> "Membership":
        """Add this process as a user; it may join several times."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        path = self._folder / f"{os.getpid()}-{secrets.token_hex(4)}"
        partial = path.with_name(f".{path.name}")
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(descriptor, json.dumps({"pid": os.getpid(), "command": _command(), "mark": mark()}).encode())
        partial.rename(path)  # locked before it is seen
        return Membership(path, descriptor)

    def present(self) -> list[User]:
        """The living users. Deletes the files of the others, and ends processes that they left, such as a run's worker."""
        living = []
        for path in self._files():
            record = json.loads(path.read_text())
            if _is_held(path):
                living.append(User(record["pid"], record["command"]))
            else:
                _end_left_by(record["mark"])
                path.unlink()
        return living

    def _files(self) -> list[Path]:
        return sorted(path for path in self._folder.glob("*") if path.name[0] != ".") if self._folder.is_dir() else []


@dataclass(frozen=True)
class Membership:
    """One use of the servers by this process."""

    path: Path
    descriptor: int

    def leave(self) -> None:
        """End this use of the servers."""
        self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


def mark() -> str:
    """The value of `MARK` for child processes of this process."""
    return f"{os.getpid()} {started_s(os.getpid())}"


def _command() -> str:
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200]


def _is_held(path: Path) -> bool:
    """Whether the owner of a user file is alive. The check takes a shared lock, the owner has an exclusive one."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _end_left_by(user: str) -> None:
    """End the processes that a user started and that outlived it."""
    processes = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == user:
                processes.append(process)
    for end in (psutil.Process.terminate, psutil.Process.kill):
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                end(process)
        _, processes = psutil.wait_procs(processes, timeout=10)
