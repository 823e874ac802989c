"""Turns photos into frames: fetch, decode and classification overlap, in memory independent of the number of photos.

Threads: one reads the input; a few (`workers.py`) decode and measure, and on CPU classify what they have just decoded; on an
accelerator this thread classifies. Bounded queues make all wait for the slowest. This module is independent of the source
of photos and the destination of frames.
"""

import copy
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import torch

from pipeline_assets.classify.compiled import compiled_or_eager
from pipeline_assets.classify.decode import decode
from pipeline_assets.classify.fusion import fuse
from pipeline_assets.classify.model_files import Preprocessing
from pipeline_assets.classify.models import Classifier
from pipeline_assets.classify.photo_classifier import Compute, PhotoClassifier
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
from pipeline_assets.errors import BadImage
from pipeline_assets.runtime.allocators import keep_freed_memory
from pipeline_assets.runtime.cores import core_count
from pipeline_assets.runtime.workers import Work, Workers

_POLL_S = 0.05
_CLASSES_SCHEMA = {
    "sha256": pl.String(),
    "model_id": pl.String(),
    "top5_index": pl.List(pl.Int32()),
    "top5_label": pl.List(pl.String()),
    "top5_probability": pl.List(pl.Float32()),
    "embedding": pl.List(pl.Float32()),
}


@dataclass(frozen=True)
class Failure:
    """One photo that could not be decoded. reason: one of `ingestion.schemas.VERDICTS`."""

    sha256: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Batch:
    """The results of up to batch_size photos, in input order; each is in every requested frame, or in failures.

    classes: `PhotoClasses` without day, empty without a network; further: rows of other classifiers by their kind.
    """

    classes: pl.DataFrame
    further: Mapping[str, pl.DataFrame]
    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class _Shot:
    """One photo in flight: a crop, replaced by its scores once known, and each further classifier's values; or a failure."""

    sha256: str
    crop: Crop | None = None
    further: tuple[Sequence[object], ...] = ()
    scores: Scores | None = None
    failure: Failure | None = None


def classify_photos(
    photos: Iterable[tuple[str, bytes]],
    *,
    classifier: Classifier | None,
    further: Sequence[PhotoClassifier] = (),
    device: str = "auto",
    batch_size: int = 64,
    threads: int | None = None,
    cache: str | Path | None = None,
) -> Iterator[Batch]:
    """Classify photos, yielding every batch_size of them. Each is decoded once for all classifiers.

    classifier: the network; further: entries of the registry. photos: (sha256, bytes) in any order, read on a separate
    thread as fast as the rest keeps up; an error from it is raised here, after the batches before it. cache: a private
    folder for compiled networks (see `compiled.py`); without it the network runs eagerly. threads: one per core by default.
    About 2 x threads encoded photos are in memory at a time, and the results of 4 x batch_size or, on an accelerator, their
    crops. Close the iterator to stop early: it waits only for work in progress.

    A row's values do not depend on the other photos. Raises ValueError for a bad batch_size or absent device.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    torch_device = choose_device(device)
    keep_freed_memory()
    workers = threads or core_count()
    open_runner = partial(
        choose_runner, torch_device=torch_device, batch_size=batch_size, cache=Path(cache) if cache else None
    )
    return _classify(photos, classifier, further, open_runner, batch_size, workers)


def _classify(
    photos: Iterable[tuple[str, bytes]],
    classifier: Classifier | None,
    further: Sequence[PhotoClassifier],
    open_runner: Callable[[Classifier], CpuRunner | DeviceRunner],
    batch_size: int,
    threads: int,
) -> Iterator[Batch]:
    runner = open_runner(classifier) if classifier else None
    device = runner if isinstance(runner, DeviceRunner) else None
    work = _work(classifier, runner if isinstance(runner, CpuRunner) else None, [entry.load() for entry in further])
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
                    finished, take = in_flight.popleft()
                    yield _batch(finished, take() if take else _scores_of(finished), classifier, further)
            if error is not None:
                raise error
        finally:
            chunks.close()
            if device:
                device.close()


def _work(
    classifier: Classifier | None, runner: CpuRunner | None, further: Sequence[Compute]
) -> Work[tuple[str, bytes], _Shot, _Shot]:
    """Decode, and compute everything except the network's scores; on CPU those, too."""
    preprocessing = classifier.preprocessing if classifier else Preprocessing()

    def prepare(photo: tuple[str, bytes]) -> _Shot:
        return _shoot(*photo, preprocessing, has_crop=classifier is not None, further=further)

    def finish(shots: list[_Shot]) -> list[_Shot]:
        crops = [shot.crop for shot in shots if shot.crop is not None]
        if runner is None or not crops:
            return shots
        rows = iter(runner.score(crops).rows())
        return [replace(shot, crop=None, scores=next(rows)) if shot.crop is not None else shot for shot in shots]

    return Work(prepare, finish, runner.rows if runner else 1)


def _next(chunks: Iterator[list[_Shot]]) -> tuple[list[_Shot] | None, BaseException | None]:
    """The next chunk; None at the end, with the error that ended the input, so that chunks in flight are not lost."""
    try:
        return next(chunks, None), None
    except Exception as error:
        return None, error


def choose_runner(
    classifier: Classifier, torch_device: torch.device, batch_size: int, cache: Path | None
) -> CpuRunner | DeviceRunner:
    """The runner for the classifier on this device, in the precision and form that measure best there."""
    dtype = choose_dtype(torch_device)
    if torch_device.type != "cpu":
        module = copy.deepcopy(classifier.module).to(torch_device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return DeviceRunner(classifier, in_precision(module, torch_device, dtype), torch_device, batch_size)
    fused = fuse(classifier.module, dtype)
    if fused is not None:
        return CpuRunner(classifier, fused)
    forward = in_precision(classifier.module, torch_device, dtype)
    if cache is not None:
        forward = compiled_or_eager(classifier, forward, cache, rows=CPU_ROWS, dtype=dtype, runners=core_count())
    return CpuRunner(classifier, forward)


def _shoot(sha256: str, data: bytes, preprocessing: Preprocessing, *, has_crop: bool, further: Sequence[Compute]) -> _Shot:
    try:
        photo = decode(data, preprocessing)
    except BadImage as bad:
        return _Shot(sha256, failure=Failure(sha256, bad.reason, bad.detail))
    return _Shot(
        sha256,
        # A copy, because the crop is a view that would keep larger pixels alive.
        crop=photo.crop.copy(order="K") if has_crop else None,
        further=tuple(compute(photo) for compute in further),
    )


def _scores_of(chunk: list[_Shot]) -> Scores | None:
    parts = [shot.scores for shot in chunk if shot.scores is not None]
    return joined(parts) if parts else None


def _batch(
    chunk: list[_Shot], scores: Scores | None, classifier: Classifier | None, further: Sequence[PhotoClassifier]
) -> Batch:
    decoded = [shot for shot in chunk if shot.failure is None]
    cropped = [shot.sha256 for shot in decoded]
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
    rows = {entry.kind: entry.rows([(shot.sha256, shot.further[n]) for shot in decoded]) for n, entry in enumerate(further)}
    return Batch(classes, rows, tuple(shot.failure for shot in chunk if shot.failure is not None))
