"""What holds secrets writes no core file, and what may open too few files says so before it starts anything."""

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from resources.servers.embedded import Services
from resources.servers.limits import set_limits

DARKROOM = Path(sys.executable).with_name("darkroom")


def limited(files: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))


def test_a_command_that_may_open_too_few_files_says_so_and_starts_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [DARKROOM, "up"],
        env={"PATH": "/usr/bin:/bin", "DARKROOM_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=limited(200),
    )
    assert done.returncode == 1
    assert "may open 200 files at once" in done.stderr
    assert "ulimit -n 4096" in done.stderr
    assert not (tmp_path / "home").exists()


def test_a_low_limit_that_may_be_raised_is_raised(tmp_path: Path) -> None:
    code = "import resource; from resources.servers.limits import set_limits; set_limits()\n"
    code += "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0], *resource.getrlimit(resource.RLIMIT_CORE))"
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    low = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))  # noqa: E731
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, preexec_fn=low)
    assert done.stdout.split() == [str(min(hard, 4096) if hard > 0 else 4096), "0", "0"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells other processes' limits")
def test_neither_the_servers_nor_their_keeper_leave_core_files(tmp_path: Path) -> None:
    with Services(tmp_path / "home"):
        pids = [pid for pid in Services(tmp_path / "home").status().pids.values() if pid is not None]
        processes = [psutil.Process(pid) for pid in pids]
        family = [one for process in processes for one in (process, *process.children(recursive=True))]
        assert len(family) > 4
        assert {process.rlimit(psutil.RLIMIT_CORE) for process in family} == {(0, 0)}
    set_limits()
    assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
