"""Which process a Dagster run lives in, so that a run whose process was killed does not count as running for ever.

Dagster ends the runs that its daemon launched. A run inside the `darkroom` command that is killed stays `STARTED`; it
would keep its place among the runs at once, and its pool, from all others. A run that the daemon was about to launch when
it was killed has no process at all: Dagster would fail it after three minutes, and its backfill with it.
"""

import os
import socket
from collections.abc import Mapping
from pathlib import Path

import dagster as dg
from dagster._core.events import DagsterEvent
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value

from resources.processes import ProcessId, started_s

PROCESS_TAG = "darkroom/process"
UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def process_tags() -> Mapping[str, str]:
    """Tags for a run inside this process."""
    return {PROCESS_TAG: f"{socket.gethostname()} {os.getpid()} {started_s(os.getpid())}"}


def end_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Report as failed each unfinished run whose process on this machine has ended. Returns their ids."""
    ended = []
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=UNFINISHED)):
        match run.tags.get(PROCESS_TAG, "").split(" "):
            case [host, pid, started] if host == socket.gethostname():
                process = ProcessId(int(pid), float(started)).process()
            case _:
                continue
        if process is None:
            instance.report_run_failed(run, "The process of this run was killed. What it had committed is kept: run again.")
            ended.append(run.run_id)
    return ended


def queue_lost_runs(instance: dg.DagsterInstance, code_socket: Path) -> list[str]:
    """Put each run back into the queue that was taken from it for a launch which never came. Returns their ids.

    For the time when no daemon runs: a launch that is under way would look the same until the code server has heard of it.
    A run that is launched twice after all does its work once: Dagster ends the process that finds it started.
    code_socket: of the code server, whose children runs are. Raises DagsterUserCodeUnreachableError if it doesn't answer.
    """
    lost = []
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING])):
        if PROCESS_TAG in run.tags or worker(instance, run.run_id) is not None or _launched(run.run_id, code_socket):
            continue
        instance.report_engine_event("The daemon was killed before it launched this run: queued again.", run)
        instance.report_dagster_event(DagsterEvent.job_enqueue(run), run_id=run.run_id)
        lost.append(run.run_id)
    return lost


def _launched(run_id: str, code_socket: Path) -> bool:
    """Whether the code server has a process for the run, which may not have said so in the run's log yet."""
    client = DagsterGrpcClient(socket=str(code_socket))
    answer = deserialize_value(
        client.can_cancel_execution(CanCancelExecutionRequest(run_id=run_id)), CanCancelExecutionResult
    )
    return answer.can_cancel


def worker(instance: dg.DagsterInstance, run_id: str) -> tuple[int, float] | None:
    """The pid that the run's newest event about a process names, and when it did (Unix time); None before there is one."""
    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT, ascending=False).records
    for record in records:
        event = record.event_log_entry.dagster_event
        named = event.engine_event_data.metadata.get("pid") if event is not None else None
        if named is not None and str(named.value).isdigit():
            return int(str(named.value)), record.event_log_entry.timestamp
    return None
