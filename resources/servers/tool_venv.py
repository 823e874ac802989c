"""A virtual environment for a tool whose packages conflict with ours, made on first use from a lock with hashes.

A folder `NAME-DIGEST` contains one environment; the digest is of the lock and of Python, so that a new lock gets a new
environment. It is complete once it has the file `installed`: an installation that was killed is started anew.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from resources.errors import NoSpace, ServiceFailed
from resources.home import make_private
from resources.servers.processes import log_tail

LOCKS = Path(__file__).parents[2] / "requirements"
INSTALLED = "installed"
TELL_EVERY_S = 10.0
# Modules are compiled when they are first imported, which most never are.
PIP = (
    *("-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"),
    *("--require-hashes", "--no-deps", "--no-compile"),
)
_PASSED = {"PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "TEMP", "TMP", "NETRC"}
_PASSED |= {"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}
_PASSED |= {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}
_PASSED_BEGINNINGS = ("LC_", "PIP_", "XDG_")
"""Variables that an installer gets, in capital or small letters: those of proxies and package indexes, and no others."""


def python_of(name: str, folder: Path, room_bytes: int, tell: Callable[[str], object]) -> Path:
    """The Python of a tool's environment, which is installed if it is missing or incomplete.

    name: of `requirements/NAME.lock`. folder: contains the environments; several homes may share it. room_bytes: free space
    that an installation needs. tell: called with a line of progress every few seconds. Processes that ask for the same
    environment wait for one installation. Raises NoSpace, and ServiceFailed with the end of the installer's log.
    """
    environment = folder / f"{name}-{_digest(name)}"
    python = environment / "bin" / "python"
    if (environment / INSTALLED).exists():
        return python
    make_private(folder)
    with _locked(folder / f"{name}.lock", lambda: tell(f"Another process installs {name}: waiting for it.")) as descriptor:
        if not (environment / INSTALLED).exists():
            if (free := shutil.disk_usage(folder).free) < room_bytes:
                raise NoSpace(
                    f"{name} needs {room_bytes / 1e9:.1f} GB in {folder}, and {free / 1e9:.1f} GB are free: make room, or "
                    "set DARKROOM_TOOLS_DIR to a folder on another disk."
                )
            _install(name, environment, descriptor, tell)
    return python


def is_installed(name: str, folder: Path) -> bool:
    """Whether a tool's environment is complete."""
    return (folder / f"{name}-{_digest(name)}" / INSTALLED).exists()


def _digest(name: str) -> str:
    python = f"{sys.version_info[:2]} {sys.platform}"
    return hashlib.sha256((LOCKS / f"{name}.lock").read_bytes() + python.encode()).hexdigest()[:12]


def _install(name: str, environment: Path, descriptor: int, tell: Callable[[str], object]) -> None:
    lock, python, log = LOCKS / f"{name}.lock", str(environment / "bin" / "python"), environment.with_suffix(".log")
    total = sum(" --hash" not in line and "==" in line for line in lock.read_text().splitlines())
    tell(f"Installing {name} with its {total} packages into {environment}: once, and takes some minutes.")
    log.unlink(missing_ok=True)
    # Without links an environment would need its Python to stay where it is; that is so for ours, too.
    steps: list[list[str]] = [
        [sys.executable, "-m", "venv", "--clear", str(environment)],
        [python, *PIP, "--requirement", str(LOCKS / "build.lock")],
        [python, *PIP, "--no-build-isolation", "--requirement", str(lock)],
    ]
    for step in steps:
        _run(step, log, descriptor, lambda: tell(_progress(name, log, total)))
    (environment / INSTALLED).touch()
    log.unlink(missing_ok=True)


def _run(command: Sequence[str], log: Path, descriptor: int, report: Callable[[], object]) -> None:
    """Run a step. It inherits the lock, so that after a kill of this process nobody starts while it still writes."""
    env = passed_on(os.environ)
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603
            command, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, pass_fds=[descriptor]
        )
        try:
            while process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(TELL_EVERY_S)
                    break
                report()
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if process.returncode:
        raise ServiceFailed(
            f"The installation ended with status {process.returncode}: see that this machine reaches a package index (pip's "
            f"own settings are used), then run again. The end of {log}:\n{log_tail(log)}"
        )


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that an installer gets."""
    return {
        name: value
        for name, value in environment.items()
        if name.upper() in _PASSED or name.upper().startswith(_PASSED_BEGINNINGS)
    }


def _progress(name: str, log: Path, total: int) -> str:
    text = log.read_text(errors="replace")
    fetched = text.count("\nCollecting ") + text.startswith("Collecting ")
    is_unpacking = "\nInstalling collected packages" in text.rpartition("Collecting ")[2]
    return f"{name}: unpacking" if is_unpacking else f"{name}: {min(fetched, total)} of {total} packages fetched"


@contextlib.contextmanager
def _locked(path: Path, on_wait: Callable[[], object]) -> Iterator[int]:
    """Hold an exclusive lock; the kernel releases it when its last holder ends. on_wait: called if another holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            while True:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                time.sleep(1.0)
        yield descriptor
    finally:
        os.close(descriptor)
