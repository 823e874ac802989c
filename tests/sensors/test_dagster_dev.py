"""`dagster dev`, as Dagster's users start a project: with the servers up and down."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from ports import free_port

from sensors.schedules import NOT_STARTED

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
LATEST_S = 240.0
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def plain(home: Path) -> dict[str, str]:
    """The environment of a user who has set nothing but where state goes."""
    ours = ("DARKROOM_", "DAGSTER_", "AWS_", "PYTEST_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours) and name != "SSL_CERT_FILE"} | {
        "DARKROOM_HOME": str(home)
    }


@contextmanager
def dev(env: Mapping[str, str], log: Path) -> Iterator[None]:
    """`dagster dev -w workspace.yaml`, ended with Ctrl-C."""
    command = [str(BIN / "dagster"), "dev", "-w", "workspace.yaml", "-p", str(free_port())]
    with log.open("wb") as out, subprocess.Popen(command, cwd=ROOT, env=env, stdout=out, stderr=out) as started:
        try:
            yield
        finally:
            started.send_signal(signal.SIGINT)
            started.wait(120)


def wait_for(sentence: str, log: Path) -> str:
    """The log, once it has the sentence, or when it is too late."""
    latest = time.monotonic() + LATEST_S
    while sentence not in (said := log.read_text(errors="replace")) and time.monotonic() < latest:
        time.sleep(0.5)
    return said


def test_without_servers_dagster_dev_says_how_to_start_them(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with dev(plain(tmp_path / "home"), log):
        said = wait_for(NOT_STARTED, log)
    assert NOT_STARTED in said, said
    assert "Traceback" not in said, said


@pytest.mark.parametrize("has_dagster_home", [False, True])
def test_with_servers_dagster_dev_looks_for_uploads(tmp_path: Path, has_dagster_home: bool) -> None:
    env, log, sentence = plain(tmp_path / "home"), tmp_path / "log", "nothing new among 0 listed objects"
    subprocess.run([BIN / "darkroom", "up"], env=env, cwd=ROOT, check=True)
    try:
        lines = subprocess.run(
            [BIN / "darkroom", "env"], env=env, cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout
        told = dict(shlex.split(line)[1].split("=", 1) for line in lines.splitlines())
        with dev(env | told if has_dagster_home else env, log):
            said = wait_for(sentence, log)
    finally:
        subprocess.run([BIN / "darkroom", "down"], env=env, cwd=ROOT, check=True)
    assert sentence in said, said
    assert "Traceback" not in said, said
