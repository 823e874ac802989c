"""Runs whose process was killed are ended; those that live, and those of other machines, are left."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from resources.processes import ProcessId, started_s
from resources.run_processes import PROCESS_TAG, end_dead_runs, process_tags


@dg.op
def rest() -> None:
    """Do nothing."""


@dg.job
def resting() -> None:
    """A job to have runs of."""
    rest()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def started(instance: dg.DagsterInstance, tag: str | None) -> str:
    """A run that has started and said nothing since. Returns its id."""
    run = instance.create_run_for_job(resting, tags={PROCESS_TAG: tag} if tag else {}, status=dg.DagsterRunStatus.STARTED)
    return run.run_id


def tag_of_a_killed_process() -> str:
    """What a run of a process that is gone carries."""
    code = "from resources.run_processes import process_tags; print(*process_tags().values(), flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    tag = process.stdout.readline().strip()
    process.kill()
    process.communicate()
    return tag


def test_only_the_runs_of_processes_of_this_machine_that_are_gone_are_ended(instance: dg.DagsterInstance) -> None:
    (mine,) = process_tags().values()
    dead = started(instance, tag_of_a_killed_process())
    others = [started(instance, tag) for tag in (mine, f"elsewhere {mine.split(' ', 1)[1]}", "of no form", None)]
    assert end_dead_runs(instance) == [dead]
    ended = instance.get_run_by_id(dead)
    assert ended is not None
    assert ended.status is dg.DagsterRunStatus.FAILURE
    assert {run.run_id for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))} == set(others)
    assert end_dead_runs(instance) == []


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a start is a time of day")
def test_a_process_is_known_by_its_start_since_boot_which_no_setting_of_the_clock_moves() -> None:
    process = subprocess.Popen(["sleep", "60"])
    try:
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        assert uptime - 30 < started_s(process.pid) <= uptime + 0.02
        assert ProcessId(process.pid, started_s(process.pid)).process() is not None
        assert ProcessId(process.pid, started_s(process.pid) - 1).process() is None
    finally:
        process.kill()
        process.wait()
