"""Runs whose process was killed are ended; those that live, and those of other machines, are left."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from resources.servers.processes import ProcessId, started_s
from resources.servers.run_processes import (
    INITIAL_NAMESPACE,
    PROCESS_TAG,
    Place,
    end_dead_runs,
    has_ended,
    machine_of,
    process_tags,
)


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
    code = "from resources.servers.run_processes import process_tags; print(*process_tags().values(), flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    tag = process.stdout.readline().strip()
    process.kill()
    process.communicate()
    return tag


@pytest.mark.slow
def test_only_the_runs_of_processes_of_this_machine_that_are_gone_are_ended(instance: dg.DagsterInstance) -> None:
    (mine,) = process_tags().values()
    dead = started(instance, tag_of_a_killed_process())
    others = [started(instance, tag) for tag in (mine, f"elsewhere {mine.split(' ', 1)[1]}", "of no form", "", None)]
    assert end_dead_runs(instance) == [dead]
    ended = instance.get_run_by_id(dead)
    assert ended is not None
    assert ended.status is dg.DagsterRunStatus.FAILURE
    assert {run.run_id for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))} == set(others)
    assert end_dead_runs(instance) == []


def moved(tag: str, **changed: str) -> str:
    """The tag of a process with this pid and start in another place."""
    host, pid, start, boot, namespace, machine = tag.split(" ")
    there = {"host": host, "pid": pid, "start": start, "boot": boot, "namespace": namespace, "machine": machine} | changed
    return " ".join(there.values())


@pytest.mark.slow
def test_containers_of_one_host_name_do_not_end_each_others_runs(instance: dg.DagsterInstance) -> None:
    """Each has its own pids: what is not there in one may well live in the other, on this machine or on another."""
    tag = tag_of_a_killed_process()
    started(instance, moved(tag, namespace="pid:[4026539999]"))
    started(instance, moved(tag, boot="another-machine", namespace="pid:[4026539999]"))
    started(instance, moved(tag, boot="another-boot", machine="another"))
    started(instance, moved(tag, machine="another"))
    assert end_dead_runs(instance) == []
    assert has_ended(moved(tag, namespace="pid:[4026539999]")) is None
    assert has_ended(tag) is True
    assert has_ended(next(iter(process_tags().values()))) is False


@pytest.mark.slow
def test_a_container_with_its_own_database_ends_what_the_one_before_it_left(instance: dg.DagsterInstance) -> None:
    left = started(instance, moved(tag_of_a_killed_process(), namespace="pid:[4026539999]"))
    mine = started(instance, next(iter(process_tags().values())))
    started(instance, None)
    assert end_dead_runs(instance, is_database_here=True) == [left]
    assert mine not in end_dead_runs(instance, is_database_here=True)


def test_a_machine_that_was_started_again_is_told_from_another_one() -> None:
    before, after = Place("a", INITIAL_NAMESPACE, "m"), Place("b", INITIAL_NAMESPACE, "m")
    assert before.is_before_restart_of(after)
    assert not before.is_before_restart_of(before)
    assert not before.is_before_restart_of(Place("b", INITIAL_NAMESPACE, "other"))
    assert not Place("a", "pid:[4026539999]", "m").is_before_restart_of(Place("b", "pid:[4026539999]", "m"))


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


def test_a_machine_without_a_network_address_is_one_place_to_all_of_its_processes() -> None:
    """Python makes up an address for each process then, with the first byte odd."""
    assert machine_of(0x02FC00000001) == "2fc00000001"
    assert machine_of(0x03FC00000001) == machine_of(0xA1B2C3D4E5F6) == "-"
    now = Place("boot", INITIAL_NAMESPACE, "-")
    assert not Place("another", INITIAL_NAMESPACE, "-").is_before_restart_of(now)
