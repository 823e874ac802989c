"""What processes that read foreign files by C libraries have in common."""

import os

PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


def bare_environment() -> dict[str, str]:
    """The environment of such a process: what Python needs to start, and no credentials."""
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ}
