"""Which runs the launcher takes for dead: those whose own process, on this machine, is gone. Real processes and events."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.events import EngineEventData  # noqa: TID251

from resources.dagster_private import GRPC_INFO_TAG, WorkerStatus
from resources.servers.run_launcher import LocalRunLauncher
from resources.servers.run_processes import PROCESS_TAG, process_tags


@dg.job
def nothing() -> None:
    """A job without steps."""


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as found:
        yield found


def health(instance: dg.DagsterInstance, pid: int | None, *, tagged: bool = True, is_everything_local: bool = False) -> str:
    """What the launcher says of a run whose log names this process."""
    run = instance.create_run_for_job(nothing, tags={GRPC_INFO_TAG: "{}"} if tagged else {})
    if pid is not None:
        instance.report_engine_event("Executing", run, EngineEventData.in_process(pid))
    instance.report_engine_event("Something without a process", run)
    launcher = LocalRunLauncher(is_everything_local)
    launcher.register_instance(instance)
    return launcher.check_run_worker_health(run).status.value


def ended_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


@pytest.mark.slow
def test_a_run_whose_process_lives_is_running(instance: dg.DagsterInstance) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert health(instance, process.pid) == WorkerStatus.RUNNING.value
        process.kill()
        process.wait(10)
        assert health(instance, process.pid) == WorkerStatus.FAILED.value


@pytest.mark.slow
def test_a_process_that_ended_but_was_not_waited_for_is_gone(instance: dg.DagsterInstance) -> None:
    with subprocess.Popen([sys.executable, "-c", "print('x')"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read()  # to its end: the process is a zombie, or about to be
        while health(instance, process.pid) == WorkerStatus.RUNNING.value:
            assert process.returncode is None
        assert health(instance, process.pid) == WorkerStatus.FAILED.value


def test_a_run_that_has_named_no_process_yet_is_left_alone(instance: dg.DagsterInstance) -> None:
    assert health(instance, None) == WorkerStatus.RUNNING.value


@pytest.mark.slow
def test_a_run_of_another_machine_is_left_alone(instance: dg.DagsterInstance) -> None:
    """Commands on several machines may share a database; a pid says nothing about another machine's processes."""
    pid = ended_process()
    assert health(instance, pid, tagged=False) == WorkerStatus.RUNNING.value
    assert health(instance, pid, tagged=False, is_everything_local=True) == WorkerStatus.FAILED.value


@pytest.mark.slow
def test_a_run_of_the_command_is_judged_by_the_place_that_it_names(instance: dg.DagsterInstance) -> None:
    """In another container its pid is another process's, or nobody's."""
    launcher = LocalRunLauncher(is_everything_local=True)
    launcher.register_instance(instance)
    words = process_tags()[PROCESS_TAG].split(" ")
    words[1] = str(ended_process())
    for namespace, said in ((words[4], WorkerStatus.FAILED), ("pid:[4026539999]", WorkerStatus.RUNNING)):
        words[4] = namespace
        run = instance.create_run_for_job(nothing, tags={PROCESS_TAG: " ".join(words)})
        instance.report_engine_event("Executing", run, EngineEventData.in_process(int(words[1])))
        assert launcher.check_run_worker_health(run).status is said


def test_the_launcher_is_what_dagster_yaml_says() -> None:
    launcher = LocalRunLauncher.from_config_value(None, {"is_everything_local": True})
    assert launcher.supports_check_run_worker_health
    assert set(LocalRunLauncher.config_type()) == {"is_everything_local"}
