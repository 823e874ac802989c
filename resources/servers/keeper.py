"""Stops the embedded servers after the last of their users was killed: a small process that waits.

A user that ends normally stops them itself (`embedded`). Run as a script (`python -I -S keeper.py HOME`) it waits with the
standard library only, and once no user is left, replaces itself by a Python with the servers' modules.
"""

import fcntl
import os
import sys
from pathlib import Path


def wait_for_all(folder: Path) -> None:
    """Return when no file in the folder is locked by its owner, including files that are created meanwhile."""
    has_waited = True
    while has_waited:
        has_waited = False
        for path in folder.glob("[!.]*"):
            try:
                with path.open("rb") as file:
                    try:
                        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    except BlockingIOError:
                        has_waited = True
                        fcntl.flock(file, fcntl.LOCK_SH)
            except FileNotFoundError:
                continue


def main(home: Path, *, is_last: bool) -> None:
    """Wait, then stop the servers if no user has joined meanwhile; otherwise wait again."""
    if not is_last:
        wait_for_all(home / "users")
        os.execv(sys.executable, [sys.executable, "-m", "resources.servers.keeper", str(home), "--stop"])  # noqa: S606
    from resources.servers.embedded import Services

    if not Services(home).stop_unused():
        os.execv(sys.executable, [sys.executable, "-I", "-S", __file__, str(home)])  # noqa: S606


if __name__ == "__main__":
    main(Path(sys.argv[1]), is_last="--stop" in sys.argv)
