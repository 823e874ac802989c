"""The only imports from Dagster's private modules (`banned-api` in pyproject.toml forbids others).

A new version of Dagster may move or change them: `tests/resources/test_dagster_private.py` reports what. Names that `dg.`
exports do not belong here. Modules that load slowly, or that only some processes need, are imported in functions.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import sqlalchemy
import sqlalchemy.event
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._serdes import ConfigurableClassData
from sqlalchemy.pool import StaticPool

if TYPE_CHECKING:
    from starlette.applications import Starlette

__all__ = [
    "GRPC_INFO_TAG",
    "AssetCheckEvaluationTargetMaterializationData",
    "CheckRunHealthResult",
    "ConfigurableClassData",
    "DagsterUserCodeUnreachableError",
    "UnresolvedAssetJobDefinition",
    "WorkerStatus",
]

NO_COMPUTE_LOGS = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
LOCAL_COMPUTE_LOGS = {"module": "dagster._core.storage.local_compute_log_manager", "class": "LocalComputeLogManager"}
"""In the format of `dagster.yaml`."""
PLANNED = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
MATERIALIZED, CHECKED = dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_CHECK_EVALUATION
STORED_TOGETHER = 500
"""Number of events that wait in memory at most."""


def execute_in_process(
    job: dg.JobDefinition, instance: dg.DagsterInstance, tags: Mapping[str, str], run_config: Mapping[str, object]
) -> dg.ExecuteInProcessResult:
    """Execute a job in this process with its own executor; `dg`'s method would replace it. Failures are in the result."""
    from dagster._core.definitions.job_base import InMemoryJob
    from dagster._core.execution.execute_in_process import core_execute_in_process

    layer = job.asset_layer
    return core_execute_in_process(
        job=InMemoryJob(job_def=job),
        run_config=run_config,
        instance=instance,
        output_capturing_enabled=False,
        raise_on_error=False,
        run_tags=tags,
        asset_selection=frozenset(layer.selected_asset_keys) if layer else None,
    )


def has_run(code_socket: Path, run_id: str) -> bool:
    """Whether the code server at a Unix socket has a process for a run. Raises DagsterUserCodeUnreachableError."""
    from dagster._grpc.client import DagsterGrpcClient
    from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult

    answer = DagsterGrpcClient(socket=str(code_socket)).can_cancel_execution(CanCancelExecutionRequest(run_id=run_id))
    return dg.deserialize_value(answer, CanCancelExecutionResult).can_cancel


@contextmanager
def web_application(
    instance: dg.DagsterInstance, workspace: str, lifespan: Callable[[Any], AbstractAsyncContextManager[None]]
) -> Iterator["Starlette"]:
    """The UI's application while the block runs. workspace: the path of a `workspace.yaml`."""
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import WorkspaceFileTarget
    from dagster_webserver.app import create_app_from_workspace_process_context
    from dagster_webserver.version import __version__

    target = WorkspaceFileTarget(paths=[workspace])
    with WorkspaceProcessContext(instance, workspace_load_target=target, version=__version__) as context:
        yield create_app_from_workspace_process_context(context, lifespan=lifespan)


def wrap_questions(events: Any, wrap: Callable[[Callable[..., bool]], Callable[..., bool]]) -> None:
    """Wrap the questions of a storage of events whether its database has a table or a column: it asks at each event."""
    for question in ("has_table", "_has_asset_key_col_on_connection"):
        if hasattr(events, question):
            setattr(events, question, wrap(getattr(events, question)))


def keep_connections(events: Any) -> None:
    """Let a storage of events in SQLite files keep its connections; any other storage is left as it is.

    By itself it opens the file, compiles the statements and waits for the disk for each event: half the time of a small run.
    Kept are the index of all runs and the file of the newest run, until the storage is disposed of. A loss of power may take
    the last events, as a kill does: they report what the ledger already has.
    """
    from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
    from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS

    if not isinstance(events, SqliteEventLogStorage):
        return
    connect_once, dispose, kept = events._connect, events.dispose, dict[str, sqlalchemy.Engine]()
    arguments = {"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False}  # a lock lets one thread in at a time

    @contextmanager
    def connect(shard: str) -> Iterator[sqlalchemy.Connection]:
        if shard not in events._initialized_dbs:
            with connect_once(shard):
                """Create the file's tables."""
        with events._db_lock:
            if shard not in kept:
                for former in kept.keys() - {INDEX_SHARD_NAME}:
                    kept.pop(former).dispose()
                url = events.conn_string_for_shard(shard)
                kept[shard] = sqlalchemy.create_engine(url, poolclass=StaticPool, connect_args=arguments)
                sqlalchemy.event.listen(kept[shard], "connect", lambda own, _: own.execute("pragma synchronous = normal"))
            with kept[shard].begin() as connection:
                yield connection

    def dispose_of_all() -> None:
        dispose()
        while kept:
            kept.popitem()[1].dispose()

    vars(events).update(_connect=connect, dispose=dispose_of_all)


@contextmanager
def stored_together(events: Any) -> Iterator[None]:
    """Let a storage in PostgreSQL store what the block logs in few statements; any other storage is left as it is.

    By itself it stores each materialization, and each result of a check, in several transactions of its own. These two can
    be read once the block has ended, or has logged an event of another type. An error in the block loses none of them.
    """
    from dagster_postgres import PostgresEventLogStorage

    if not isinstance(events, PostgresEventLogStorage):
        yield
        return
    store_one, waiting = events.store_event, list[dg.EventLogEntry]()

    def store_waiting() -> None:
        stored, waiting[:] = waiting.copy(), []
        for kind, group in groupby(stored, lambda event: event.dagster_event_type):
            entries = list(group)
            if kind is MATERIALIZED:
                events.store_event_batch(entries)
            else:
                for entry, number in zip(entries, _inserted(events, entries), strict=True):
                    events.store_asset_check_event(entry, number)

    def store(event: dg.EventLogEntry) -> None:
        can_wait = event.dagster_event_type in (MATERIALIZED, CHECKED)
        if can_wait:
            waiting.append(event)
        if not can_wait or len(waiting) == STORED_TOGETHER:
            store_waiting()
        if not can_wait:
            store_one(event)

    vars(events)["store_event"] = store
    try:
        yield
    finally:
        del vars(events)["store_event"]
        store_waiting()


def store_plans_together(events: Any) -> None:
    """Let a storage in PostgreSQL store the planned materializations of a run in one statement, not in two for each day."""
    from dagster_postgres import PostgresEventLogStorage

    if not isinstance(events, PostgresEventLogStorage):
        return
    store_batch = events.store_event_batch

    def store(batch: Sequence[dg.EventLogEntry]) -> None:
        planned = [event for event in batch if event.dagster_event_type is PLANNED]
        others = [event for event in batch if event.dagster_event_type is not PLANNED]
        if others:
            store_batch(others)
        if planned:
            numbers = _inserted(events, planned)
            newest = {event.get_dagster_event().asset_key: at for at, event in enumerate(planned)}
            with events.index_transaction() as connection:
                for at in newest.values():
                    events._store_asset_event(connection, planned[at], numbers[at])

    vars(events)["store_event_batch"] = store


def _inserted(events: Any, rows: Sequence[dg.EventLogEntry]) -> list[int]:
    """Insert rows into the table of events; their numbers, in order."""
    from dagster._core.storage.event_log.schema import SqlEventLogStorageTable

    statement = events.prepare_insert_event_batch(rows).returning(SqlEventLogStorageTable.c.id)
    with events._connect() as connection:
        return [number for (number,) in connection.execute(statement).fetchall()]


def handle_interrupts() -> None:
    """Install Dagster's handlers of signals, so that this process ends like Dagster's own programs."""
    from dagster._utils.interrupts import setup_interrupt_handlers

    setup_interrupt_handlers()
