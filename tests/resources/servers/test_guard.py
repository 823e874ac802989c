"""The guard before the UI: what its own pages and programs send passes, what a stranger's page can send does not."""

import asyncio

import pytest
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from resources.servers.guard import Guard, refusal

HERE = {"host": "127.0.0.1:3000"}
JSON = {"content-type": "application/json"}
OWN_PAGE = {
    "origin": "http://127.0.0.1:3000",
    "sec-fetch-site": "same-origin",
    "sec-fetch-mode": "cors",
    "sec-fetch-dest": "empty",
}
STRANGER = {"origin": "https://evil.example", "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}


def status(method: str, path: str, *parts: dict[str, str], hosts: tuple[str, ...] = ()) -> int | None:
    headers = {name: value for part in parts for name, value in part.items()}
    refused = refusal(method, path, Headers(headers), hosts)
    return refused and refused[0]


@pytest.mark.parametrize("host", ["127.0.0.1:3000", "localhost:3000", "LOCALHOST", "[::1]:3000"])
def test_a_program_on_this_machine_is_answered(host: str) -> None:
    assert status("POST", "/graphql", {"host": host}, JSON) is None
    assert status("GET", "/server_info", {"host": host}) is None


def test_the_pages_of_the_ui_are_answered() -> None:
    page = {"sec-fetch-site": "none", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document", "accept": "text/html"}
    assert status("GET", "/", HERE, page) is None
    assert status("GET", "/graphql", HERE, page) is None  # the page with the query editor
    assert status("POST", "/graphql", HERE, JSON, OWN_PAGE) is None
    assert status("WEBSOCKET", "/graphql", HERE, OWN_PAGE) is None
    assert status("GET", "/logs/1/2.out", HERE, OWN_PAGE) is None


def test_a_link_on_another_page_opens_the_ui() -> None:
    link = {
        "sec-fetch-site": "cross-site",
        "sec-fetch-mode": "navigate",
        "sec-fetch-dest": "document",
        "accept": "text/html",
    }
    assert status("GET", "/runs/1", HERE, link) is None


@pytest.mark.parametrize("method", ["GET", "POST", "WEBSOCKET"])
@pytest.mark.parametrize("path", ["/graphql", "/report_asset_materialization/raw_uploads", "/logs/1/2.out"])
def test_a_strangers_page_is_refused(method: str, path: str) -> None:
    assert status(method, path, HERE, STRANGER, JSON) == 403


def test_a_page_of_another_port_of_this_machine_is_a_stranger() -> None:
    assert status("POST", "/graphql", HERE, JSON, {"origin": "http://127.0.0.1:8080", "sec-fetch-site": "same-site"}) == 403
    assert status("WEBSOCKET", "/graphql", HERE, {"origin": "null"}) == 403


def test_a_page_in_a_frame_is_refused() -> None:
    frame = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe", "accept": "text/html"}
    assert status("GET", "/runs", HERE, frame) == 403


def test_an_image_whose_address_is_a_mutation_is_refused_even_by_a_browser_that_says_nothing() -> None:
    assert status("GET", "/graphql", HERE, {"accept": "image/*"}) == 405
    assert status("POST", "/graphql", HERE, {"content-type": "text/plain"}) == 415
    assert status("POST", "/graphql", HERE) == 415


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:3000", "127.0.0.1.evil.example", "evil.example.:3000", "[::2]:3000"]
)
def test_a_name_that_was_bound_to_this_machine_by_others_is_refused(host: str) -> None:
    assert status("POST", "/graphql", {"host": host, "origin": f"http://{host}"}, JSON) == 421


def test_a_named_proxy_is_answered_for_its_own_pages_alone() -> None:
    proxied = {"host": "darkroom.example.com"}
    own = {"origin": "https://darkroom.example.com", "sec-fetch-site": "same-origin"}
    names = ("darkroom.example.com",)
    assert status("POST", "/graphql", proxied, JSON, own) == 421
    assert status("POST", "/graphql", proxied, JSON, own, hosts=names) is None
    assert status("POST", "/graphql", proxied, JSON, STRANGER, hosts=names) == 403


def sent_by(guard: Guard, kind: str, headers: dict[str, str]) -> list[Message]:
    """The messages with which a guarded application answers one request."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": f"{kind}.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": kind, "path": "/graphql", "headers": [(k.encode(), v.encode()) for k, v in headers.items()]}
    asyncio.run(guard(scope | ({"method": "POST"} if kind == "http" else {}), receive, send))
    return sent


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_the_middleware_refuses_before_the_application_sees_the_request(kind: str) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "answered"})

    guard = Guard(application, hosts=["Darkroom.Example.com"])
    assert sent_by(guard, kind, {"host": "darkroom.example.com", **JSON}) == [{"type": "answered"}]
    first, *_ = sent_by(guard, kind, {"host": "darkroom.example.com", **JSON, **STRANGER})
    assert first["type"] == ("http.response.start" if kind == "http" else "websocket.close")
    assert first.get("status", 403) == 403
