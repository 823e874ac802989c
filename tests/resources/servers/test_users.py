"""Who uses the servers decides how long they run: every pair of users, begun and ended in each order, killed ones too."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from resources.servers.embedded import Services

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
S3 = ["s3"]
"""One server is enough here: how each is started and stopped is told in `test_embedded`."""
BEGINS = {
    "command": "services.start()",
    "reader": "assert services.attach()",
    "up": "services.start(detach=True)",
    "down": "services.stop()",
}
"""How a command begins: most start what does not run; some read stores that run; `up` and `down` do their work at once."""
CODE = """
import sys
from pathlib import Path
from resources.servers.embedded import Services
services = Services(Path(sys.argv[1]), ["s3"])
{begin}
print("begun", flush=True)
sys.stdin.readline()
services.leave()
"""


class Command:
    """A process that uses the servers until it is told to end."""

    def __init__(self, home: Path, kind: str) -> None:
        code = CODE.format(begin=BEGINS[kind])
        self.process = psutil.Popen(
            [sys.executable, "-c", code, str(home)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout.readline() == "begun\n"

    def end(self) -> None:
        self.process.communicate("end\n", timeout=60)
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=60)


ENDINGS = {"ends": Command.end, "is killed": Command.kill}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template") / "home"
    with Services(folder, S3):
        return folder


@pytest.fixture
def home(template: Path, tmp_path: Path) -> Iterator[Path]:
    shutil.copytree(template, tmp_path / "home")
    yield tmp_path / "home"
    Services(tmp_path / "home").stop()


def server(home: Path) -> int | None:
    return Services(home, S3).status().pids["s3"]


def until_stopped(home: Path) -> None:
    """Whoever stops the servers holds the lock meanwhile; the keeper may not have begun yet."""
    pid = server(home)
    if pid is not None:
        psutil.Process(pid).wait(60)
    assert Services(home).users() == []
    assert server(home) is None


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("is_first_to_end", [True, False], ids=["begins and ends first", "ends last"])
@pytest.mark.parametrize("second", ["command", "reader"])
def test_servers_run_until_the_last_user_ends(home: Path, second: str, is_first_to_end: bool, ending: str) -> None:
    commands = [Command(home, "command"), Command(home, second)]
    pid = server(home)
    assert pid is not None
    assert {user.pid for user in Services(home).users()} == {command.process.pid for command in commands}
    earlier, later = commands if is_first_to_end else reversed(commands)
    ENDINGS[ending](earlier)
    assert [user.pid for user in Services(home).users()] == [later.process.pid]
    assert server(home) == pid
    ENDINGS[ending](later)
    until_stopped(home)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("kinds", [("up", "command"), ("up", "reader"), ("command", "up")], ids=" then ".join)
def test_servers_that_are_to_stay_stay_until_they_are_stopped(home: Path, kinds: tuple[str, str], ending: str) -> None:
    commands = [Command(home, kind) for kind in kinds]
    pid = server(home)
    for command in commands:
        ENDINGS[ending](command)
        assert server(home) == pid
    Command(home, "down").end()
    until_stopped(home)
    Command(home, "command").end()  # an `up` of long ago does not keep what it starts
    until_stopped(home)


@pytest.mark.parametrize("end", ENDINGS.values(), ids=ENDINGS)
def test_servers_stopped_by_wish_under_a_user_are_started_by_the_next_who_shares_them(
    home: Path, end: Callable[[Command], None]
) -> None:
    first = Command(home, "command")
    Command(home, "down").end()
    assert server(home) is None
    second = Command(home, "command")
    pid = server(home)
    assert pid is not None
    end(first)
    assert server(home) == pid
    end(second)
    until_stopped(home)


def test_a_reader_starts_nothing(home: Path) -> None:
    assert not Services(home, S3).attach()
    assert not Services(home / "never-started", S3).attach()
    assert server(home) is None
    assert not (home / "never-started").exists()


def test_one_process_may_use_them_twice(home: Path) -> None:
    outer, inner = Services(home, S3), Services(home, S3)
    with outer, inner:
        assert len(Services(home).users()) == 2
        assert not inner.leave()
        assert server(home) is not None
    assert server(home) is None


def test_a_killed_keeper_is_replaced_by_the_next_user(home: Path) -> None:
    first = Command(home, "command")
    pid = server(home)
    psutil.Process(json.loads((home / "services.json").read_text())["keeper"]["pid"]).kill()
    second = Command(home, "command")
    first.kill()
    assert server(home) == pid
    second.kill()
    until_stopped(home)
