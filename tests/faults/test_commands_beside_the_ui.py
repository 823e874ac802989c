"""`darkroom ui` beside commands that begin before it and end while it runs; killed itself, and stopped by `darkroom down`."""

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest
from served_ui import DARKROOM, Ui, command_line, photo, served, until

from resources.servers.embedded import Services

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
A_COMMAND = """
import sys
from resources.servers.services import running
from resources.settings import load_settings
with running(load_settings()):
    print("begun", flush=True)
    sys.stdin.readline()
"""
LAUNCH = """mutation { launchPartitionBackfill(backfillParams: {assetSelection: [{path: ["raw_uploads"]}], partitionNames: ["%s"]}) {
  __typename } }"""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "one.jpg").write_bytes(photo(1))
    return folder


def launch(ui: Ui) -> None:
    """Ask the UI for a run."""
    day = ui.postgres.read("select max(day) as day from photos").item()
    body = json.dumps({"query": LAUNCH % day}).encode()
    request = urllib.request.Request(f"{ui.url}/graphql", body, {"content-type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
        assert json.load(response)["data"]["launchPartitionBackfill"]["__typename"] == "LaunchBackfillSuccess"


def workers(family: list[psutil.Process]) -> list[psutil.Process]:
    """The processes of runs: children of the code server that are no tracker of Python's own."""
    [server] = [process for process in family if "api grpc" in command_line(process)]
    return [child for child in server.children() if "spawn_main" in command_line(child)]


def test_a_ui_outlives_the_commands_beside_it_and_leaves_no_worker_when_it_is_killed(tmp_path: Path, photos: Path) -> None:
    home = tmp_path / "home"
    env = {"DARKROOM_HOME": str(home), "PATH": "/usr/bin:/bin"}
    earlier = subprocess.Popen(
        [sys.executable, "-c", A_COMMAND], cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert earlier.stdout is not None
    assert earlier.stdout.readline() == "begun\n"
    servers = Services(home).status()
    with served(tmp_path, photos, 1) as ui:
        earlier.communicate("end\n", timeout=60)
        assert earlier.returncode == 0
        subprocess.run([DARKROOM, "status"], env=env, check=True, capture_output=True)
        time.sleep(1.5)  # three looks of the UI at its parts
        assert Services(home).status() == servers
        assert "ended" not in ui.log.read_text()
        [user] = Services(home).users()
        assert user.command == "darkroom ui"
        main = psutil.Process(user.pid)
        launch(ui)
        until(lambda: bool(workers(main.children(recursive=True))), "a run's process is there", 90, every_s=0.02)
        family = main.children(recursive=True)
        [worker] = workers(family)
        worker.suspend()  # so that it does not end by itself
        main.kill()
        _, alive = psutil.wait_procs(family, timeout=90)
        assert alive == []
    until(lambda: not any(Services(home).status().pids.values()), "the servers are stopped", 60)


def test_down_says_who_uses_the_servers_and_ends_the_ui(tmp_path: Path, photos: Path) -> None:
    with served(tmp_path, photos, 1) as ui:
        [user] = Services(tmp_path / "home").users()
        family = psutil.Process(user.pid).children(recursive=True)
        done = subprocess.run(
            [DARKROOM, "down"], env={"DARKROOM_HOME": str(tmp_path / "home")}, check=True, capture_output=True, text=True
        )
        assert done.stdout == f"Was in use by process {user.pid}: darkroom ui\nStopped.\n"
        until(lambda: "stopped from elsewhere" in ui.log.read_text(), "the UI sees it", 30)
        _, alive = psutil.wait_procs(family, timeout=90)
        assert alive == []
