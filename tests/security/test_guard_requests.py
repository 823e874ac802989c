"""Requests that no browser sends, on real sockets: malformed, half-sent, endless, too many, or with a proxy's headers forged."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from types import MappingProxyType

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.sync.client import connect as websocket
from websockets.typing import Origin

from resources.servers.guard import Guard
from resources.servers.web_protocol import BoundedProtocol
from resources.servers.webserver import config

JSON = "content-type: application/json\r\n"
LARGEST_BODY = 2_000


class Impatient(BoundedProtocol):
    """The same with deadlines that a test can wait for, and few connections."""

    deadline_s = MappingProxyType({"head": 0.5, "body": 1.0})
    max_connections = 12


@contextlib.contextmanager
def answering(protocol: type[BoundedProtocol]) -> Iterator[int]:
    """The port of a small application behind the guard, served as the UI is."""

    async def length(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"{request.url.scheme}, {len(await request.body())} bytes")

    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    routes = [Route("/folder/", length), WebSocketRoute("/graphql", echo)]
    app = Starlette(routes=[*routes, Route("/{path:path}", length, methods=["GET", "POST"])])
    app.add_middleware(Guard, hosts=[], max_body_bytes=LARGEST_BODY)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        settings = config(app)
        settings.http = protocol
        server = uvicorn.Server(settings)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with answering(Impatient) as port:
        yield port


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def rest(connection: socket.socket) -> str:
    """All that comes until the server closes."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65_536):
            parts.append(part)
    return b"".join(parts).decode("latin-1")


def answer(port: int, request: str, host: str = "host: 127.0.0.1\r\n") -> str:
    line, _, others = request.partition("\r\n")
    with connect(port) as connection:
        connection.sendall(f"{line}\r\n{host}connection: close\r\n{others}".encode("latin-1"))
        return rest(connection)


def status(text: str) -> int:
    return int(text.split(" ", 2)[1])


@pytest.mark.parametrize(
    "host",
    [
        "[::1",
        "[::1]]",
        "[zz::1]",
        "::1",
        "",
        "127.0.0.1:http",
        "127.0.0.1:1234567",
        "evil.example@127.0.0.1",
        "127.0.0.1/evil",
        "127.0.0.1#",
        "127.0.0.1?",
        "127.0.0.1 evil.example",
        "127.0.0.\xb9",
        "\u0131localhost".encode().decode("latin-1"),
    ],
)
def test_a_host_that_is_none_is_a_bad_request_with_a_sentence(port: int, host: str) -> None:
    said = answer(port, f"POST /graphql HTTP/1.1\r\n{JSON}content-length: 0\r\n\r\n", f"host: {host}\r\n")
    assert status(said) == 400
    assert "Host header" in said or "Invalid HTTP request" in said


@pytest.mark.parametrize(
    "origin", ["http://[::1", "http://", "//127.0.0.1", "http://a@127.0.0.1", "\xff", "http://127.0.0.1/x"]
)
def test_an_origin_that_is_none_is_a_bad_request_with_a_sentence(port: int, origin: str) -> None:
    said = answer(port, f"POST /graphql HTTP/1.1\r\n{JSON}origin: {origin}\r\ncontent-length: 0\r\n\r\n")
    assert status(said) == 400
    assert "Origin header" in said


def test_two_hosts_and_two_origins_are_bad_requests(port: int) -> None:
    both = "host: 127.0.0.1\r\nhost: evil.example\r\n"
    assert status(answer(port, "GET / HTTP/1.1\r\n\r\n", both)) == 400
    origins = "origin: http://127.0.0.1\r\norigin: http://evil.example\r\n"
    assert status(answer(port, f"GET / HTTP/1.1\r\n{origins}\r\n")) == 400


@pytest.mark.parametrize(
    "header", ["x-forwarded-host: 127.0.0.1", "forwarded: host=127.0.0.1", "x-forwarded-server: localhost"]
)
def test_what_a_proxy_would_add_makes_no_name_known(port: int, header: str) -> None:
    assert status(answer(port, f"GET / HTTP/1.1\r\n{header}\r\n\r\n", "host: evil.example\r\n")) == 421


def test_a_redirect_stays_here_whatever_the_headers_and_the_path_say(port: int) -> None:
    forged = "x-forwarded-host: evil.example\r\nx-forwarded-proto: https\r\nx-forwarded-prefix: //evil.example\r\n"
    said = answer(port, f"GET /folder HTTP/1.1\r\n{forged}\r\n")
    assert "http, 0 bytes" in said or "location: http://127.0.0.1/folder/" in said
    for path in ("//evil.example/folder", "/\\evil.example/", "http://evil.example/folder"):
        said = answer(port, f"GET {path} HTTP/1.1\r\n{forged}\r\n")
        assert "location: http://evil" not in said.lower()
        assert "location: //" not in said.lower()


def test_a_half_sent_head_is_closed_with_a_sentence_however_its_bytes_drip(port: int) -> None:
    with connect(port) as silent, connect(port) as dripping:
        started = time.monotonic()
        dripping.sendall(b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n")
        with contextlib.suppress(OSError):
            while time.monotonic() - started < 5:
                dripping.sendall(b"x-drip: 1\r\n")
                time.sleep(0.1)
        assert time.monotonic() - started < 4, "each drop moved the deadline"
        assert status(rest(silent)) == 408


@pytest.mark.slow
def test_a_half_sent_body_is_closed_however_its_bytes_drip(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(f"POST / HTTP/1.1\r\nhost: 127.0.0.1\r\n{JSON}content-length: 1000\r\n\r\n".encode())
        started = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - started < 8:
                connection.sendall(b" ")
                time.sleep(0.1)
        assert time.monotonic() - started < 6, "each drop moved the deadline"


@pytest.mark.slow
def test_the_body_of_a_refused_request_is_not_waited_for(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(f"POST /graphql HTTP/1.1\r\nhost: evil.example\r\n{JSON}content-length: 1000\r\n\r\n".encode())
        said = rest(connection)
    assert status(said) == 421


def test_a_kept_connection_answers_again_and_a_pipelined_request_too(port: int) -> None:
    one = b"POST / HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 5\r\n\r\nhello"
    with connect(port) as connection:
        connection.sendall(one)
        assert status(connection.recv(65_536).decode()) == 200
        time.sleep(0.8)  # longer than a head may take: what is kept open owes none
        connection.sendall(one + one[:20])
        assert status(connection.recv(65_536).decode()) == 200
        connection.sendall(one[20:])
        assert status(connection.recv(65_536).decode()) == 200


def test_a_body_over_the_bound_is_refused_whether_its_length_is_said_or_not(port: int) -> None:
    long = "x" * (LARGEST_BODY + 1)
    assert status(answer(port, f"POST / HTTP/1.1\r\ncontent-length: {10**12}\r\n\r\n")) == 413
    chunked = "".join(f"{len(part):x}\r\n{part}\r\n" for part in (long[:1_500], long[1_500:])) + "0\r\n\r\n"
    assert status(answer(port, f"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n{chunked}")) == 413
    fits = long[:LARGEST_BODY]
    assert f"{LARGEST_BODY} bytes" in answer(port, f"POST / HTTP/1.1\r\ncontent-length: {len(fits)}\r\n\r\n{fits}")


def test_connections_are_bounded_and_free_again_once_the_half_sent_ones_are_closed(port: int) -> None:
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(connect(port)) for _ in range(60)]
        for connection in held:
            with contextlib.suppress(OSError):
                connection.sendall(b"GET / HTTP/1.1\r\n")
        ends = [rest(connection) for connection in held]
        refused = [said for said in ends if said and status(said) == 503]
        assert len(refused) >= 60 - Impatient.max_connections
        assert status(answer(port, "GET / HTTP/1.1\r\n\r\n")) == 200


def test_every_answer_forbids_frames_and_pictures_from_elsewhere(port: int) -> None:
    for said in (answer(port, "GET / HTTP/1.1\r\n\r\n"), answer(port, "GET / HTTP/1.1\r\n\r\n", "host: evil.example\r\n")):
        head = said.partition("\r\n\r\n")[0].lower()
        assert "frame-ancestors 'none'" in head
        assert "img-src 'self' data:" in head
        assert "x-frame-options: deny" in head
        assert "x-content-type-options: nosniff" in head


@pytest.mark.slow
def test_a_websocket_lives_on_after_the_deadlines_of_requests(port: int, caplog: pytest.LogCaptureFixture) -> None:
    with websocket(f"ws://127.0.0.1:{port}/graphql", origin=Origin(f"http://127.0.0.1:{port}")) as connection:
        for text in ("before", "after"):
            connection.send(text)
            assert connection.recv(timeout=20) == text
            time.sleep(2 * max(Impatient.deadline_s.values()))
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
