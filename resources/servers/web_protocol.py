"""Deadlines and a limit of connections for clients of the UI: HTTP/1.1 by uvicorn and h11.

uvicorn alone waits without a limit for the rest of a request, so that a few hundred incomplete ones would use up its file
descriptors. `resources.servers.guard` decides which requests are answered.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Literal

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 256
"""Limit of open connections, including WebSockets. A tab of the UI has up to seven."""
DEADLINE_S: Mapping[str, float] = {"head": 10.0, "body": 60.0}
"""Seconds from the first byte of the body, or from the connection's start for the head, until it is complete."""

Part = Literal["head", "body"]


class BoundedProtocol(H11Protocol):
    """One connection. A late request is answered with 408, a connection beyond the limit with 503; both are closed."""

    max_connections = MAX_CONNECTIONS
    deadline_s = DEADLINE_S
    _waits_for: Part | None = None
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start to wait for a request."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            self._end(503, "Too many connections are open: close some, and try again.")
        else:
            self._set_deadline()

    def data_received(self, data: bytes) -> None:
        """Receive data. Further data of the same part do not extend its deadline."""
        super().data_received(data)
        self._set_deadline()

    def on_response_complete(self) -> None:
        """Continue with data that were received meanwhile."""
        super().on_response_complete()
        self._set_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the deadline."""
        super().connection_lost(exc)
        self._wait_for(None)

    def _set_deadline(self) -> None:
        state = self.conn.their_state
        if self.transport.is_closing() or self.transport.get_protocol() is not self:  # closed, or a WebSocket's by now
            self._wait_for(None)
        elif state is h11.SEND_BODY:
            self._wait_for("body")
        elif state is h11.IDLE and (self.cycle is None or self.conn.trailing_data[0]):
            self._wait_for("head")
        else:  # a complete request, or an idle connection, for which uvicorn has its own timeout
            self._wait_for(None)

    def _wait_for(self, part: Part | None) -> None:
        if part == self._waits_for:
            return
        if self._deadline is not None:
            self._deadline.cancel()
        self._waits_for = part
        self._deadline = self.loop.call_later(self.deadline_s[part], self._give_up, part) if part else None

    def _give_up(self, part: Part) -> None:
        is_answered = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        if part == "body" and (is_answered or self.conn.our_state is h11.DONE):
            self.transport.close()
        else:
            self._end(408, f"The {part} of the request was not sent within {self.deadline_s[part]:g} s.")

    def _end(self, status: int, sentence: str) -> None:
        head = (
            f"HTTP/1.1 {status} \r\nconnection: close\r\ncontent-type: text/plain\r\ncontent-length: {len(sentence)}\r\n\r\n"
        )
        self.transport.write((head + sentence).encode("ascii"))
        self.transport.close()
