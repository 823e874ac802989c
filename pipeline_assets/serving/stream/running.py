"""Runs a stream on a project's stores: opens them, listens, reads Redis, and reports until it is told to end."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from pipeline_assets.serving.endpoint.http.access import access_to
from pipeline_assets.serving.endpoint.http.application import Application
from pipeline_assets.serving.endpoint.http.metrics import Metrics
from pipeline_assets.serving.endpoint.http.server import server_of
from pipeline_assets.serving.stream.http import routes
from pipeline_assets.serving.stream.redis_streams import RedisReader
from pipeline_assets.serving.stream.service import Stream, streaming
from resources.assembly import resolve
from resources.settings import Settings, plain

POLL_S = 2.0
REPORT_S = 10.0
Tell = Callable[[str], object]


def run(settings: Settings, host: str, port: int, tell: Tell) -> None:
    """Take events until a signal. tell: is given a line at the start, and one for what has happened every ten seconds.

    Raises as `streaming`.
    """
    access = access_to(settings, host)
    parts = resolve(settings)
    store = parts["online"].open()
    metrics = Metrics("darkroom_stream")
    with (
        streaming(
            settings.home / "stream",
            store,
            parts["lake_bucket"].store,
            parts["database"],
            segment_s=settings.stream_flush_s,
            poll_s=POLL_S,
        ) as stream,
        _reading_redis(settings, stream) as reader,
    ):

        def held_up() -> list[str]:
            return [*stream.held_up(), *([reader.held_up] if reader and reader.held_up else [])]

        def started(port: int) -> None:
            tell(f"Events: POST {access.scheme}://{host}:{port}/v1/events   (Ctrl-C stops it, and keeps all that was taken)")
            stream.start(lambda: _report(stream, held_up, tell), "reporter")

        _gauges(metrics, stream)
        application = Application(routes(stream.receiver, metrics, held_up), access.gate, metrics)
        server = server_of(application, (host, port), access.tls, started)

        def end() -> None:
            server.should_exit = True

        stream.on_failure = end
        if not stream.failure:
            server.run()


@contextmanager
def _reading_redis(settings: Settings, stream: Stream) -> Iterator[RedisReader | None]:
    url = plain(settings.stream_redis_url)
    if not url:
        yield None
        return
    reader = RedisReader(url, settings.stream_redis_name, stream.journal.lineage, stream.receiver)
    thread = stream.start(reader.run, "redis")
    try:
        yield reader
    finally:
        reader.stop()
        thread.join(30)


def _report(stream: Stream, held_up: Callable[[], list[str]], tell: Tell) -> None:
    """A line for each ten seconds in which something happened, or in which other things hold the stream up."""
    before, told = 0, ""
    began_s = time.monotonic()
    while not stream.stopping.wait(REPORT_S):
        now_s, received = time.monotonic(), stream.receiver.received
        line = (
            f"{(received.accepted - before) / (now_s - began_s):,.0f} events/s, "
            f"lag {stream.lag_s(datetime.now(UTC)):.1f} s, "
            f"{received.duplicate:,} repeats, {received.rejected:,} dead letters, journal at "
            f"{stream.journal.end.segment}:{stream.journal.end.offset}"
        )
        reasons = " | ".join(held_up())
        if received.accepted != before or reasons != told:
            tell(f"{line}{f'   HELD UP: {reasons}' if reasons else ''}")
        before, began_s, told = received.accepted, now_s, reasons


def _gauges(metrics: Metrics, stream: Stream) -> None:
    """Register what a monitor sees of a stream."""
    received = stream.receiver.received
    metrics.gauge(
        "events_total",
        "events since the start, by what became of them",
        lambda: {
            (("outcome", "accepted"),): float(received.accepted),
            (("outcome", "duplicate"),): float(received.duplicate),
            (("outcome", "rejected"),): float(received.rejected),
            (("outcome", "applied"),): float(stream.applier.applied),
        },
    )
    metrics.gauge("refused_batches_total", "batches that were not taken", lambda: {(): float(received.refused)})
    metrics.gauge("lag_seconds", "age of what is applied", lambda: {(): stream.lag_s(datetime.now(UTC))})
    metrics.gauge("held_up", "1 if something does not work", lambda: {(): float(bool(stream.held_up()))})
    metrics.gauge(
        "segments_waiting", "files that the lake does not have yet", lambda: {(): float(len(stream.segments.waiting()))}
    )
