"""The ASGI application: every request passes the same gate, then one handler answers it. No model and no store here.

The order of the gate: path and method, host, origin, token, rate, size, and the body within its time. Whatever is refused is
JSON `{"reason", "detail", "request_id"}`, and counted by its reason.
"""

import asyncio
import json
import math
import re
import secrets
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline_assets.errors import AskRefused
from pipeline_assets.serving.endpoint.http.metrics import Metrics
from pipeline_assets.serving.endpoint.http.rates import Rates

MAX_BODY_BYTES = 32 * 2**20
BODIES_BYTES = 256 * 2**20
"""Of all requests that are being read or answered at a time."""
DRAIN_S, DRAIN_BYTES = 20.0, 64 * 2**20
"""Of a refused request's body."""
RETRY_AFTER_S = {429: 1, 503: 5}
"""By status, where the refusal says nothing else."""
JSON = "application/json"
HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_encoded = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_BEARER = re.compile(r"[Bb]earer +([\x21-\x7e]{1,200})")
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass(frozen=True)
class Request:
    """A request that has passed the gate. body: whole."""

    id: str
    content_type: str
    body: bytes


@dataclass(frozen=True)
class Reply:
    """What a handler answers."""

    body: bytes
    kind: str = JSON
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()


def json_reply(value: Any, status: int = 200) -> Reply:
    """A reply of JSON without spaces; NaN can't be in it."""
    return Reply(_encoded(value).encode(), status=status)


@dataclass(frozen=True)
class Route:
    """A path with one method. is_open: needs neither token nor known host, since it tells nothing of data or users."""

    method: str
    handle: Callable[[Request], Awaitable[Reply]]
    max_body_bytes: int = 0
    is_open: bool = False


@dataclass(frozen=True)
class Gate:
    """Who may ask. hosts: names in the Host header, without port. token_name: of a token's text; needs_token: at present.

    rates: by token, or by address without tokens. body_s, reply_s: time of a request's body, and of its answer.
    """

    hosts: frozenset[str]
    needs_token: Callable[[], bool]
    token_name: Callable[[str], str | None]
    rates: Rates
    body_s: float = 20.0
    reply_s: float = 20.0


@dataclass
class Flag:
    """Whether a request's body was read to its end."""

    value: bool = False


class GoneClient(Exception):
    """The client has closed the connection before its body was complete."""


@dataclass
class Application:
    """Routes behind a gate. faults: which errors of resources become which status and reason."""

    routes: Mapping[str, Route]
    gate: Gate
    metrics: Metrics
    faults: Sequence[tuple[type[Exception], int, str]] = ()
    in_flight: int = 0
    bodies_bytes: int = 0
    clock_s: Callable[[], float] = field(default=time.monotonic)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            raise ValueError(f"no {scope['type']} here")
        started, headers = self.clock_s(), scope["headers"]
        sent_id = _header(headers, b"x-request-id")
        request_id = sent_id if _REQUEST_ID.fullmatch(sent_id) else secrets.token_hex(8)
        route = self.routes.get(scope["path"])
        is_read = Flag()
        self.in_flight += 1
        try:
            reply = await self._answer(scope, receive, route, request_id, is_read)
        except GoneClient:
            self.metrics.count("refused_total", "requests that were not answered, by reason", reason="client_gone")
            return
        except Exception as error:
            reply = self._refusal(error, request_id)
        finally:
            self.in_flight -= 1
        if not is_read.value and (reply.status == 408 or not await _drained(receive)):
            # What is left of the body would be taken for the next request.
            reply = replace(reply, headers=(*reply.headers, (b"connection", b"close")))
        name = scope["path"] if route else "other"
        self.metrics.observe(name, self.clock_s() - started)
        self.metrics.count("requests_total", "requests by route and status", route=name, status=str(reply.status))
        await _send(send, reply, request_id, is_head=scope["method"] == "HEAD")

    async def _answer(
        self, scope: dict[str, Any], receive: Receive, route: Route | None, request_id: str, is_read: Flag
    ) -> Reply:
        headers = scope["headers"]
        if route is None:
            raise AskRefused(404, "unknown_path", f"the paths are {', '.join(self.routes)}")
        if scope["method"] not in (route.method, "HEAD" if route.method == "GET" else ""):
            raise AskRefused(405, "wrong_method", f"use {route.method}")
        if not route.is_open:
            self._admit(scope, headers)
        body = b""
        if route.max_body_bytes:
            body = await self._body(headers, receive, route.max_body_bytes)
        is_read.value = True
        try:
            request = Request(request_id, _header(headers, b"content-type"), body)
            async with asyncio.timeout(self.gate.reply_s):
                return await route.handle(request)
        except TimeoutError:
            raise AskRefused(503, "too_slow", f"no answer within {self.gate.reply_s:g} s: try again later") from None
        finally:
            self.bodies_bytes -= len(body)

    def _admit(self, scope: dict[str, Any], headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Check host, origin, token and rate."""
        host = _header(headers, b"host")
        if _without_port(host) not in self.gate.hosts:
            raise AskRefused(421, "unknown_host", "the Host header names no host of this service: see DARKROOM_SERVE_HOSTS")
        if any(value.decode("latin-1").partition("://")[2] != host for name, value in headers if name == b"origin"):
            raise AskRefused(403, "foreign_origin", "another web page may not ask this service")
        client = (scope.get("client") or ("",))[0]
        if self.gate.needs_token():
            match = _BEARER.fullmatch(_header(headers, b"authorization"))
            name = self.gate.token_name(match[1]) if match else None
            if name is None:
                raise AskRefused(401, "no_valid_token", "send Authorization: Bearer TOKEN (`darkroom serve token add NAME`)")
            client = f"token {name}"
        if wait_s := self.gate.rates.wait_s(client, self.clock_s()):
            detail = f"the limit is DARKROOM_SERVE_RATE: try again in {wait_s:.2f} s"
            raise AskRefused(429, "too_many_requests", detail, retry_after_s=math.ceil(wait_s))

    async def _body(self, headers: Sequence[tuple[bytes, bytes]], receive: Receive, limit: int) -> bytes:
        """The whole body; its bytes count in `bodies_bytes` from then on."""
        length = _header(headers, b"content-length")
        if length.isdigit() and int(length) > limit:
            raise AskRefused(413, "body_too_large", f"{int(length):,} bytes; the limit is {limit:,}")
        body = bytearray()
        try:
            async with asyncio.timeout(self.gate.body_s):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise GoneClient
                    piece = message.get("body", b"")
                    body += piece
                    self.bodies_bytes += len(piece)
                    more = message.get("more_body", False)
                    if len(body) > limit:
                        raise AskRefused(413, "body_too_large", f"the limit is {limit:,} bytes")
                    if self.bodies_bytes > BODIES_BYTES:
                        raise AskRefused(503, "overloaded", "too many large requests at a time: try again later")
        except TimeoutError:
            self.bodies_bytes -= len(body)
            raise AskRefused(408, "slow_client", f"the body did not come within {self.gate.body_s:g} s") from None
        except (AskRefused, GoneClient):
            self.bodies_bytes -= len(body)
            raise
        return bytes(body)

    def _refusal(self, error: Exception, request_id: str) -> Reply:
        refused = self._as_refused(error)
        if refused.reason == "internal":
            print(f"request {request_id}:\n{''.join(traceback.format_exception(error))}", file=sys.stderr, flush=True)
        self.metrics.count("refused_total", "requests that were not answered, by reason", reason=refused.reason)
        reply = json_reply({"reason": refused.reason, "detail": refused.detail, "request_id": request_id}, refused.status)
        wait_s = refused.retry_after_s or RETRY_AFTER_S.get(refused.status)
        retry = ((b"retry-after", b"%d" % wait_s),) if wait_s else ()
        return replace(reply, headers=((b"www-authenticate", b"Bearer"),) if refused.status == 401 else retry)

    def _as_refused(self, error: Exception) -> AskRefused:
        if isinstance(error, AskRefused):
            return error
        for kind, status, reason in self.faults:
            if isinstance(error, kind):
                return AskRefused(status, reason, str(error))
        return AskRefused(500, "internal", "an error of the service: its log has it under this request_id")


async def _drained(receive: Receive) -> bool:
    """Whether the rest of a refused body came soon, and was thrown away: a client that still sends it reads no answer."""
    try:
        async with asyncio.timeout(DRAIN_S):
            size = 0
            while size <= DRAIN_BYTES:
                message = await receive()
                size += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return message["type"] == "http.request"
    except TimeoutError:
        pass
    return False


def _header(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> str:
    """The value of a header; empty if it is missing or repeats."""
    values = [value for key, value in headers if key == name]
    return values[0].decode("latin-1") if len(values) == 1 else ""


def _without_port(host: str) -> str:
    name, _, port = host.rpartition(":")
    return (name if name and port.isdigit() else host).strip("[]").lower()


async def _send(send: Send, reply: Reply, request_id: str, *, is_head: bool) -> None:
    facts = [
        (b"content-type", reply.kind.encode()),
        (b"content-length", str(len(reply.body)).encode()),
        (b"x-request-id", request_id.encode()),
    ]
    start = {"type": "http.response.start", "status": reply.status, "headers": [*facts, *HEADERS, *reply.headers]}
    await send(start)
    await send({"type": "http.response.body", "body": b"" if is_head else reply.body})
