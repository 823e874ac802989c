"""A proxy in front of a real Label Studio, for faults that it can't be made to show: it kills, delays, changes, refuses."""

import http.client
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

Timing = Literal["before", "after", "late"]
"""When a request reaches the tool: never, before the kill, or some time after it."""
LATE_S = 4.0


@dataclass(frozen=True)
class Seen:
    """A request: method, path with query, body."""

    method: str
    path: str
    body: bytes


@dataclass
class Gate:
    """url: for clients. on_request: changes the body or returns a status to refuse with; on_answer: changes the answer's body.

    kill: at the request of this number (from 1) the process `victim` is killed -9, at this time.
    """

    url: str = ""
    victim: int = 0
    kill: tuple[int, Timing] | None = None
    on_request: Callable[[Seen], bytes | int] = lambda seen: seen.body
    on_answer: Callable[[Seen, bytes], bytes] = lambda seen, body: body
    seen: list[Seen] = field(default_factory=list)
    has_killed: bool = False
    late: list[threading.Thread] = field(default_factory=list)


@contextmanager
def gate_to(url: str) -> Iterator[Gate]:  # noqa: C901  a class with its methods
    """A gate on a free port while the block runs."""
    gate, port = Gate(), int(url.rpartition(":")[2])

    def forward(seen: Seen, headers: dict[str, str]) -> tuple[int, list[tuple[str, str]], bytes]:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=120)) as connection:
            connection.request(seen.method, seen.path, seen.body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            seen = Seen(self.command, self.path, body)
            gate.seen.append(seen)
            headers = {key: value for key, value in self.headers.items() if key.lower() not in ("host", "content-length")}
            if gate.kill and len(gate.seen) == gate.kill[0]:
                self._kill(seen, headers, gate.kill[1])
                return
            changed = gate.on_request(seen)
            if isinstance(changed, int):
                self._answer(changed, [], b'{"detail": "by a test"}')
                return
            status, answered, content = forward(Seen(seen.method, seen.path, changed), headers)
            self._answer(status, answered, gate.on_answer(seen, content))

        def _kill(self, seen: Seen, headers: dict[str, str], timing: Timing) -> None:
            if timing == "after":
                forward(seen, headers)
            os.kill(gate.victim, signal.SIGKILL)
            gate.has_killed = True
            if timing == "late":
                gate.late.append(threading.Thread(target=lambda: (time.sleep(LATE_S), forward(seen, headers))))
                gate.late[-1].start()
            self.close_connection = True

        def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
            self.send_response(status)
            for name, value in headers:
                if name.lower() in ("content-type", "date"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if status != http.client.NO_CONTENT:
                self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A killed client is no news."""

    server = Server(("127.0.0.1", 0), Handler)
    gate.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield gate
    finally:
        for one in gate.late:
            one.join()
        server.shutdown()
        thread.join()
        server.server_close()
