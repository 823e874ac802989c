import sys

import pytest

from benchmarks.contests import CommandFailed, measured, take_turns


def test_contestants_take_turns_and_another_one_begins_each_round():
    order: list[str] = []
    found = take_turns({name: lambda name=name: order.append(name) or len(order) for name in "abc"}, repeats=3)
    assert "".join(order) == "abcbcacab"
    assert found == {"a": [1, 6, 8], "b": [2, 4, 9], "c": [3, 5, 7]}


@pytest.mark.slow
def test_a_command_is_measured_with_its_children():
    # The child takes 60 MB and some CPU time; its parent only waits for it.
    child = "data = bytearray(60_000_000); import time; end = time.time() + 2\nwhile time.time() < end: pass"
    used = measured(
        [sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}]); print('hi')"]
    )
    assert used.output == "hi\n"
    assert used.peak_mb > 60
    assert used.cpu_s > 0.1
    assert used.wall_s > 2


def test_a_failing_command_says_what_it_said():
    with pytest.raises(CommandFailed, match=r"ended with 1:\n.*no such rival"):
        measured([sys.executable, "-c", "raise SystemExit('no such rival')"])


def test_a_command_that_hangs_is_ended():
    with pytest.raises(CommandFailed, match="took longer than 0 s"):
        measured([sys.executable, "-c", "import time; time.sleep(60)"], timeout_s=0.2)


def test_the_environment_is_added_to():
    used = measured(
        [sys.executable, "-c", "import os; print(os.environ['RIVAL'], 'PATH' in os.environ)"], env={"RIVAL": "x"}
    )
    assert used.output == "x True\n"
