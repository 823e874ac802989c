"""Parts that die are started again, in order, and given up when they can't stay up. Real processes, really killed."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from resources.errors import ServiceFailed
from resources.servers.supervision import Program, end, supervise

SLEEPS = [sys.executable, "-c", "import time; time.sleep(600)"]
SPAWNS = [sys.executable, "-c", f"import subprocess, time; subprocess.Popen({SLEEPS!r}); time.sleep(600)"]


def program(name: str, command: list[str], ready: Callable[[], bool] | None = None) -> Program:
    return Program(name, command, Path("/"), dict(os.environ), ready)


class Enough(Exception):
    """Ends the supervision of a test."""


@pytest.mark.slow
@pytest.mark.parametrize("runs_before", [False, True])
def test_a_killed_part_is_started_again_and_the_log_says_so(runs_before: bool) -> None:
    part = program("The sleeper", SLEEPS)
    told: list[str] = []
    if runs_before:
        part.start()

    def kill_once_it_runs() -> None:
        while part.process is None:
            time.sleep(0.01)
        part.process.kill()

    def tell(line: str) -> None:
        told.append(line)
        if "again" in line:
            raise Enough

    killer = threading.Timer(1, kill_once_it_runs)
    killer.start()
    try:
        with pytest.raises(Enough):
            supervise([part], tell)
        assert told == ["The sleeper was killed by signal 9.", "The sleeper runs again."]
        assert part.alive()
    finally:
        killer.join()
        end([part])
    assert not part.alive()


@pytest.mark.slow
def test_a_part_that_can_not_stay_up_is_given_up_with_what_to_do() -> None:
    told: list[str] = []
    with pytest.raises(ServiceFailed, match=r"The failure did not stay up, 3 times in a row.*mend the cause"):
        supervise([program("The failure", [sys.executable, "-c", "raise SystemExit(7)"])], told.append, delays_s=(0, 0))
    assert told[0] == "The failure ended with status 7."
    assert told.count("The failure runs again.") == 2


@pytest.mark.slow
def test_a_part_that_ends_before_it_is_ready_keeps_later_ones_from_starting() -> None:
    later = program("The later one", SLEEPS)
    told: list[str] = []
    with pytest.raises(ServiceFailed, match="The first one did not stay up"):
        supervise(
            [program("The first one", [sys.executable, "-c", ""], ready=lambda: False), later], told.append, delays_s=(0,)
        )
    assert told[0] == "The first one ended with status 0 while starting. What it wrote is above."
    assert later.process is None


@pytest.mark.slow
def test_what_a_killed_part_left_behind_is_ended_too() -> None:
    part = program("The parent", SPAWNS)
    part.start()
    assert part.process is not None
    while not (children := part.process.children()):
        pass
    part.process.send_signal(signal.SIGKILL)
    part.process.wait(10)
    assert not part.alive()
    assert [process.pid for process in part.left()] == [children[0].pid]
    end([part])
    assert not psutil.pid_exists(children[0].pid) or children[0].status() == psutil.STATUS_ZOMBIE


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_a_part_ends_with_its_owner_even_if_that_is_killed() -> None:
    code = "import os, time; from pathlib import Path; from resources.servers.supervision import Program\n"
    code += f"part = Program('p', {SLEEPS!r}, Path('/'), dict(os.environ)); part.start()\n"
    code += "print(part.process.pid, flush=True); time.sleep(600)"
    with psutil.Popen([sys.executable, "-c", code], stdout=-1, text=True, cwd=Path(__file__).parents[3]) as owner:
        part = psutil.Process(int(owner.stdout.readline()))
        # It must have become the command, or it would not be told of its owner's end yet.
        while "launcher.py" in " ".join(part.cmdline()):
            pass
        owner.kill()
    psutil.wait_procs([part], timeout=20)
    assert not part.is_running() or part.status() == psutil.STATUS_ZOMBIE


def test_what_a_part_writes_is_passed_on_without_its_colours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    halves = (
        "sys.stdout.write('a \\x1b[3'); sys.stdout.flush(); time.sleep(0.3); sys.stdout.write('2mgreen\\x1b[0m\\x1b[5n end')"
    )
    part = Program("part", [sys.executable, "-c", f"import sys, time; {halves}"], tmp_path, dict(os.environ))
    part.start()
    assert part.process is not None and part.process.wait(60) == 0
    written, deadline = "", time.monotonic() + 60
    while not written.endswith("end") and time.monotonic() < deadline:
        written += capsys.readouterr().err
        time.sleep(0.05)
    assert written == "a green\x1b[5n end"
