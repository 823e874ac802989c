"""The classifier assets. Both look their rows up by content; what is not known yet is computed in one pass over photos.

A result is keyed by (sha256, model id), so the same bytes under ten keys or days are classified once, and a killed run
keeps every chunk that it finished. Both assets share the pass: the photos that one decodes serve the other.
"""

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import cast

import polars as pl

from pipeline_assets.classify import checks, looks, registry, styles
from pipeline_assets.classify.schemas import PhotoClasses, PhotoStyles
from pipeline_assets.ingestion.schemas import IS_PHOTO, Rejected
from pipeline_assets.partitions import SAME_DAY
from pipeline_assets.table_asset import RunOfDays, Table, table_asset
from pipeline_assets.versioning.code import Part
from resources import ledger
from resources.classifier import ClassifierChoice
from resources.database import Database
from resources.errors import NotFound
from resources.objects import Objects
from resources.results import KEY, Results
from resources.settings import load_settings

MODEL_ID = Part("model", "classifier", registry.model_id(load_settings().model))
STYLES_ID = Part("code", "measures", styles.STYLES_ID)
LOOKS_ID = Part("model", "looks", looks.load().model_id)
CHUNK_ROWS = 512
"""Results are kept this many photos at a time: what a kill can cost."""
READ_AHEAD = 128
"""Photos fetched in bursts of up to so many, within the store's bound on bytes: few large bursts disturb the cores least."""
COMPILE_FROM = 5_000
"""Photos from which on trying a compiled network, about a minute the first time, can pay."""
_NO_CLASSES = pl.DataFrame(schema={"sha256": pl.String, "model_id": pl.String, "embedding": pl.List(pl.Float32)})
Failed = tuple[str, str, str]
"""A photo that could not be computed: sha256, reason, detail."""
DAYS_PER_RUN = 7
"""Chunk of a backfill: classifying is the heavy part, and a chunk is what a retry repeats looking up."""


@table_asset(
    schema=PhotoClasses,
    group="classify",
    inputs={"raw_uploads": SAME_DAY},
    code=[MODEL_ID],
    checks=[checks.EVERY_PHOTO_IS_CLASSIFIED, checks.PROBABILITIES],
    kinds={"pytorch", "s3"},
    pool="gpu",
    days_per_run=DAYS_PER_RUN,
    automatic=True,
    lineage={name: [("raw_uploads", "sha256")] for name in ("top5_index", "top5_label", "top5_probability", "embedding")},
    day_metadata=checks.most_common_classes,
    imports=["torch", "pipeline_assets.classify.pipeline", "pipeline_assets.classify.models"],
)
def photo_classes(
    run: RunOfDays,
    raw_uploads: pl.LazyFrame,
    postgres: Database,
    uploads: Objects,
    objects: Objects,
    classifier: ClassifierChoice,
) -> Table:
    """What is in each photo: the five most probable classes of an image classifier, and the embedding behind them.

    Fetching, decoding and the network overlap; memory is bounded whatever the day's size. The model is EfficientNet-Lite0
    with ImageNet weights, or yours (setting DARKROOM_MODEL). Same bytes and model, same row, computed once.
    """
    return look_up(run, MODEL_ID, raw_uploads, Results(postgres, objects.store), uploads, classifier)


@table_asset(
    schema=PhotoStyles,
    group="classify",
    inputs={"raw_uploads": SAME_DAY},
    code=[STYLES_ID, MODEL_ID, LOOKS_ID],
    checks=[checks.EVERY_PHOTO_IS_MEASURED],
    kinds={"numpy", "pytorch", "s3"},
    pool="gpu",
    days_per_run=DAYS_PER_RUN,
    automatic=True,
    lineage={name: [("raw_uploads", "sha256")] for name in list(PhotoStyles.columns())[3:]},
    day_metadata=checks.looks_of_day,
    imports=["torch", "pipeline_assets.classify.pipeline", "pipeline_assets.classify.models"],
)
def photo_styles(
    run: RunOfDays,
    raw_uploads: pl.LazyFrame,
    postgres: Database,
    uploads: Objects,
    objects: Objects,
    classifier: ClassifierChoice,
) -> Table:
    """How each photo looks: brightness, contrast, saturation, colourfulness, sharpness, aspect, each as published; its look.

    Measured on 8-bit sRGB at a short side of 256 pixels, in the same decode that serves `photo_classes`. The look (natural,
    black and white, sepia, ...) is told from measures and embedding by a model that was trained on variants of photos.
    """
    results = Results(postgres, objects.store)
    measured = look_up(run, STYLES_ID, raw_uploads, results, uploads, classifier, needed=(STYLES_ID, MODEL_ID))
    rows = _with_looks(cast("Iterable[pl.DataFrame]", measured.rows), results)
    return Table(rows, measured.rejected, measured.metadata)


def _with_looks(measured: Iterable[pl.DataFrame], results: Results) -> Iterator[pl.DataFrame]:
    """Rows with their looks; embeddings are read for a chunk of rows at a time."""
    for rows in measured:
        known = [part.select(KEY, "model_id", "embedding") for part in results.parts(MODEL_ID, rows["sha256"].to_list())]
        classes = pl.concat(known).rename({KEY: "sha256"}) if known else _NO_CLASSES
        yield looks.with_looks(rows, classes, "sha256", looks.load())


def look_up(
    run: RunOfDays,
    kind: str,
    raw_uploads: pl.LazyFrame,
    results: Results,
    uploads: Objects,
    classifier: ClassifierChoice,
    needed: Sequence[str] = (),
) -> Table:
    """Rows of one kind for the run's days; what is unknown is computed, what can't be is rejected with its reason.

    needed: kinds of which each photo shall be known afterwards, if more than the one.
    """
    photos = (
        raw_uploads.filter(IS_PHOTO, pl.col("day").is_in(pl.Series(run.days, dtype=pl.Date).implode()))
        .select("day", "sha256", "key", "version_id")
        .unique(["day", "sha256"], keep="first", maintain_order=True)
        .sort("day", "key", "version_id")
        .collect()
    )
    hashes = photos["sha256"].unique(maintain_order=True).to_list()
    missing = unknown(results, needed or (kind,), hashes)
    started = time.monotonic()
    failed = compute(run, missing, fetch(photos.filter(pl.col("sha256").is_in(missing)), uploads), results, classifier)
    seconds = time.monotonic() - started
    rows = (photos.join(known, left_on="sha256", right_on=KEY) for known in results.parts(kind, hashes))
    computed = len(missing) - len(failed)
    lost = set(results.missing(kind, [sha256 for sha256, _, _ in failed]))
    facts: dict[str, float] = {"photos": len(hashes), "computed": computed, "looked_up": len(hashes) - len(missing)}
    if computed:
        facts |= {"photos_per_s": computed / seconds}
    return Table(rows, rejected=_rejected(photos, [one for one in failed if one[0] in lost]), metadata=facts)


def unknown(results: Results, kinds: Sequence[str], hashes: Sequence[str]) -> list[str]:
    """Those of `hashes` that lack a result of any of these kinds, in order."""
    lacking = {key for kind in kinds for key in results.missing(kind, hashes)}
    return [key for key in hashes if key in lacking]


def _rejected(photos: pl.DataFrame, failed: list[Failed]) -> pl.DataFrame:
    """Each photo that could not be computed, on each of its days."""
    reasons = pl.DataFrame(failed, schema=dict.fromkeys(("sha256", "reason", "detail"), pl.String), orient="row")
    source = pl.format("{} {}", "key", "version_id")
    rejected = photos.join(reasons, on="sha256").select(
        "day", "reason", "detail", source=source, raw=pl.lit(None, pl.String)
    )
    return rejected.select(Rejected.column_names())


def fetch(photos: pl.DataFrame, uploads: Objects) -> Iterator[tuple[str, bytes | Exception]]:
    """The bytes of photos (sha256, key, version_id), each content once, by sha256; an error as its value."""
    wanted = photos.unique("sha256", maintain_order=True)
    fetched = uploads.store.get_many(
        wanted.iter_rows(named=True),
        key=lambda item: item["key"],
        version_id=lambda item: ledger.readable_version(item["version_id"]),
        concurrency=READ_AHEAD,
    )
    return ((item["sha256"], data) for item, data in fetched)


def compute(
    run: RunOfDays,
    hashes: Sequence[str],
    fetched: Iterator[tuple[str, bytes | Exception]],
    results: Results,
    classifier: ClassifierChoice,
) -> list[Failed]:
    """Classify and measure photos of which either is unknown, keeping results chunk by chunk.

    hashes: their sha256, each once; fetched: each with its bytes, or with why there are none, in any order.
    """
    failed: list[Failed] = []
    if not hashes:
        return failed
    from pipeline_assets.classify import models, pipeline  # torch takes two seconds to import, and look-ups need none

    to_classify = results.missing(MODEL_ID, hashes)
    batches = pipeline.classify_photos(
        run.progress(_verified(fetched, failed), len(hashes), "photos"),
        classifier=models.load_classifier(classifier.model) if to_classify else None,
        styles=True,
        device=classifier.device,
        batch_size=classifier.batch_size,
        cache=Path(classifier.cache) if len(hashes) >= COMPILE_FROM else None,
    )
    with _Chunks(results) as chunks:
        for batch in batches:
            chunks.add(MODEL_ID, batch.classes)
            chunks.add(STYLES_ID, batch.styles)
            failed.extend((failure.sha256, failure.reason, failure.detail) for failure in batch.failures)
    return failed


def _verified(fetched: Iterator[tuple[str, bytes | Exception]], failed: list[Failed]) -> Iterator[tuple[str, bytes]]:
    """Photos whose bytes are still those that their hash names; the others go to `failed`."""
    for sha256, data in fetched:
        if isinstance(data, Exception) and not isinstance(data, NotFound):
            raise data
        if isinstance(data, Exception):
            failed.append((sha256, "gone", str(data)))
        elif (found := hashlib.sha256(data).hexdigest()) != sha256:
            told = f"the bytes read have sha256 {found}: restore the object, then compute the day with force"
            failed.append((sha256, "corrupt", told))
        else:
            yield sha256, data


class _Chunks:
    """Collects rows by kind and keeps them whenever CHUNK_ROWS are together, one chunk beside the work that goes on.

    As a context manager: the rest is kept on exit; an error in keeping is raised by the next call.
    """

    def __init__(self, results: Results) -> None:
        self.results = results
        self.waiting: dict[str, list[pl.DataFrame]] = {}
        self.writer = ThreadPoolExecutor(1, thread_name_prefix="classify-keep")
        self.writing: Future[None] | None = None

    def __enter__(self) -> "_Chunks":
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        try:
            # What was finished is kept also when the work ends with an error.
            for kind in list(self.waiting):
                self._keep(kind)
            if self.writing:
                self.writing.result()
        finally:
            self.writer.shutdown()

    def add(self, kind: str, rows: pl.DataFrame) -> None:
        """Take rows with their `sha256`."""
        waiting = self.waiting.setdefault(kind, [])
        waiting.append(rows.rename({"sha256": KEY}))
        if sum(frame.height for frame in waiting) >= CHUNK_ROWS:
            self._keep(kind)

    def _keep(self, kind: str) -> None:
        rows = pl.concat(self.waiting.pop(kind))
        if self.writing:
            self.writing.result()
        self.writing = self.writer.submit(self.results.put, kind, rows)
