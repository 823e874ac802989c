"""Which requests the UI answers: those of its own pages and of programs, not those of other web pages.

The UI has no login, so a page of anyone, open in the same browser, could otherwise start runs or read tables' previews
through the visitor's own machine: by a form or an image (cross-site request forgery), by a name that it points at
127.0.0.1 (DNS rebinding), or by a WebSocket, to which browsers apply no same-origin rule.
"""

from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
GRAPHQL = "/graphql"


def refusal(method: str, path: str, headers: Headers, hosts: Collection[str]) -> tuple[int, str] | None:
    """HTTP status and reason to refuse a request with, or None to answer it.

    method: of HTTP, or WEBSOCKET. hosts: names under which the UI may be asked for, in lower case, beside the loopback's.
    Browsers send Origin with each POST and WebSocket, and Sec-Fetch-* with all; programs send neither.
    """
    host = headers.get("host", "").lower()
    if urlsplit(f"//{host}").hostname not in {*LOOPBACK, *hosts}:
        return 421, f"The UI is not known as {host:.100}. If it should be, name the host in DARKROOM_UI_HOSTS."
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host:
        return 403, "Requests from pages of another origin are refused."
    is_visit = method == "GET" and headers.get("sec-fetch-mode") == "navigate"
    if is_visit and headers.get("sec-fetch-dest") in ("document", None):
        return None
    if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        return 403, "Requests from pages of another site are refused."
    if path.endswith(GRAPHQL):
        return _graphql_refusal(method, headers)
    return None


def _graphql_refusal(method: str, headers: Headers) -> tuple[int, str] | None:
    """Queries come as JSON, which a browser lets another origin's page send only after asking; never in an address."""
    if method == "POST" and not headers.get("content-type", "").startswith("application/json"):
        return 415, "Post GraphQL as application/json."
    if method in ("GET", "HEAD") and "text/html" not in headers.get("accept", ""):
        return 405, "Post GraphQL as application/json."
    return None


class Guard:
    """ASGI middleware that answers refused requests itself."""

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on, or refuse it before its body is read."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        method: Any = scope.get("method", "WEBSOCKET")
        refused = refusal(method, scope["path"], Headers(scope=scope), self._hosts)
        if refused is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": refused[1]})
        else:
            await PlainTextResponse(refused[1], status_code=refused[0])(scope, receive, send)
