"""Runs the application on uvicorn, with limits that it lacks: on the time and the size of a request's headers.

uvicorn on httptools and uvloop takes 0.15 ms of CPU for a small request, granian 2.8 0.21 (`docs/serving.md`).
"""

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pipeline_assets.serving.endpoint.http.application import Application

HEADERS_S = 10.0
"""Time for the headers of a connection's first request."""
IDLE_S = 30
HEADERS_BYTES = 64 * 2**10
CONNECTIONS = 1_000
GRACE_S = 30
"""For requests in progress when the server is told to end."""


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose headers are too long, or come too slowly."""

    _head_bytes = 0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """The headers of the first request have to come in time."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(HEADERS_S, self._close)

    def data_received(self, data: bytes) -> None:
        """Count the bytes before the headers' end."""
        self._head_bytes += len(data)
        if self._deadline is None and (self.cycle is None or self.cycle.response_complete):
            self._deadline = self.loop.call_later(HEADERS_S, self._close)  # of the next request on this connection
        super().data_received(data)
        if self._deadline is not None and self._head_bytes > HEADERS_BYTES:
            self._close()

    def on_headers_complete(self) -> None:
        """The headers came in time."""
        self._stop_clock()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """What comes now are the next request's headers."""
        self._head_bytes = 0
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is left to wait for."""
        self._stop_clock()
        super().connection_lost(exc)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close(self) -> None:
        self._stop_clock()
        if not self.transport.is_closing():
            self.transport.abort()


class Server(uvicorn.Server):
    """Ends by SIGINT or SIGTERM after the requests in progress, and returns. on_start: is given the port."""

    def __init__(self, config: uvicorn.Config, on_start: Callable[[int], object]) -> None:
        super().__init__(config)
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then tell the port."""
        await super().startup(sockets)
        if self.servers:
            self._on_start(self.servers[0].sockets[0].getsockname()[1])

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, without raising them again at the end: what follows puts the log into the lake."""
        is_main = threading.current_thread() is threading.main_thread()
        signals = (signal.SIGINT, signal.SIGTERM) if is_main else ()
        former = {number: signal.signal(number, self.handle_exit) for number in signals}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)


def server_of(
    application: Application,
    address: tuple[str, int],
    tls: tuple[Path, Path] | None,
    on_start: Callable[[int], object],
) -> Server:
    """A server that is not listening yet. address: port 0 for a free one. tls: PEM files of the certificate and its key."""
    certificate, key = tls or (None, None)
    config = uvicorn.Config(
        application,
        host=address[0],
        port=address[1],
        loop="uvloop",
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=GRACE_S,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    return Server(config, on_start)
