"""Photos in, frames out: fetch, decode and classification overlap, in memory that the input's length does not change.

Threads: one draws from the input; a few (`workers.py`) decode and measure, and on CPU classify what they have just decoded,
where on an accelerator this thread does. All wait in bounded queues for the slowest. Nothing here knows where photos come
from or where frames go.
"""

import copy
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import torch

from pipeline_assets.allocators import keep_freed_memory
from pipeline_assets.classify.compiled import compiled_or_eager
from pipeline_assets.classify.decode import decode
from pipeline_assets.classify.fusion import fuse
from pipeline_assets.classify.models import Classifier
from pipeline_assets.classify.registry import Preprocessing
from pipeline_assets.classify.runners import (
    CPU_ROWS,
    CpuRunner,
    Crop,
    DeviceRunner,
    Scores,
    choose_device,
    choose_dtype,
    in_precision,
    joined,
    single_threaded_pool,
)
from pipeline_assets.classify.styles import STYLES_ID, Styles, measure_styles
from pipeline_assets.classify.workers import Work, Workers
from pipeline_assets.cores import core_count
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
    """One photo on its way: a crop, its scores instead once it is classified, and measures where asked for; or a failure."""

    sha256: str
    crop: Crop | None = None
    styles: Styles | None = None
    scores: Scores | None = None
    failure: Failure | None = None


def classify_photos(
    photos: Iterable[tuple[str, bytes]],
    *,
    classifier: Classifier | None,
    styles: bool,
    device: str = "auto",
    batch_size: int = 64,
    threads: int | None = None,
    cache: str | Path | None = None,
) -> Iterator[Batch]:
    """Classify and measure photos, yielding every batch_size of them. What is asked for is decoded once.

    photos: (sha256, bytes) in any order, drawn on a thread of its own as fast as the rest keeps up; an error that
    it raises is raised here, after the batches before it. cache: a folder of this user's own for compiled
    networks (see `compiled.py`); without it the network runs eagerly. threads: one a core unless said. About 2 x threads
    encoded photos are held at a time, and the results of 4 x batch_size or, on an accelerator, their crops. Close the
    iterator to stop early: it waits only for what is being fetched or computed at that moment.

    A row's values do not depend on the other photos. Raises ValueError for a bad batch_size or absent device.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    where = choose_device(device)
    keep_freed_memory()
    workers = threads or core_count()
    open_runner = partial(choose_runner, where=where, batch_size=batch_size, cache=Path(cache) if cache else None)
    return _classify(photos, classifier, styles, open_runner, batch_size, workers)


def _classify(
    photos: Iterable[tuple[str, bytes]],
    classifier: Classifier | None,
    styles: bool,
    open_runner: Callable[[Classifier], CpuRunner | DeviceRunner],
    batch_size: int,
    threads: int,
) -> Iterator[Batch]:
    runner = open_runner(classifier) if classifier else None
    device = runner if isinstance(runner, DeviceRunner) else None
    work = _work(classifier, runner if isinstance(runner, CpuRunner) else None, has_styles=styles)
    in_flight: deque[tuple[list[_Shot], Callable[[], Scores] | None]] = deque()
    with single_threaded_pool(threads) as pool:
        chunks = Workers(work, pool, threads).results(photos, batch_size)
        try:
            error: BaseException | None = None
            chunk: list[_Shot] | None = []
            while chunk is not None:
                chunk, error = _next(chunks)
                if chunk:
                    crops = [shot.crop for shot in chunk if shot.crop is not None]
                    in_flight.append((chunk, device.submit(crops) if device and crops else None))
                while in_flight and (chunk is None or len(in_flight) > (device.depth if device else 0)):
                    done, take = in_flight.popleft()
                    yield _batch(done, take() if take else _scores_of(done), classifier)
            if error is not None:
                raise error
        finally:
            chunks.close()
            if device:
                device.close()


def _work(
    classifier: Classifier | None, runner: CpuRunner | None, *, has_styles: bool
) -> Work[tuple[str, bytes], _Shot, _Shot]:
    """Decode and measure; on CPU, classify too."""
    preprocessing = classifier.preprocessing if classifier else Preprocessing()

    def prepare(photo: tuple[str, bytes]) -> _Shot:
        return _shoot(*photo, preprocessing, has_crop=classifier is not None, has_styles=has_styles)

    def finish(shots: list[_Shot]) -> list[_Shot]:
        crops = [shot.crop for shot in shots if shot.crop is not None]
        if runner is None or not crops:
            return shots
        rows = iter(runner.score(crops).rows())
        return [replace(shot, crop=None, scores=next(rows)) if shot.crop is not None else shot for shot in shots]

    return Work(prepare, finish, runner.rows if runner else 1)


def _next(chunks: Iterator[list[_Shot]]) -> tuple[list[_Shot] | None, BaseException | None]:
    """The next chunk; None at the end, with the error that ended the input, so that what is in flight is not lost."""
    try:
        return next(chunks, None), None
    except Exception as error:
        return None, error


def choose_runner(
    classifier: Classifier, where: torch.device, batch_size: int, cache: Path | None
) -> CpuRunner | DeviceRunner:
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


def _scores_of(chunk: list[_Shot]) -> Scores | None:
    found = [shot.scores for shot in chunk if shot.scores is not None]
    return joined(found) if found else None


def _batch(chunk: list[_Shot], scores: Scores | None, classifier: Classifier | None) -> Batch:
    cropped = [shot.sha256 for shot in chunk if shot.failure is None]
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
