"""`darkroom ui` as a test meets it: started as a person starts it, read past Dagster, ended with Ctrl-C."""

import io
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import numpy as np
import psutil
from PIL import Image
from ports import free_port

from resources.database.postgres import Postgres
from resources.lake.lake import Lake
from resources.objects.store import ObjectStore

DARKROOM = Path(sys.executable).parent / "darkroom"
PHOTOS = 11
DAYS = 3


@dataclass(frozen=True)
class Ui:
    """A running `darkroom ui`. env: what `darkroom env` prints; log: what it and its children wrote."""

    url: str
    env: Mapping[str, str]
    log: Path

    @property
    def lake(self) -> Lake:
        """The tables."""
        return Lake(url="s3://lake", **self._s3)

    @property
    def uploads(self) -> ObjectStore:
        """The bucket into which users drop files."""
        return ObjectStore.open("s3://uploads", **self._s3)

    @property
    def lake_bucket(self) -> ObjectStore:
        """The bucket with tables, logs of events and logs of runs."""
        return ObjectStore.open("s3://lake", **self._s3)

    @property
    def postgres(self) -> Postgres:
        """The database with the ledger."""
        return Postgres(url=self.env["DARKROOM_DATABASE_URL"])

    @property
    def _s3(self) -> dict[str, str]:
        names = {"endpoint": "S3_ENDPOINT", "access_key": "S3_ACCESS_KEY", "secret_key": "S3_SECRET_KEY"}
        return {key: self.env[f"DARKROOM_{name}"] for key, name in names.items()}


def photo(seed: int) -> bytes:
    """A JPEG of 320x240 pixels of smooth noise; another for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize((320, 240), Image.Resampling.BICUBIC).save(file, "JPEG")
    return file.getvalue()


def until(found: Callable[[], bool], what: str, seconds: float = 240, every_s: float = 1) -> None:
    """Ask again until it is so. For what no page announces."""
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(every_s)


def command_line(process: psutil.Process) -> str:
    """The words of a process's command; none of one that has ended."""
    with suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())
    return ""


@contextmanager
def served(root: Path, photos: Path, days: int) -> Iterator[Ui]:
    """`darkroom import` of a folder into a fresh home below `root`, then `darkroom ui` on a free port for a block.

    Ctrl-C ends it. Raises AssertionError with the log if anything that it started is still there afterwards.
    """
    port = free_port()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DARKROOM_", "DAGSTER_"))}
    env = inherited | {"DARKROOM_HOME": str(root / "home"), "DARKROOM_UI_PORT": str(port)}
    _darkroom("import", str(photos), "--days", str(days), env=env)
    log = root / "ui.log"
    with log.open("wb") as output:
        serving = subprocess.Popen(
            [DARKROOM, "ui"],
            env=env,
            stdout=output,
            stderr=subprocess.STDOUT,
            # A process group of its own, as a terminal gives it: Ctrl-C is a signal to all of it. Where a shell has put
            # the tests in the background they ignore SIGINT, and their children would too.
            process_group=0,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    try:
        until(lambda: serving.poll() is not None or answers(port), "the UI answers")
        assert serving.poll() is None, f"`darkroom ui` ended by itself:\n{log.read_text()}"
        exports = dict(shlex.split(line)[1].split("=", 1) for line in _darkroom("env", env=env).splitlines())
        # As in a shell that was told so: this process uses the S3 server too.
        os.environ.update({name: exports[name] for name in ("SSL_CERT_FILE", "AWS_CA_BUNDLE")})
        yield Ui(f"http://127.0.0.1:{port}", exports, log)
    finally:
        left = _interrupt(serving)
    assert not left, f"Ctrl-C left these running: {left}\n{log.read_text()}"


def _darkroom(*arguments: str, env: Mapping[str, str]) -> str:
    done = subprocess.run([DARKROOM, *arguments], env=env, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, f"darkroom {' '.join(arguments)}: {done.stdout}\n{done.stderr}"
    return done.stdout


def answers(port: int) -> bool:
    """Whether a Dagster UI serves on a port of this machine."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/server_info")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _interrupt(serving: subprocess.Popen[bytes]) -> list[str]:
    """Ctrl-C, unless it has ended. Returns the commands that outlive it, which are killed then."""
    if serving.poll() is not None:
        return []
    family = psutil.Process(serving.pid).children(recursive=True)
    os.killpg(serving.pid, signal.SIGINT)
    try:
        serving.wait(timeout=90)
    except subprocess.TimeoutExpired:
        family.append(psutil.Process(serving.pid))
    _, alive = psutil.wait_procs(family, timeout=30)
    left = []
    for process in alive:
        try:
            left.append(command_line(process)[:200])
            process.kill()
        except psutil.NoSuchProcess:
            continue
    serving.wait(timeout=30)
    return left
