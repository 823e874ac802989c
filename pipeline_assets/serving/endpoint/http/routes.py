"""The paths of the endpoint, and what each answers."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from pipeline_assets.serving.endpoint.bodies import fields_of
from pipeline_assets.serving.endpoint.http.application import MAX_BODY_BYTES, Reply, Request, Route, json_reply
from pipeline_assets.serving.endpoint.http.metrics import Metrics
from pipeline_assets.serving.endpoint.http.monitoring import monitored
from pipeline_assets.serving.endpoint.http.openapi import document, page
from pipeline_assets.serving.endpoint.service import Service

PREDICT, FEATURES = "/v1/predict", "/v1/features"
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_PAGE = Path(__file__).with_name("status_page.html")
SMALL_BODY_BYTES = 256 * 2**10
STATE_S = 1.0
"""How long an answer about the state is kept: anyone may ask /readyz, and each look is a read of the store."""


@dataclass
class Routes:
    """Handlers around one service. generation: facts of the current state (`current()` of the store); may raise."""

    service: Service
    metrics: Metrics
    generation: Any
    version: str = ""
    _look: asyncio.Future[dict[str, Any]] | None = None
    _looked_s: float = 0.0

    def table(self) -> dict[str, Route]:
        """All routes by path."""
        return {
            PREDICT: Route("POST", self.predict, MAX_BODY_BYTES),
            FEATURES: Route("POST", self.features, SMALL_BODY_BYTES),
            "/readyz": Route("GET", self.ready, is_open=True),
            **monitored(self.metrics),
            "/openapi.json": Route("GET", self.openapi),
            "/docs": Route("GET", self.docs),
            "/status.json": Route("GET", self.status),
            "/": Route("GET", self.status_page, is_open=True),
        }

    async def predict(self, request: Request) -> Reply:
        """A prediction for a posting."""
        return json_reply(await self.service.predict(fields_of(request.content_type, request.body), request.id))

    async def features(self, request: Request) -> Reply:
        """The features of a user at a moment."""
        return json_reply(await self.service.features(fields_of(request.content_type, request.body), request.id))

    async def ready(self, _request: Request) -> Reply:
        """Whether predictions can be answered: a model and a state that covers this moment."""
        state = await self._state()
        there = {"model": self.service.can_predict, "state": state["is_current"]}
        lacking = [name for name, is_there in there.items() if not is_there]
        return json_reply({"status": "not ready" if lacking else "ok", "lacking": lacking}, 503 if lacking else 200)

    async def openapi(self, _request: Request) -> Reply:
        """The description for programs."""
        return json_reply(document(self.version))

    async def docs(self, _request: Request) -> Reply:
        """The description for people."""
        return _html(page(document(self.version)))

    async def status(self, _request: Request) -> Reply:
        """What the status page shows, refreshed by it."""
        service = self.service
        return json_reply(
            {
                "now": service.clock.now().isoformat(timespec="seconds"),
                "latency": {route: self.metrics.quantiles(route) for route in (PREDICT, FEATURES)},
                "answered": self.metrics.total("requests_total", "status"),
                "refused": self.metrics.total("refused_total", "reason"),
                "model": service.model.about() if service.model else None,
                "shadow": service.shadow.about() if service.shadow else None,
                "state": await self._state(),
                "waiting": service.waiting,
                "log": {"is_on": service.log is not None, "dropped": service.log.dropped if service.log else 0},
                "served": service.lately,
                "last": list(service.last)[::-1],
            }
        )

    async def status_page(self, _request: Request) -> Reply:
        """The page that shows `status`."""
        return _html(_status_page())

    async def _state(self) -> dict[str, Any]:
        """The current generation of the state, and how old it is; why there is none. Looked up once a STATE_S at most."""
        now_s = time.monotonic()
        if self._look is None or (self._look.done() and now_s - self._looked_s >= STATE_S):
            self._look, self._looked_s = asyncio.ensure_future(self._looked_up()), now_s
        return await asyncio.shield(self._look)

    async def _looked_up(self) -> dict[str, Any]:
        try:
            current = await asyncio.get_running_loop().run_in_executor(None, self.generation)
        except Exception as error:  # of any store
            return {"fault": type(error).__name__, "is_current": False}
        if current is None:
            return {"fault": "NothingPublished", "is_current": False}
        age = self.service.clock.now() - current.t0
        return {
            "generation": current.number,
            "t0": current.t0.isoformat(),
            "age_s": age.total_seconds(),
            "horizon_s": current.horizon_s,
            "users": current.users,
            "applied_at": current.applied_at.isoformat() if current.applied_at else None,
            "is_current": timedelta(0) <= age <= timedelta(seconds=current.horizon_s),
        }


def gauges(metrics: Metrics, service: Service, in_flight: Any) -> None:
    """Register the gauges of a service."""
    metrics.gauge("in_flight", "requests being answered", lambda: {(): float(in_flight())})
    metrics.gauge("waiting", "predictions that wait for a core or use one", lambda: {(): float(service.waiting)})
    metrics.gauge("model_info", "the model that answers", lambda: _info(service.model.about() if service.model else {}))
    metrics.gauge(
        "log_dropped", "asks that were not logged since the disk's share is full",
        lambda: {(): float(service.log.dropped if service.log else 0)},
    )  # fmt: skip
    metrics.gauge("clock_set_back_seconds", "by how much the clock lies behind an earlier reading",
                  lambda: {(): service.clock.set_back_s})  # fmt: skip


def _info(labels: Mapping[str, str]) -> dict[tuple[tuple[str, str], ...], float]:
    return {tuple(sorted(labels.items())): 1.0} if labels else {}


def _html(text: str) -> Reply:
    headers = ((b"content-security-policy", POLICY.encode()),)
    return Reply(text.encode(), "text/html; charset=utf-8", headers=headers)


@cache
def _status_page() -> str:
    return _PAGE.read_text(encoding="utf-8")
