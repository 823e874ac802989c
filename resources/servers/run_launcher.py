"""Dagster's default run launcher, extended by a check whether a run's process is alive. Configured in `dagster.yaml`.

Without the check a run whose process was killed, or could not reach the database at its end, counts as running forever, and
occupies a slot of the queue.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from resources.dagster_private import GRPC_INFO_TAG, CheckRunHealthResult, ConfigurableClassData, WorkerStatus
from resources.servers.run_processes import PROCESS_TAG, has_ended, was_alive, worker


class LocalRunLauncher(dg.DefaultRunLauncher):
    """Launches runs as processes of this machine: children of the code server, or, with embedded servers, of any command.

    is_everything_local: only this machine uses the database, so runs that no code server launched are here, too.
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
        """Create the launcher from `dagster.yaml`."""
        return cls(inst_data=inst_data, **config_value)

    @property
    def supports_check_run_worker_health(self) -> bool:
        """True: Dagster's daemon checks each unfinished run, and fails those whose process is gone."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """FAILED if the last process in the run's log has ended; RUNNING if that is unknown."""
        process = worker(self._instance, run.run_id)
        if tag := run.tags.get(PROCESS_TAG):
            is_gone = has_ended(tag) is True
        else:
            is_here = self._is_everything_local or GRPC_INFO_TAG in run.tags
            is_gone = process is not None and is_here and not was_alive(*process)
        if not is_gone or process is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(
            WorkerStatus.FAILED, f"the run's process {process[0]} is gone. What it finished is kept: re-execute the run"
        )
