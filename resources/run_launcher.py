"""Dagster's own run launcher, which also knows whether a run's process still lives. Named in `dagster.yaml`.

Without that a run whose process was killed, or could not reach the database to say how it ended, counts as running for
ever, and its place in the queue is taken.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import psutil
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._serdes import ConfigurableClassData

from resources.run_processes import worker


class LocalRunLauncher(DefaultRunLauncher):
    """Runs are processes of this machine: children of the code server, or, with embedded servers, of any command.

    is_everything_local: the database is of this machine alone, so runs that no code server launched are here too.
    """

    def __init__(self, is_everything_local: bool = False, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(inst_data=inst_data)
        self._is_everything_local = is_everything_local

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """The keys under `config` in `dagster.yaml`."""
        return {"is_everything_local": dg.Field(bool, default_value=False)}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "LocalRunLauncher":
        """As `dagster.yaml` says."""
        return cls(inst_data=inst_data, **config_value)

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Dagster's daemon then asks about each run that is under way, and fails those whose process is gone."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """FAILED if the process that the run's log names last has ended; RUNNING where that can't be known."""
        process = worker(self._instance, run.run_id)
        is_here = self._is_everything_local or GRPC_INFO_TAG in run.tags
        if process is None or not is_here or _lives(*process):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(
            WorkerStatus.FAILED, f"the run's process {process[0]} is gone. What it finished is kept: re-execute the run"
        )


def _lives(pid: int, named_at: float) -> bool:
    """Whether that process is alive: a later one with its pid is another, and a zombie has ended."""
    try:
        process = psutil.Process(pid)
        return process.create_time() <= named_at and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
