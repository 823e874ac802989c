"""Label Studio as a server of ours: closed to strangers, found again with its data, stopped with the others."""

import http.client
import json
import os
import signal
import stat
import subprocess
import sys
import urllib.parse
from contextlib import closing
from pathlib import Path

import listening
import psutil
import pytest
from served_ui import until
from tools import copy_of_label_studio, settings_of

from resources.errors import InsecureEndpoint, NoSpace, ServiceFailed
from resources.servers import label_studio as server
from resources.servers import labeling, tool_venv
from resources.servers.embedded import Services
from resources.servers.label_studio import NAME, Account
from resources.servers.server_state import alive_servers, read_state

ROOT = Path(__file__).parents[3]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def process_of(home: Path) -> psutil.Process:
    return psutil.Process(alive_servers(read_state(home))[NAME].pid)


def status_of(account: Account, path: str, token: str | None = None, body: str | None = None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", int(account.url.rpartition(":")[2]), timeout=60)
    headers = {"Authorization": f"Token {token}"} if token else {}
    headers |= {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
    with closing(connection):
        connection.request("POST" if body else "GET", path, body, headers)
        return connection.getresponse().status


def test_it_listens_on_one_port_of_loopback_and_has_no_secret_in_its_command(
    label_studio: Account, of_all_workers: Path
) -> None:
    process = process_of(of_all_workers / "services")
    assert [(one.ip, one.port) for one in listening.addresses([process, *process.children(recursive=True)])] == [
        ("127.0.0.1", int(label_studio.url.rpartition(":")[2]))
    ]
    command = " ".join(process.cmdline())
    assert label_studio.token not in command
    assert label_studio.password not in command
    assert label_studio.token not in repr(label_studio)
    account = of_all_workers / "services" / NAME / "account.json"
    assert stat.S_IMODE(account.stat().st_mode) == 0o600
    assert stat.S_IMODE(account.parent.stat().st_mode) == 0o700


def test_strangers_get_no_account_and_no_data(label_studio: Account) -> None:
    assert status_of(label_studio, "/api/projects") == 401
    assert status_of(label_studio, "/api/projects", "0" * 40) == 401
    assert status_of(label_studio, "/api/projects", label_studio.token) == 200
    form = urllib.parse.urlencode(
        {"email": "stranger@example.com", "password": "a-long-password", "allow_newsletters": "false"}
    )
    assert status_of(label_studio, "/user/signup/", body=form) == 403


def test_a_second_start_attaches_and_after_a_stop_the_data_are_found_again(
    label_studio: Account, of_all_workers: Path, tmp_path: Path
) -> None:
    """On a copy of the data: a new database takes a minute."""
    home, shared = tmp_path / "home", of_all_workers / "services"
    copy_of_label_studio(shared, home)
    settings, lines = settings_of(home), []
    first = labeling.start(settings, lines.append)
    try:
        assert first.url != label_studio.url, "the port of the copy is taken by the original"
        process = process_of(home)
        assert labeling.start(settings, lines.append) == first == labeling.found(settings)
        assert process_of(home) == process
        assert Services(home).stop()
        assert not process.is_running()
        assert labeling.found(settings) is None
        assert labeling.start(settings, lines.append) == first, "the same address, account and data"
    finally:
        Services(home).stop()
    assert labeling.found(settings) is None


def test_it_ends_with_the_last_user_even_if_that_one_is_killed(tmp_path: Path) -> None:
    """With a program in its place that only sleeps: how the real one is stopped is the test above."""
    code = (
        "import sys, time; from pathlib import Path; from resources.servers.embedded import Services; "
        "from resources.servers.processes import launch; home = Path(sys.argv[1]); services = Services(home); services.start(); "
        "log = home / 'logs' / 'x.log'; command = [sys.executable, '-c', 'import time; time.sleep(600)']; "
        f"services.add({NAME!r}, lambda: launch(command, cwd=home, log=log, env={{}})); print('started', flush=True); time.sleep(600)"
    )
    home = tmp_path / "home"
    user = subprocess.Popen([sys.executable, "-c", code, str(home)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert user.stdout is not None
    with user.stdout:
        assert user.stdout.readline() == "started\n"
    process = process_of(home)
    user.send_signal(signal.SIGKILL)
    user.wait()
    until(lambda: not process.is_running(), "the keeper stops it", 60, every_s=0.2)


def test_a_lost_account_file_is_not_replaced_by_a_new_one(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / "label_studio.sqlite3").touch()
    with pytest.raises(ServiceFailed, match="Restore it"):
        server.account_of(tmp_path)


def test_a_killed_installation_is_done_again_and_then_found(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from resources.servers.tool_venv import python_of; "
        "print(python_of('build', Path(sys.argv[1]), 0, lambda line: print(line, flush=True)))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert first.stdout is not None
    with first.stdout:
        assert first.stdout.readline().startswith("Installing build with its 2 packages")
        first.send_signal(signal.SIGKILL)
    first.wait()
    assert not tool_venv.is_installed("build", tmp_path)
    again = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, timeout=240)
    python = again.stdout.splitlines()[-1]
    assert tool_venv.is_installed("build", tmp_path)
    subprocess.run([python, "-c", "import setuptools"], check=True)
    assert tool_venv.python_of("build", tmp_path, 0, pytest.fail) == Path(python)


def test_an_installation_without_room_is_not_begun(tmp_path: Path) -> None:
    with pytest.raises(NoSpace, match="DARKROOM_TOOLS_DIR"):
        tool_venv.python_of("build", tmp_path, 1 << 60, pytest.fail)
    assert not list(tmp_path.glob("build-*"))


def test_an_installation_without_an_index_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ServiceFailed, match="package index"):
        tool_venv.python_of("build", tmp_path, 0, lambda line: None)
    assert not tool_venv.is_installed("build", tmp_path)


def test_yours_needs_a_token_and_an_encrypted_way(tmp_path: Path) -> None:
    yours = settings_of(tmp_path).having({"label_studio_url": "https://labels.example.com/"})
    with pytest.raises(ServiceFailed, match="DARKROOM_LABEL_STUDIO_TOKEN"):
        labeling.found(yours)
    with_token = yours.having({"label_studio_token": "abc"})
    assert labeling.found(with_token) == Account("https://labels.example.com", "labels.example.com", "abc")
    with pytest.raises(InsecureEndpoint, match="https"):
        labeling.found(with_token.having({"label_studio_url": "http://labels.example.com"}))


def test_the_state_has_no_secret(label_studio: Account, of_all_workers: Path) -> None:
    state = json.dumps(read_state(of_all_workers / "services"))
    assert label_studio.token not in state
