"""Runs the endpoint on a project's stores: opens them, checks a few photos, serves, and takes over new models.

This module and `models.py` know resources; all others of the endpoint are given what they need.
"""

import hmac
import queue
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import torch

from pipeline_assets.classify.models import load_classifier
from pipeline_assets.classify.runners import single_threaded_pool
from pipeline_assets.errors import InspectionUnavailable
from pipeline_assets.ingestion.media import inspection, limited
from pipeline_assets.ingestion.schemas import IS_PHOTO
from pipeline_assets.runtime.allocators import keep_freed_memory
from pipeline_assets.runtime.cores import core_count
from pipeline_assets.sample.photos import COLOUR_PHOTOS, shipped_file
from pipeline_assets.serving.endpoint.asked_log import SEGMENT_S, AskedLog
from pipeline_assets.serving.endpoint.content import Content, PhotoReader
from pipeline_assets.serving.endpoint.http.access import Access, access_to
from pipeline_assets.serving.endpoint.http.application import Application, Gate
from pipeline_assets.serving.endpoint.http.metrics import Metrics
from pipeline_assets.serving.endpoint.http.rates import Rates
from pipeline_assets.serving.endpoint.http.routes import Routes, gauges
from pipeline_assets.serving.endpoint.http.server import server_of
from pipeline_assets.serving.endpoint.models import Models
from pipeline_assets.serving.endpoint.scoring import ServedModel, classifier_fault
from pipeline_assets.serving.endpoint.self_check import PHOTOS, check_content, check_model
from pipeline_assets.serving.endpoint.service import LogPolicy, Service
from pipeline_assets.serving.log.lately import lately
from resources.addresses import LOOPBACK
from resources.assembly import resolve
from resources.errors import (
    AccessDenied,
    NotFound,
    NothingPublished,
    ObjectError,
    ResourceError,
    StoreUnreadable,
    TooLarge,
)
from resources.lake.lake import Lake
from resources.objects.store import ObjectStore
from resources.settings import Settings, plain

START_S = 60.0
POLL_S = 10.0
"""Between two looks for a new night's model."""
WAITING_A_CORE = 32
"""Predictions that may wait for a core: a second's worth."""
FAULTS: Sequence[tuple[type[Exception], int, str]] = (
    (NothingPublished, 503, "no_state"),
    (StoreUnreadable, 503, "state_unreadable"),
    (NotFound, 404, "unknown_key"),
    (TooLarge, 413, "body_too_large"),
    (AccessDenied, 502, "key_denied"),
    (ObjectError, 502, "key_unreadable"),
    (ResourceError, 503, "store_away"),
    (InspectionUnavailable, 503, "no_inspection"),
)
"""What of the stores' errors is answered: kind, status of HTTP, reason. The first that fits counts."""


@dataclass(frozen=True)
class Asked:
    """pin, shadow: names of models; without a pin the newest is served, and each new night's."""

    pin: str | None = None
    shadow: str | None = None


@contextmanager
def service_of(settings: Settings, asked: Asked, tell: Callable[[str], object]) -> Iterator[Service]:
    """The service of a project while the block runs, after its self-check. tell: is told what is done, and what fails.

    Raises ServingUnsafe if a photo alone is not scored as the batch pipeline does, NoModelToServe for an unknown name.
    """
    parts = resolve(settings)
    lake, classifier, uploads = parts["lake"], parts["classifier"], parts["uploads"].store
    keep_freed_memory()
    with ExitStack() as stack:
        torch.set_num_threads(1)
        reader = PhotoReader(
            load_classifier(classifier.model),
            stack.enter_context(limited.inspecting()),
            classifier.device,
            classifier.batch_size,
        )
        contents = check_content(reader, _photos(lake, uploads), classifier.device, classifier.batch_size)
        models = Models(lake, parts["objects"].store, Path.cwd())
        model = models.named(asked.pin) if asked.pin else models.newest()
        shadow = models.named(asked.shadow) if asked.shadow else None
        for one in (model, shadow):
            if one is not None and (asked.pin or one is shadow or not _reads_another(one, reader, tell)):
                check_model(one, contents)
        tell(f"{len(contents)} photos scored alone equal the batch pipeline to the bit.")
        store = parts["online"].open()
        stack.callback(store.close)
        log = None
        if settings.serving_log_share:
            log = AskedLog(settings.home / "serving" / "log", parts["lake_bucket"].store.put)
        workers = stack.enter_context(single_threaded_pool(core_count()))
        service = Service(
            reader=reader,
            store=store,
            workers=workers,
            upload=lambda key: _upload(uploads, key),
            log=log,
            policy=LogPolicy(settings.serving_log_share, settings.serving_log_users == "id"),
            most_waiting=WAITING_A_CORE * core_count(),
            is_store_quick=not plain(settings.online_url),
            model=model,
            shadow=shadow,
        )
        with _background(service, None if asked.pin else models, lake, contents, tell):
            yield service


def _reads_another(model: ServedModel, reader: PhotoReader, tell: Callable[[str], object]) -> bool:
    """Whether the newest model is of another classifier: features are served, and predictions once a night has the next."""
    fault = classifier_fault(model, reader.classifier.model_id)
    if fault:
        tell(f"No prediction until the next night's model: {fault}.")
    return bool(fault)


def _upload(uploads: ObjectStore, key: str) -> bytes:
    """The bytes of an upload, at most those that a photo may have. Raises ObjectError."""
    size, limit = uploads.head(key).size, inspection.DEFAULT_LIMITS.max_bytes
    if size > limit:
        raise TooLarge(key, f"the upload has {size:,} bytes; the limit for a photo is {limit:,}")
    return uploads.get(key)


def _photos(lake: Lake, uploads: ObjectStore) -> list[bytes]:
    """Bytes of the newest photos of the lake that can still be read, and of the sample for what is missing of PHOTOS."""
    found: list[bytes] = []
    if lake.exists("raw_uploads"):
        is_wanted = IS_PHOTO & ~pl.col("media_type").is_in(list(limited.APART))
        newest = lake.newest("raw_uploads", is_wanted, PHOTOS, ["uploaded_at", "key"]).select("key", "version_id")
        read = uploads.get_many(newest.iter_rows(), key=lambda row: row[0], version_id=lambda row: row[1])
        found = [data for _, data in read if isinstance(data, bytes)]
    if len(found) < PHOTOS:
        found += [shipped_file(name) for name in COLOUR_PHOTOS[: PHOTOS - len(found)]]
    return found


@contextmanager
def _background(
    service: Service, models: Models | None, lake: Lake, contents: Sequence[Content], tell: Callable[[str], object]
) -> Iterator[None]:
    """Look for new models, put the log into the lake, and see how what was served is judged, while the block runs.

    The log is put at its end, too.
    """
    done = threading.Event()

    def see_verdicts() -> None:
        service.lately = lately(lake)

    def watch() -> None:
        since_flush_s = 0.0
        _guarded(see_verdicts, tell)
        while not done.wait(POLL_S):
            if models is not None:
                _guarded(lambda: _take_over(service, models, contents, tell), tell)
            since_flush_s += POLL_S
            if since_flush_s >= SEGMENT_S:
                since_flush_s = 0.0
                _guarded(see_verdicts, tell)
                if service.log is not None:
                    _guarded(service.log.flush, tell)

    thread = threading.Thread(target=watch, name="serve-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        if service.log is not None:
            _guarded(service.log.flush, tell)


def _take_over(service: Service, models: Models, contents: Sequence[Content], tell: Callable[[str], object]) -> None:
    """Serve a newer model once it has passed the check. One that fails is not served, and not tried again."""
    newer = models.newer(service.model)
    if newer is None:
        return
    check_model(newer, contents)
    service.model = newer
    tell(f"The model of the night of {newer.night} answers from now on ({newer.weights_sha256[:12]}).")


def _guarded(work: Callable[[], Any], tell: Callable[[str], object]) -> None:
    """Do some work of the background; what fails, whatever it is, is told, and tried again later."""
    try:
        work()
    except Exception as error:
        tell(f"{type(error).__name__}: {error}")


def serve(settings: Settings, asked: Asked, address: tuple[str, int], version: str, tell: Callable[[str], object]) -> None:
    """Serve until SIGINT or SIGTERM. Raises InsecureEndpoint for an address of the network without certificate or token."""
    access = access_to(settings, address[0])
    with service_of(settings, asked, tell) as service:
        night = f"the model of the night of {service.model.night}" if service.model else "no model yet"
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        started = partial(_tell_address, tell, f"Serving {night} on {access.scheme}://{host}")
        server_of(_application(service, access.gate, version), address, access.tls, started).run()


def _tell_address(tell: Callable[[str], object], beginning: str, port: int) -> None:
    tell(f"{beginning}:{port}/")


def _application(service: Service, gate: Gate, version: str) -> Application:
    metrics = Metrics()
    application = Application(Routes(service, metrics, service.store.current, version).table(), gate, metrics, FAULTS)
    gauges(metrics, service, lambda: application.in_flight)
    return application


@contextmanager
def serving_here(settings: Settings) -> Iterator[tuple[int, str]]:
    """Serve on a thread of this process while the block runs, on the loopback. Yields the port and the only valid token."""
    token = secrets.token_urlsafe(32)
    with service_of(settings.having({"serving_log_share": 0}), Asked(), lambda _: None) as service:
        gate = Gate(LOOPBACK, lambda: True, lambda text: "run" if hmac.compare_digest(text, token) else None, Rates(0))
        with answering(service, Access(gate, None)) as port:
            yield port, token


@contextmanager
def answering(service: Service, access: Access) -> Iterator[int]:
    """Answer on a thread of this process while the block runs, on a free port of 127.0.0.1, which is yielded."""
    ports: queue.SimpleQueue[int] = queue.SimpleQueue()
    server = server_of(_application(service, access.gate, ""), ("127.0.0.1", 0), access.tls, ports.put)
    thread = threading.Thread(target=server.run, name="serve", daemon=True)
    thread.start()
    try:
        yield ports.get(timeout=START_S)
    finally:
        server.should_exit = True
        thread.join()
