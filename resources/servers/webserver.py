"""Dagster's webserver behind the guard: `python -m resources.servers.webserver DESCRIPTOR WORKSPACE_FILE [HOST ...]`.

Started by `darkroom ui`, which passes it the listening socket, so that no other program can take the port, also during a
restart. DAGSTER_HOME is the instance; HOSTs are names under which a proxy publishes the UI.
"""

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any

import dagster as dg
import uvicorn
from starlette.types import ASGIApp

from resources.dagster_private import handle_interrupts, web_application
from resources.servers.guard import MAX_BODY_BYTES, Guard
from resources.servers.web_protocol import BoundedProtocol

STATEMENT_TIMEOUT_MS = 15_000
POOL_RECYCLE_S = 3_600
POOL_OVERFLOW = 20
MAX_HEAD_BYTES = 64 * 2**10
"""Limit for a request's line and headers. Browsers send the cookies of all ports of a host to each port."""


@contextlib.asynccontextmanager
async def _lifespan(_: Any) -> AsyncIterator[None]:
    # uvicorn cancels this on Ctrl-C.
    with contextlib.suppress(asyncio.CancelledError):
        yield


def serve(listener: socket.socket, workspace: str, hosts: Sequence[str]) -> None:
    """Serve until interrupted. hosts: see `guard.refusal`."""
    with dg.DagsterInstance.get() as instance:
        instance.optimize_for_webserver(STATEMENT_TIMEOUT_MS, POOL_RECYCLE_S, POOL_OVERFLOW)
        with web_application(instance, workspace, _lifespan) as app:
            app.add_middleware(Guard, hosts=hosts)
            with contextlib.suppress(KeyboardInterrupt):
                uvicorn.Server(config(app)).run(sockets=[listener])


def config(app: ASGIApp) -> uvicorn.Config:
    """Uvicorn's configuration, with the limits of `web_protocol` and `guard`."""
    return uvicorn.Config(
        app,
        log_level="warning",
        http=BoundedProtocol,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        ws_max_size=MAX_BODY_BYTES,
        proxy_headers=False,
    )


if __name__ == "__main__":
    handle_interrupts()
    listener_socket = socket.socket(fileno=int(sys.argv[1]))
    listener_socket.set_inheritable(False)
    serve(listener_socket, sys.argv[2], sys.argv[3:])
