"""A real HTTP proxy between Darkroom and S3 that fails as asked: it answers errors, waits, cuts, flips bytes, holds.

Requests go on unchanged, the Host header included, so that their signatures hold. What fails is a `Fault`: which
requests (method, a pattern in the target, from the n-th on, how many of them) and what happens to each. The proxy is a
process of its own: libraries under test may wait for S3 without letting other threads of theirs run.
"""

import http.client
import itertools
import multiprocessing
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.managers import BaseManager
from typing import Any
from urllib.parse import urlsplit

PATIENCE_S = 60
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "expect", "proxy-connection"})
_CODES = {500: "InternalError", 503: "SlowDown"}


@dataclass(frozen=True)
class Reply:
    """A server's answer, its body whole."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Hangup(Exception):
    """Close the client's connection, after the reply's head and so many bytes of its body if there is one."""

    def __init__(self, reply: Reply | None = None, body_bytes: int = 0) -> None:
        self.reply, self.body_bytes = reply, body_bytes


Forward = Callable[[], Reply]


@dataclass(frozen=True)
class Answer:
    """S3's own kind of error; the request never reaches the server."""

    status: int
    code: str = ""
    message: str = "by a test"

    def reply(self, forward: Forward, over: threading.Event) -> Reply:
        code = self.code or _CODES[self.status]
        body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{self.message}</Message></Error>'
        return Reply(self.status, (("Content-Type", "application/xml"),), body.encode())


@dataclass(frozen=True)
class Wait:
    """The answer comes later."""

    seconds: float

    def reply(self, forward: Forward, over: threading.Event) -> Reply:
        time.sleep(self.seconds)
        return forward()


@dataclass(frozen=True)
class HoldBack:
    """The request goes on to the server when the fault is over, and is answered."""

    def reply(self, forward: Forward, over: threading.Event) -> Reply:
        over.wait(PATIENCE_S)
        return forward()


@dataclass(frozen=True)
class Hold:
    """Nothing comes back until the fault is over; then the connection is closed.

    forwarded: whether the server got the request and has done it by the time that the fault counts as met.
    """

    forwarded: bool

    def reply(self, forward: Forward, over: threading.Event) -> Reply:
        over.wait(PATIENCE_S)
        raise Hangup


@dataclass(frozen=True)
class LoseAnswer:
    """The server does it, and the client is cut off before it hears so."""

    def reply(self, forward: Forward, over: threading.Event) -> Reply:
        forward()
        raise Hangup


@dataclass(frozen=True)
class Cut:
    """The answer ends within its body, after this share of it."""

    share: float = 0.5

    def reply(self, forward: Forward, over: threading.Event) -> Reply:
        reply = forward()
        raise Hangup(reply, int(len(reply.body) * self.share))


@dataclass(frozen=True)
class FlipByte:
    """One byte in the middle of the body is another."""

    def reply(self, forward: Forward, over: threading.Event) -> Reply:
        reply = forward()
        body = bytearray(reply.body)
        body[len(body) // 2] ^= 0xFF
        return Reply(reply.status, reply.headers, bytes(body))


@dataclass(frozen=True)
class Fault:
    """What happens to the requests that match; the others pass. times=None: for as long as it is set."""

    act: Answer | Wait | HoldBack | Hold | LoseAnswer | Cut | FlipByte
    target: str
    method: str = ".*"
    first: int = 1
    times: int | None = 1


class _Set:
    """A fault that is set, with what came of it so far."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.seen = self.taken = self.met = 0
        self.over = threading.Event()

    def takes(self, method: str, target: str) -> bool:
        fault = self.fault
        if not (re.fullmatch(fault.method, method) and re.search(fault.target, target)):
            return False
        self.seen += 1
        if self.seen < fault.first or (fault.times is not None and self.taken >= fault.times):
            return False
        self.taken += 1
        return True


class FaultServer:
    """The proxy itself, in its own process, listening on 127.0.0.1 until that ends."""

    def __init__(self, upstream: str) -> None:
        where = urlsplit(upstream)
        self._upstream = (where.hostname, where.port)
        # One context for all: to read the machine's authorities takes longer than a request.
        trusting = ssl.create_default_context() if where.scheme == "https" else None
        self._kind = partial(http.client.HTTPSConnection, context=trusting) if trusting else http.client.HTTPConnection
        self._lock = threading.Lock()
        self._set: dict[int, _Set] = {}
        self._numbers = itertools.count()
        self._requests: list[tuple[str, str]] = []
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"reply_to": self._reply_to}))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def set(self, fault: Fault) -> int:
        with self._lock:
            number = next(self._numbers)
            self._set[number] = _Set(fault)
            return number

    def met(self, numbers: list[int]) -> list[int]:
        return [self._set[number].met for number in numbers]

    def unset(self, number: int) -> None:
        with self._lock:
            self._set.pop(number).over.set()

    def requests(self, target: str) -> list[tuple[str, str]]:
        with self._lock:
            return [request for request in self._requests if re.search(target, request[1])]

    def _reply_to(self, method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> Reply:
        with self._lock:
            self._requests.append((method, target))
            found = next((one for one in self._set.values() if one.takes(method, target)), None)

        def forward() -> Reply:
            return self._forward(method, target, headers, body)

        if found is None:
            return forward()
        if isinstance(found.fault.act, Hold) and found.fault.act.forwarded:
            forward()
        found.met += 1
        return found.fault.act.reply(forward, found.over)

    def _forward(self, method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> Reply:
        connection = self._kind(*self._upstream, timeout=PATIENCE_S)
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in headers:
                connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            kept = tuple((n, v) for n, v in response.getheaders() if n.lower() not in _HOP_BY_HOP)
            return Reply(response.status, kept, response.read())
        finally:
            connection.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed has closed its connection: that is what these tests do."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    reply_to: Callable[[str, str, list[tuple[str, str]], bytes], Reply]

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = [(n, v) for n, v in self.headers.items() if n.lower() not in _HOP_BY_HOP]
        try:
            reply = type(self).reply_to(self.command, self.path, headers, body)
        except Hangup as hangup:
            if hangup.reply is not None:
                self._send(hangup.reply, hangup.body_bytes)
            self.close_connection = True
            return
        self._send(reply, len(reply.body))

    def _send(self, reply: Reply, body_bytes: int) -> None:
        self.send_response_only(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        if reply.status not in (204, 304) and not any(name.lower() == "content-length" for name, _ in reply.headers):
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body[:body_bytes])
        self.wfile.flush()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass  # noqa: N815

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


class _Manager(BaseManager):
    """Starts the server's process and carries calls to it."""


_Manager.register("FaultServer", FaultServer)


class FaultProxy:
    """The proxy as a test sees it: until it is stopped, `endpoint` is a way to S3."""

    def __init__(self, upstream: str) -> None:
        self._manager = _Manager(ctx=multiprocessing.get_context("spawn"))
        self._manager.start()
        self._server = self._manager.FaultServer(upstream)  # type: ignore[attr-defined]  # registered above
        self.endpoint: str = self._server.endpoint()

    def stop(self) -> None:
        """End its process."""
        self._manager.shutdown()

    def requests(self, target: str) -> list[tuple[str, str]]:
        """Method and target of the requests so far whose target matches."""
        return list(self._server.requests(target))

    @contextmanager
    def faulty(self, *faults: Fault) -> Iterator[Callable[[], list[int]]]:
        """These faults for the length of a block; what they hold is let go at its end.

        Gives a function that says how often each has happened.
        """
        numbers = [self._server.set(fault) for fault in faults]
        try:
            yield lambda: list(self._server.met(numbers))
        finally:
            for number in numbers:
                self._server.unset(number)
