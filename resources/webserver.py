"""Dagster's webserver behind the guard, on 127.0.0.1: `python -m resources.webserver PORT WORKSPACE_FILE [HOST ...]`.

Started by `darkroom ui`. DAGSTER_HOME names the instance; HOSTs are names that a proxy asks for it by.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any

import dagster as dg
import uvicorn
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._utils.interrupts import setup_interrupt_handlers
from dagster_webserver.app import create_app_from_workspace_process_context
from dagster_webserver.version import __version__

from resources.guard import Guard

STATEMENT_TIMEOUT_MS = 15_000
POOL_RECYCLE_S = 3_600
POOL_OVERFLOW = 20


@contextlib.asynccontextmanager
async def _lifespan(_: Any) -> AsyncIterator[None]:
    # Uvicorn cancels it on Ctrl-C.
    with contextlib.suppress(asyncio.CancelledError):
        yield


def serve(port: int, workspace: str, hosts: Sequence[str]) -> None:
    """Serve until interrupted. hosts: see `guard.refusal`."""
    with dg.DagsterInstance.get() as instance:
        instance.optimize_for_webserver(STATEMENT_TIMEOUT_MS, POOL_RECYCLE_S, POOL_OVERFLOW)
        target = WorkspaceFileTarget(paths=[workspace])
        with WorkspaceProcessContext(instance, workspace_load_target=target, version=__version__) as context:
            app = create_app_from_workspace_process_context(context, lifespan=_lifespan)
            app.add_middleware(Guard, hosts=hosts)
            uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    setup_interrupt_handlers()
    serve(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
