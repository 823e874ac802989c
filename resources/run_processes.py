"""Which process a Dagster run lives in, so that a run whose process was killed does not count as running for ever.

Dagster ends the runs that its daemon launched. A run inside the `darkroom` command that is killed stays `STARTED`; it
would keep its place among the runs at once, and its pool, from all others.
"""

import os
import socket
from collections.abc import Mapping

import dagster as dg

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
