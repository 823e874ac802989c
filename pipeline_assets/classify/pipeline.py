"""Photos in, frames out: fetch, decode and classification overlap, in memory that the input's length does not change.

Threads: one draws from the input, some decode and measure, and the runner's classify. Each hands on through a
bounded queue, so that the slowest sets the pace. Nothing here knows where photos come from or where frames go.
"""

import copy
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import astuple, dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl
import torch

from pipeline_assets.classify.compiled import compiled_or_eager
from pipeline_assets.classify.decode import decode
from pipeline_assets.classify.fusion import fuse
from pipeline_assets.classify.memory import keep_freed_memory
from pipeline_assets.classify.models import Classifier
from pipeline_assets.classify.registry import Preprocessing
from pipeline_assets.classify.runners import (
    CPU_ROWS,
    CpuRunner,
    Crop,
    DeviceRunner,
    Runner,
    Scores,
    choose_device,
    choose_dtype,
    core_count,
    in_precision,
)
from pipeline_assets.classify.styles import STYLES_ID, Styles, measure_styles
from pipeline_assets.errors import BadImage

_POLL_S = 0.05
_CLASSES_SCHEMA = {
    "sha256": pl.String(),
    "model_id": pl.String(),
    "top5_index": pl.List(pl.Int32()),
    "top5_label": pl.List(pl.String()),
    "top5_probability": pl.List(pl.Float32()),
    "embedding": pl.List(pl.Float32()),
}
_STYLES_SCHEMA = {
    "sha256": pl.String(),
    "styles_id": pl.String(),
    **{name: pl.Float32() for name in Styles.__dataclass_fields__},
}


@dataclass(frozen=True)
class Failure:
    """One photo that could not be decoded. reason: one of `ingestion.schemas.VERDICTS`."""

    sha256: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Batch:
    """What came of up to batch_size photos, in input order; each is in every asked frame, or in failures.

    classes: `PhotoClasses` without day; styles: `PhotoStyles` without day; one that was not asked for is empty.
    """

    classes: pl.DataFrame
    styles: pl.DataFrame
    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class _Shot:
    """One photo on its way: a crop and measures where asked for, or why there are none."""

    sha256: str
    crop: Crop | None = None
    styles: Styles | None = None
    failure: Failure | None = None


def classify_photos(
    photos: Iterable[tuple[str, bytes]],
    *,
    classifier: Classifier | None,
    styles: bool,
    device: str = "auto",
    batch_size: int = 64,
    decode_threads: int | None = None,
    cache: str | Path | None = None,
) -> Iterator[Batch]:
    """Classify and measure photos, yielding every batch_size of them. What is asked for is decoded once.

    photos: (sha256, bytes) in any order, drawn on a thread of its own as fast as the rest keeps up; an error that
    it raises is raised here, after the batches before it. cache: a folder of this user's own for compiled
    networks (see `compiled.py`); without it the network runs eagerly. About 2 x decode_threads encoded photos and
    4 x batch_size crops are held at a time. Close the iterator to stop early: it waits only for what is being
    fetched or computed at that moment.

    A row's values do not depend on the other photos. Raises ValueError for a bad batch_size or absent device.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    where = choose_device(device)
    keep_freed_memory()
    threads = decode_threads or core_count()
    open_runner = partial(choose_runner, where=where, batch_size=batch_size, cache=Path(cache) if cache else None)
    return _classify(photos, classifier, styles, open_runner, batch_size, threads)


def _classify(
    photos: Iterable[tuple[str, bytes]],
    classifier: Classifier | None,
    styles: bool,
    open_runner: Callable[[Classifier], Runner],
    batch_size: int,
    threads: int,
) -> Iterator[Batch]:
    runner = open_runner(classifier) if classifier else None
    preprocessing = classifier.preprocessing if classifier else Preprocessing()

    def work(sha256: str, data: bytes) -> _Shot:
        return _shoot(sha256, data, preprocessing, has_crop=classifier is not None, has_styles=styles)

    shots = _on_threads(photos, work, threads, ahead=2 * batch_size)
    in_flight: deque[tuple[list[_Shot], Callable[[], Scores] | None]] = deque()
    try:
        while True:
            chunk, error = _next_chunk(shots, batch_size)
            if chunk:
                crops = [shot.crop for shot in chunk if shot.crop is not None]
                in_flight.append((chunk, runner.submit(crops) if runner and crops else None))
            is_last = error is not None or len(chunk) < batch_size
            while in_flight and (is_last or len(in_flight) > (runner.depth if runner else 0)):
                done, take = in_flight.popleft()
                yield _batch(done, take() if take else None, classifier)
            if error is not None:
                raise error
            if is_last:
                return
    finally:
        shots.close()
        if runner:
            runner.close()


def choose_runner(classifier: Classifier, where: torch.device, batch_size: int, cache: Path | None) -> Runner:
    """What runs the classifier on this device, in the precision and form that measure best there."""
    dtype = choose_dtype(where)
    if where.type != "cpu":
        module = copy.deepcopy(classifier.module).to(where).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return DeviceRunner(classifier, in_precision(module, where, dtype), where, batch_size)
    fused = fuse(classifier.module, dtype)
    if fused is not None:
        return CpuRunner(classifier, fused)
    forward = in_precision(classifier.module, where, dtype)
    if cache is not None:
        forward = compiled_or_eager(classifier, forward, cache, rows=CPU_ROWS, dtype=dtype, runners=core_count())
    return CpuRunner(classifier, forward)


def _on_threads(
    photos: Iterable[tuple[str, bytes]], work: Callable[[str, bytes], _Shot], threads: int, ahead: int
) -> Generator[_Shot, None, None]:
    """Do the work on each photo, results in input order, at most `ahead` of them waiting. Raises what photos raises."""
    ready: queue.Queue[Future[_Shot] | BaseException | None] = queue.Queue(ahead)
    stop = threading.Event()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="classify-decode")

    def submit(sha256: str, data: bytes) -> Future[_Shot]:
        return pool.submit(work, sha256, data)

    feeder = threading.Thread(
        target=_feed, args=(photos, submit, ready, 2 * threads, stop), name="classify-feed", daemon=True
    )
    feeder.start()
    try:
        while isinstance(item := ready.get(), Future):
            yield item.result()
        if item is not None:
            raise item
    finally:
        stop.set()
        feeder.join()
        pool.shutdown(wait=True, cancel_futures=True)


def _feed(
    photos: Iterable[tuple[str, bytes]],
    submit: Callable[[str, bytes], Future[_Shot]],
    ready: queue.Queue[Future[_Shot] | BaseException | None],
    limit: int,
    stop: threading.Event,
) -> None:
    """Submit each photo, at most `limit` of them undecoded, then hand on None, or the error that ended the input."""
    encoded = threading.Semaphore(limit)
    ending: BaseException | None = None
    try:
        for sha256, data in photos:
            while not stop.is_set() and not encoded.acquire(timeout=_POLL_S):
                pass
            if stop.is_set():
                break
            future = submit(sha256, data)
            future.add_done_callback(lambda _: encoded.release())
            _put(ready, future, stop)
        if isinstance(photos, Generator):
            # An abandoned source is closed on the thread that ran it.
            photos.close()
    except BaseException as error:
        ending = error
    _put(ready, ending, stop)


def _put(
    ready: queue.Queue[Future[_Shot] | BaseException | None],
    item: Future[_Shot] | BaseException | None,
    stop: threading.Event,
) -> None:
    """Wait for room, but not longer than anyone reads."""
    while not stop.is_set():
        with suppress(queue.Full):
            ready.put(item, timeout=_POLL_S)
            return


def _next_chunk(shots: Iterator[_Shot], size: int) -> tuple[list[_Shot], BaseException | None]:
    """Up to size shots, and the error that cut them short, so that what came before it is not lost."""
    chunk: list[_Shot] = []
    try:
        chunk.extend(islice(shots, size))
    except Exception as error:
        return chunk, error
    return chunk, None


def _shoot(sha256: str, data: bytes, preprocessing: Preprocessing, *, has_crop: bool, has_styles: bool) -> _Shot:
    try:
        photo = decode(data, preprocessing)
    except BadImage as bad:
        return _Shot(sha256, failure=Failure(sha256, bad.reason, bad.detail))
    return _Shot(
        sha256,
        # A copy, because the crop is a view that would keep larger pixels alive.
        crop=photo.crop.copy(order="K") if has_crop else None,
        styles=measure_styles(photo.scaled, photo.width_px / photo.height_px) if has_styles else None,
    )


def _batch(chunk: list[_Shot], scores: Scores | None, classifier: Classifier | None) -> Batch:
    cropped = [shot.sha256 for shot in chunk if shot.crop is not None]
    measured = [(shot.sha256, shot.styles) for shot in chunk if shot.styles is not None]
    classes = pl.DataFrame(schema=_CLASSES_SCHEMA)
    if scores is not None and classifier is not None:
        names = np.array(classifier.classes, dtype=object)
        classes = pl.DataFrame(
            {
                "sha256": cropped,
                "model_id": [classifier.model_id] * len(cropped),
                "top5_index": list(scores.index),
                "top5_label": names[scores.index].tolist(),
                "top5_probability": list(scores.probability),
                "embedding": list(scores.embedding),
            },
            schema=_CLASSES_SCHEMA,
        )
    styles = pl.DataFrame(
        [(sha256, STYLES_ID, *astuple(values)) for sha256, values in measured], schema=_STYLES_SCHEMA, orient="row"
    )
    return Batch(classes, styles, tuple(shot.failure for shot in chunk if shot.failure is not None))
