"""Executes one launch as a Dagster run in this process, and reads failures, durations and numbers from its result."""

from collections.abc import Sequence

import dagster as dg

from pipeline_assets.framework.failed_days import AFTER
from pipeline_assets.nightly.night import Launch
from resources.dagster_private import execute_in_process
from resources.lake.lake_io import DAYS_NOT_WRITTEN
from resources.servers.run_processes import process_tags

INTERRUPTS = ("KeyboardInterrupt", "DagsterExecutionInterruptedError")
"""Dagster's names of the error of an interrupted run."""


def execute(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    launch: Launch,
    launched_by: str = "darkroom run",
    after: Sequence[str] = (),
    *,
    is_forced: bool = False,
) -> dg.ExecuteInProcessResult:
    """Execute one launch as a Dagster run in this process. Failures are in the result; only KeyboardInterrupt is raised.

    after: ids of the command's earlier runs; days that they failed to write are skipped here, too. is_forced: days whose
    inputs have not changed are computed, too. Only checks that the assets compute themselves run: the check `current` covers
    all days, and runs once a night.
    """
    whole = defs.resolve_implicit_global_asset_job_def()
    keys = {dg.AssetKey(name) for name in launch.assets}
    checks = {check for node in whole.asset_layer.asset_graph.assets_defs_for_keys(keys) for check in node.check_keys}
    result = execute_in_process(
        whole.get_subset(asset_selection=keys, asset_check_selection=checks),
        instance,
        {
            "dagster/asset_partition_range_start": launch.first.isoformat(),
            "dagster/asset_partition_range_end": launch.last.isoformat(),
            "darkroom/launched_by": launched_by,
            **({AFTER: ",".join(after)} if after else {}),
            **process_tags(),
        },
        {
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            "ops": {name: {"config": {"force": is_forced}} for name in launch.assets} if is_forced else {},
        },
    )
    if _is_interrupted(result):
        raise KeyboardInterrupt
    return result


def _is_interrupted(result: dg.ExecuteInProcessResult) -> bool:
    """Whether Ctrl-C ended the run: Dagster records it as the run's error, and returns."""
    ends = [event.job_failure_data.error for event in result.all_events if event.is_job_failure]
    return any(error and error.cls_name in INTERRUPTS for error in ends)


def is_safe(result: dg.ExecuteInProcessResult) -> bool:
    """Whether the next run may start: only days have failed, and all other days are written."""
    failures = [event.step_failure_data.user_failure_data for event in result.all_events if event.is_step_failure]
    only_days_failed = all(data is not None and DAYS_NOT_WRITTEN in data.metadata for data in failures)
    return result.success or (bool(failures) and only_days_failed)


def failures(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """Error message by failed step; the key is `resources` if the run ended before its first step."""
    errors = {}
    for event in result.all_events:
        if event.event_type is dg.DagsterEventType.RESOURCE_INIT_FAILURE and event.engine_event_data.error:
            errors["resources"] = event.engine_event_data.error.message.strip()
        if event.is_step_failure and event.step_key:
            error = event.step_failure_data.error
            failure = event.step_failure_data.user_failure_data
            cause = error.cause if error and error.cause else error
            errors[event.step_key] = (failure.description if failure else None) or (
                cause.message.strip() if cause else "failed"
            )
    return errors


def durations(result: dg.ExecuteInProcessResult) -> dict[str, float]:
    """Duration of each successful step, in seconds."""
    return {
        event.step_key: event.step_success_data.duration_ms / 1000
        for event in result.all_events
        if event.is_step_success and event.step_key
    }


def facts(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, float]:
    """The numeric metadata of an asset, from the first day that the run computed."""
    for event in result.all_events:
        if event.is_step_materialization and event.asset_key == dg.AssetKey(asset):
            materialization = event.step_materialization_data.materialization
            if (
                materialization.partition
                and "unchanged" in materialization.metadata
                and not materialization.metadata["unchanged"].value
            ):
                return {name: v.value for name, v in materialization.metadata.items() if isinstance(v.value, int | float)}
    return {}
