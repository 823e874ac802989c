"""Runs git commands, in the user's own repository and in untrusted ones.

In the user's repository git runs with the user's settings, except for hooks, file system monitors and replaced commits.
`formats.foreign_git` reads untrusted repositories, and ignores all their settings.
"""

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

MAX_BYTES = 256 * 1024**2
"""Limit for the output of a command: about two million paths. Nested trees could print without end."""
_QUIET = ("core.hooksPath=/dev/null", "core.fsmonitor=false", "core.useReplaceRefs=false")


def run(
    folder: Path, *words: str, stdin: bytes = b"", env: Mapping[str, str] | None = None, max_bytes: int = MAX_BYTES
) -> bytes:
    """Run a git command in a folder, and return its output. env: its whole environment; None: that of this process.

    Raises CalledProcessError with what it printed in `output` and git's message as text in `stderr`, also if it prints more
    than max_bytes, and FileNotFoundError if git is not installed.
    """
    command = ["git", *(word for setting in _QUIET for word in ("-c", setting)), *words]
    with tempfile.TemporaryFile() as input_file, tempfile.TemporaryFile() as errors:
        input_file.write(stdin)
        input_file.seek(0)
        with subprocess.Popen(  # noqa: S603
            command, cwd=folder, stdin=input_file, stdout=subprocess.PIPE, stderr=errors, env=env
        ) as process:
            assert process.stdout  # noqa: S101  it is a pipe
            printed = process.stdout.read(max_bytes + 1)
            if len(printed) > max_bytes:
                process.kill()
        errors.seek(0)
        message = errors.read().decode("utf-8", "replace")
    if len(printed) > max_bytes:
        raise subprocess.CalledProcessError(1, command, printed, f"it names more than {max_bytes:,} bytes of files")
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, printed, message)
    return printed
