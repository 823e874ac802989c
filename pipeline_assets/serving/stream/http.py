"""Events by HTTP: `POST /v1/events`, and what a monitor asks. No verdict is made here (`intake.py`)."""

import asyncio
import json
from collections.abc import Callable

from pipeline_assets.errors import AskRefused
from pipeline_assets.runtime import strict_json
from pipeline_assets.serving.endpoint.http.application import Reply, Request, Route, json_reply
from pipeline_assets.serving.endpoint.http.metrics import Metrics
from pipeline_assets.serving.endpoint.http.monitoring import monitored
from pipeline_assets.serving.stream.intake import Batch
from pipeline_assets.serving.stream.receiving import NotTaken, Receiver

MAX_BODY_BYTES = 4 * 2**20
MAX_EVENTS = 10_000
LINES = ("application/x-ndjson", "application/jsonl")


def routes(receiver: Receiver, metrics: Metrics, held_up: Callable[[], list[str]]) -> dict[str, Route]:
    """All routes by path. held_up: what does not work now, a sentence each."""

    async def events(request: Request) -> Reply:
        try:
            receipt = await asyncio.wrap_future(receiver.offer(Batch("http", lines_of(request.content_type, request.body))))
        except NotTaken as error:
            status, reason = (429, "too_many_events") if error.is_overload else (503, "held_up")
            raise AskRefused(status, reason, str(error)) from None
        counts = {"accepted": receipt.accepted, "duplicate": receipt.duplicate, "rejected": receipt.rejected}
        rejections = [{"index": index, "reason": reason, "detail": detail} for index, reason, detail in receipt.rejections]
        return json_reply({**counts, "rejections": rejections}, 202)

    async def ready(_request: Request) -> Reply:
        """Whether events are taken; they are also while the store or the lake is away."""
        status = 503 if receiver.held_up else 200
        return json_reply({"status": "not ready" if receiver.held_up else "ok", "held_up": held_up()}, status)

    return {
        "/v1/events": Route("POST", events, MAX_BODY_BYTES),
        "/readyz": Route("GET", ready),
        **monitored(metrics),
    }


def lines_of(content_type: str, body: bytes) -> list[str]:
    """The events of a body, one text each: of NDJSON its lines; of JSON an object, an array, or the array `events`.

    Types that a web page may send without asking, such as text/plain, are refused. Raises AskRefused; of NDJSON, a line that
    is no JSON is an event to be judged like the others.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind in LINES:
        lines = [line for line in body.decode("utf-8", "surrogateescape").split("\n") if line.strip(" \t\r")]
    elif kind == "application/json":
        lines = _objects(body)
    else:
        raise AskRefused(415, "wrong_content_type", f"send application/json, or {LINES[0]} with one event per line")
    if not lines:
        raise AskRefused(400, "no_events", "the body has no events")
    if len(lines) > MAX_EVENTS:
        raise AskRefused(413, "too_many_in_one", f"the body has {len(lines):,} events; send at most {MAX_EVENTS:,} at once")
    return lines


def _objects(body: bytes) -> list[str]:
    try:
        value = strict_json.loads(body)
    except strict_json.BadJson as error:
        raise AskRefused(400, "bad_json", f"the body is no JSON: {error}. None of its events was taken") from None
    events = value["events"] if isinstance(value, dict) and value.keys() == {"events"} else value
    if isinstance(events, dict):
        events = [events]
    if not isinstance(events, list):
        raise AskRefused(400, "bad_json", 'send an event, an array of events, or {"events": [...]}')
    return [json.dumps(event, separators=(",", ":")) for event in events]
