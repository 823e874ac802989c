"""What a monitor asks of every service: whether its process lives, and its numbers."""

from pipeline_assets.serving.endpoint.http.application import Reply, Request, Route, json_reply
from pipeline_assets.serving.endpoint.http.metrics import CONTENT_TYPE, Metrics


def monitored(metrics: Metrics) -> dict[str, Route]:
    """The routes of a monitor. /healthz is open: it tells nothing."""

    async def health(_request: Request) -> Reply:
        return json_reply({"status": "ok"})

    async def numbers(_request: Request) -> Reply:
        return Reply(metrics.text().encode(), CONTENT_TYPE)

    return {"/healthz": Route("GET", health, is_open=True), "/metrics": Route("GET", numbers)}
