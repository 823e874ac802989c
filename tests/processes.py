"""Processes of tests: none outlives its test, whatever becomes of that, and no pipe of one stays open."""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread


@contextmanager
def started(
    command: Sequence[str | Path], env: Mapping[str, str] | None = None, *, stdin: int | None = None, cwd: Path | None = None
) -> Iterator["subprocess.Popen[str]"]:
    """A process whose output and errors come as one text. It is killed at the end of the block if it still runs."""
    with subprocess.Popen(
        command, env=env, cwd=cwd, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def lines_of(process: "subprocess.Popen[str]") -> list[str]:
    """What it prints, as far as it has: the list grows until the process ends."""
    lines: list[str] = []
    assert process.stdout is not None
    Thread(target=lines.extend, args=(process.stdout,), daemon=True).start()
    return lines
