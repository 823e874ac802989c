"""Decides which requests the UI answers: those of its own pages and of programs, not those of other web pages.

The UI has no login. Without this guard any page in the same browser could start runs or read previews of tables: by a form
or an image (cross-site request forgery), by a name that resolves to 127.0.0.1 (DNS rebinding), or by a WebSocket, for which
browsers have no same-origin rule. Conversely, untrusted text in the UI can't make its pages send requests to other servers:
headers of each answer forbid it.
"""

import re
from collections.abc import Collection
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from resources.addresses import LOOPBACK

GRAPHQL = "/graphql"
AUTHORITY = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?", re.ASCII)
"""A host with or without a port, in lower case, without user and path."""
ORIGIN = re.compile(rf"null|(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>{AUTHORITY.pattern})", re.ASCII)
MAX_BODY_BYTES = 8 * 2**20
"""A backfill that names 10,000 days by their keys sends 130 KB."""
CONTENT_POLICY = "; ".join(
    [
        "img-src 'self' data: blob:",  # previews and pictures are inline, icons are the UI's own
        "media-src 'self'",
        "font-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "manifest-src 'self'",
        "frame-src 'none'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)
"""In addition to Dagster's own policy, which names the scripts that may run: a browser applies both."""
ANSWER_HEADERS = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def refusal(method: str, path: str, headers: Headers, hosts: Collection[str]) -> tuple[int, str] | None:
    """The HTTP status and reason for refusing a request, or None to answer it.

    method: of HTTP, or WEBSOCKET. hosts: allowed host names in lower case, besides those of the loopback. Browsers send
    Origin with each POST and WebSocket, and Sec-Fetch-* with all requests; programs send neither. Headers of proxies
    (X-Forwarded-*, Forwarded) are ignored: anyone can send them.
    """
    host_headers, origins = headers.getlist("host"), headers.getlist("origin")
    host = host_headers[0].lower() if len(host_headers) == 1 else ""
    authority = AUTHORITY.fullmatch(host)
    if authority is None:
        return 400, "The request names no host, or more than one, or what can't be one: send one Host header, as name:port."
    if authority["name"].strip("[]") not in {*LOOPBACK, *hosts}:
        return 421, f"The UI is not known as {host:.100}. If it should be, name the host in DARKROOM_UI_HOSTS."
    pages = [ORIGIN.fullmatch(origin.lower()) for origin in origins]
    if len(pages) > 1 or None in pages:
        return 400, "The request's Origin header is none: a browser sends one, as scheme://name:port."
    if any(page is not None and page["host"] != host for page in pages):
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
    """Queries must be JSON bodies, which browsers send across origins only after a preflight request; never URLs."""
    if method == "POST" and not headers.get("content-type", "").startswith("application/json"):
        return 415, "Post GraphQL as application/json."
    if method in ("GET", "HEAD") and "text/html" not in headers.get("accept", ""):
        return 405, "Post GraphQL as application/json."
    return None


class Guard:
    """ASGI middleware that refuses requests, limits bodies, and adds its headers to each answer."""

    def __init__(self, app: ASGIApp, hosts: Collection[str], max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it before its body is read."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        method: Any = scope.get("method", "WEBSOCKET")
        headers = Headers(scope=scope)
        refused = refusal(method, scope["path"], headers, self._hosts) or self._too_long(headers)
        if scope["type"] == "websocket":
            if refused is None:
                await self._app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008, "reason": refused[1]})
        elif refused is None:
            await self._answer(scope, receive, send)
        else:
            await PlainTextResponse(refused[1], status_code=refused[0])(scope, receive, _guarded(send))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, self._bounded(receive), _guarded(send))
        except ClientDisconnect:
            return  # nobody waits for the answer

    def _too_long(self, headers: Headers) -> tuple[int, str] | None:
        length = headers.get("content-length", "0")
        is_too_long = length.isdecimal() and int(length) > self._max_body_bytes
        return (413, self._length_message) if is_too_long else None

    def _bounded(self, receive: Receive) -> Receive:
        """Count the bytes of a body without a length as they arrive. Starlette turns the exception into an answer."""
        received = 0

        async def bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_body_bytes:
                raise HTTPException(413, self._length_message)
            return message

        return bounded

    @property
    def _length_message(self) -> str:
        return f"A request's body may have {self._max_body_bytes:,} bytes."


def _guarded(send: Send) -> Send:
    """`send` with the guard's headers added to the head of the answer."""

    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.append("Content-Security-Policy", CONTENT_POLICY)
            headers.update(ANSWER_HEADERS)
        await send(message)

    return guarded
