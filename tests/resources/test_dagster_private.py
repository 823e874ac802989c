"""What Darkroom takes from inside Dagster is where it was, and is called as it was. A new Dagster may change either."""

import ast
import importlib
import inspect
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

ADAPTER = Path(__file__).parents[2] / "resources" / "dagster_private.py"
CORE = "dagster._core"
TAKEN: dict[str, tuple[str, ...]] = {
    f"{CORE}.definitions.asset_checks.asset_check_evaluation:AssetCheckEvaluationTargetMaterializationData": (
        *("storage_id", "run_id", "timestamp"),
    ),
    f"{CORE}.definitions.job_base:InMemoryJob": ("job_def",),
    f"{CORE}.definitions.unresolved_asset_job_definition:UnresolvedAssetJobDefinition": (),
    f"{CORE}.errors:DagsterUserCodeUnreachableError": (),
    f"{CORE}.execution.execute_in_process:core_execute_in_process": (
        *("run_config", "job", "instance", "output_capturing_enabled", "raise_on_error", "run_tags", "asset_selection"),
    ),
    f"{CORE}.launcher:CheckRunHealthResult": ("status", "msg"),
    f"{CORE}.launcher:WorkerStatus": (),
    f"{CORE}.storage.event_log.schema:SqlEventLogStorageTable": (),
    f"{CORE}.storage.event_log.sql_event_log:SqlEventLogStorage.prepare_insert_event_batch": ("events",),
    f"{CORE}.storage.event_log.sql_event_log:SqlEventLogStorage.store_asset_check_event": ("event", "event_id"),
    f"{CORE}.storage.event_log.sql_event_log:SqlEventLogStorage.has_table": ("table_name",),
    f"{CORE}.storage.event_log.sql_event_log:SqlEventLogStorage._has_asset_key_col_on_connection": ("conn", "column_name"),
    f"{CORE}.storage.event_log.sqlite.sqlite_event_log:INDEX_SHARD_NAME": (),
    f"{CORE}.storage.event_log.sqlite.sqlite_event_log:SqliteEventLogStorage": ("base_dir",),
    f"{CORE}.storage.event_log.sqlite.sqlite_event_log:SqliteEventLogStorage._connect": ("shard",),
    f"{CORE}.storage.event_log.sqlite.sqlite_event_log:SqliteEventLogStorage.conn_string_for_shard": ("shard_name",),
    f"{CORE}.storage.event_log.sqlite.sqlite_event_log:SqliteEventLogStorage.dispose": (),
    f"{CORE}.storage.local_compute_log_manager:LocalComputeLogManager": ("base_dir",),
    f"{CORE}.storage.noop_compute_log_manager:NoOpComputeLogManager": (),
    f"{CORE}.storage.sqlite:SQLITE_BUSY_TIMEOUT_SECONDS": (),
    f"{CORE}.storage.tags:GRPC_INFO_TAG": (),
    f"{CORE}.workspace.context:WorkspaceProcessContext": ("instance", "workspace_load_target", "version"),
    f"{CORE}.workspace.load_target:WorkspaceFileTarget": ("paths",),
    "dagster._grpc.client:DagsterGrpcClient": ("socket",),
    "dagster._grpc.client:DagsterGrpcClient.can_cancel_execution": ("can_cancel_execution_request",),
    "dagster._grpc.types:CanCancelExecutionRequest": ("run_id",),
    "dagster._grpc.types:CanCancelExecutionResult": ("can_cancel",),
    "dagster._serdes:ConfigurableClassData": (),
    "dagster._utils.interrupts:setup_interrupt_handlers": (),
    "dagster_postgres:PostgresEventLogStorage": ("postgres_url",),
    "dagster_postgres:PostgresEventLogStorage._connect": (),
    "dagster_postgres:PostgresEventLogStorage._store_asset_event": ("conn", "event", "event_id"),
    "dagster_postgres:PostgresEventLogStorage.index_transaction": (),
    "dagster_postgres:PostgresEventLogStorage.store_event": ("event",),
    "dagster_postgres:PostgresEventLogStorage.store_event_batch": ("events",),
    "dagster_webserver.app:create_app_from_workspace_process_context": ("workspace_process_context", "lifespan"),
    "dagster_webserver.version:__version__": (),
}
"""What we import, with the arguments that we give it and the fields that we read of it."""


def test_the_table_above_is_what_the_adapter_takes() -> None:
    tree = ast.parse(ADAPTER.read_text())
    imported = {
        f"{node.module}:{name.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("dagster")
        for name in node.names
    }
    named = {
        ":".join(ast.literal_eval(value) for value in node.values)
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict) and [ast.literal_eval(key) for key in node.keys if key] == ["module", "class"]
    }
    assert imported | named == {name for name in TAKEN if "." not in name.split(":")[1]}


@pytest.mark.parametrize("name", TAKEN)
def test_it_is_still_there_and_takes_what_we_give_it(name: str) -> None:
    assert change(name, TAKEN[name]) is None


def test_a_change_is_told_plainly() -> None:
    assert "no module dagster._core.launchers" in str(change("dagster._core.launchers:WorkerStatus", ()))
    assert "has no DagsterEvents" in str(change("dagster._core.events:DagsterEvents", ()))
    assert "takes job_def, not definition" in str(change(f"{CORE}.definitions.job_base:InMemoryJob", ("definition",)))


def change(name: str, given: tuple[str, ...]) -> str | None:
    """What is other than the adapter expects, as a sentence; None if nothing is."""
    begins = f"Dagster {version('dagster')}: mend resources/dagster_private.py:"
    module, _, path = name.partition(":")
    try:
        thing: Any = importlib.import_module(module)
    except ModuleNotFoundError:
        return f"{begins} there is no module {module}"
    for part in path.split("."):
        if not hasattr(thing, part):
            return f"{begins} {module} has no {part}"
        thing = getattr(thing, part)
    taken = parameters(thing) if given else []
    missing = [argument for argument in given if argument not in taken]
    if missing and "kwargs" not in taken:
        return f"{begins} {path} takes {', '.join(taken)}, not {', '.join(missing)}"
    return None


def parameters(thing: Any) -> list[str]:
    """The names of its arguments; of a record, of its fields."""
    fields = getattr(thing, "_fields", None) or getattr(thing, "__annotations__", {} if inspect.isclass(thing) else None)
    found = list(inspect.signature(thing).parameters)
    return list(fields) if fields and found[:1] == ["args"] else found
