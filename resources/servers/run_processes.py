"""Records the process of a Dagster run, so that a run whose process was killed does not count as running forever.

Dagster ends runs that its daemon launched. A run inside a killed `darkroom` command stays `STARTED`, and would occupy a slot
of concurrent runs and its pool. A run that the daemon was about to launch when it was killed has no process: Dagster would
fail it after three minutes, and its backfill with it.
"""

import os
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import psutil

from resources.dagster_private import has_run
from resources.servers.processes import ProcessId, started_s

PROCESS_TAG = "darkroom/process"
UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def process_tags() -> Mapping[str, str]:
    """The tags of a run inside this process."""
    here = Place.here()
    words = (socket.gethostname(), os.getpid(), started_s(os.getpid()), here.boot, here.namespace, here.machine)
    return {PROCESS_TAG: " ".join(map(str, words))}


INITIAL_NAMESPACE = "pid:[4026531836]"
"""The kernel's pid namespace of processes outside of containers."""


@dataclass(frozen=True)
class Place:
    """The scope of a pid: a machine since its last boot, and a pid namespace (a container) in it.

    Host names identify neither: containers may share one, and so may machines.
    """

    boot: str
    namespace: str
    machine: str

    @classmethod
    def here(cls) -> "Place":
        """The place of this process. Without /proc only the machine."""
        boot = _read("/proc/sys/kernel/random/boot_id") or f"host-{socket.gethostname()}"
        try:
            namespace = str(Path("/proc/self/ns/pid").readlink())
        except OSError:
            namespace = "-"
        return cls(boot, namespace, _read("/etc/machine-id") or machine_of(uuid.getnode()))

    def is_before_restart_of(self, now: "Place") -> bool:
        """Whether this is the same machine, outside of containers, before its last boot."""
        same = self.machine == now.machine != UNKNOWN_MACHINE and self.namespace == now.namespace == INITIAL_NAMESPACE
        return same and self.boot != now.boot


UNKNOWN_MACHINE = "-"


def machine_of(node: int) -> str:
    """A machine by its network address from `uuid.getnode`; unknown if that is random, which differs in each process."""
    is_random = node >> 40 & 1
    return UNKNOWN_MACHINE if is_random else f"{node:x}"


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip().replace(" ", "-")
    except OSError:
        return ""


def has_ended(tag: str) -> bool | None:
    """Whether the process of a tag has ended; None if that can't be determined from here."""
    here = Place.here()
    match tag.split(" "):
        case [_, pid, started, boot, namespace, machine]:
            place = Place(boot, namespace, machine)
        case [host, pid, started] if host == socket.gethostname() and here.namespace in (INITIAL_NAMESPACE, "-"):
            place = here  # written by an older version
        case _:
            return None
    if place.is_before_restart_of(here):
        return True
    return ProcessId(int(pid), float(started)).process() is None if place == here else None


def end_dead_runs(instance: dg.DagsterInstance, *, is_database_here: bool = False) -> list[str]:
    """Report unfinished runs whose process has provably ended as failed. Returns their ids.

    is_database_here: Dagster's database is a server of this place, so that no process of another place has a run in it: a
    restarted container ends the runs of its predecessor.
    """
    ended = []
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=UNFINISHED)):
        tag = run.tags.get(PROCESS_TAG)
        verdict = has_ended(tag) if tag else False
        if verdict or (verdict is None and is_database_here):
            instance.report_run_failed(run, "The process of this run was killed. What it had committed is kept: run again.")
            ended.append(run.run_id)
    return ended


def is_alive_here(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether a living process of this place executes the run, launched by a command or by the daemon."""
    if tag := run.tags.get(PROCESS_TAG):
        return has_ended(tag) is False
    process = worker(instance, run.run_id)
    return process is not None and was_alive(*process)


def was_alive(pid: int, named_at: float) -> bool:
    """Whether the process that had this pid at a time (Unix time) is alive. A later process with this pid is not it."""
    try:
        process = psutil.Process(pid)
        return process.create_time() <= named_at and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def queue_lost_runs(instance: dg.DagsterInstance, code_socket: Path) -> list[str]:
    """Queue runs again that were dequeued but never launched. Returns their ids.

    Call it while no daemon runs: a launch in progress looks the same until the code server knows the run. A run that is
    launched twice nevertheless works once: Dagster ends the second process. code_socket: of the code server, the parent of
    all runs. Raises DagsterUserCodeUnreachableError if it does not answer.
    """
    lost = []
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING])):
        # The code server may have a process for the run that has not said so in the run's log yet.
        if PROCESS_TAG in run.tags or worker(instance, run.run_id) is not None or has_run(code_socket, run.run_id):
            continue
        instance.report_engine_event("The daemon was killed before it launched this run: queued again.", run)
        instance.report_dagster_event(dg.DagsterEvent.job_enqueue(run), run_id=run.run_id)
        lost.append(run.run_id)
    return lost


def worker(instance: dg.DagsterInstance, run_id: str) -> tuple[int, float] | None:
    """The pid in the run's newest event about a process, and the time of the event (Unix time); None if there is none."""
    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT, ascending=False).records
    for record in records:
        event = record.event_log_entry.dagster_event
        pid = event.engine_event_data.metadata.get("pid") if event is not None else None
        if pid is not None and str(pid.value).isdigit():
            return int(str(pid.value)), record.event_log_entry.timestamp
    return None
