"""The classifier assets. They look rows up by content; missing results are computed in one pass over the photos.

A result is keyed by (sha256, model id), so the same bytes under ten keys or days are classified once, and a killed run
keeps every finished chunk. The assets share the pass: a photo is decoded once for all of them.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import cast

import dagster as dg
import polars as pl

from pipeline_assets.classify import checks, looks, model_files, registry, styles
from pipeline_assets.classify.photo_classifier import PhotoClassifier
from pipeline_assets.classify.schemas import PhotoClasses, PhotoStyles
from pipeline_assets.framework.code_version import Chosen, Part
from pipeline_assets.framework.declaration import RunOfDays, Table
from pipeline_assets.framework.partitions import DECLARED, SAME_DAY
from pipeline_assets.framework.schemas import Rejected
from pipeline_assets.framework.table_asset import table_asset
from pipeline_assets.ingestion.schemas import IS_PHOTO
from pipeline_assets.runtime.blobs import bytes_of
from pipeline_assets.runtime.places import TRIED_AGAIN, Contents, Find, in_all_days, nowhere, places_of, reason_of
from resources.classifier import ClassifierChoice
from resources.database import unread
from resources.database.contract import Database
from resources.errors import ObjectError
from resources.lake.lake import Lake
from resources.objects.resource import Objects
from resources.objects.result_chunks import ResultChunks
from resources.objects.results import KEY, Results


def model_of(classifier: ClassifierChoice) -> str:
    """The id of the chosen classifier, under which its results are stored."""
    return model_files.model_id(classifier.model)


MODEL = Chosen.by("classifier", model_of, "model", "classifier", model_files.model_id(DECLARED.model))
STYLES_ID = Part("code", "measures", styles.STYLES_ID)
LOOKS_ID = Part("model", "looks", looks.load().model_id)
CHUNK_ROWS = 512
"""Results are kept this many photos at a time: what a kill can cost."""
READ_AHEAD = 128
"""Photos fetched in bursts of up to so many, within the store's bound on bytes: few large bursts disturb the cores least."""
COMPILE_FROM = 5_000
"""Photos from which on trying a compiled network, about a minute the first time, can pay."""
_NO_CLASSES = pl.DataFrame(schema={"sha256": pl.String, "model_id": pl.String, "embedding": pl.List(pl.Float32)})
Fetched = Iterator[tuple[str, bytes | Path | Exception]]
"""Contents by sha256, verified, each with its bytes or with why there are none, in any order."""
Failed = tuple[str, str, str]
"""A photo that could not be computed: sha256, reason, detail."""
DAYS_PER_RUN = 7
"""Chunk of a backfill: classifying is the heavy part, and a chunk is what a retry repeats looking up."""


def retries(asset: str) -> Callable[..., Mapping[date, str]]:
    """External state: a day is computed again when contents that it lacks are due for a retry, or have a new place."""

    def digest(days: Sequence[date], database: Database) -> Mapping[date, str]:
        return {day: str(tries) for day, tries in unread.tries(database, asset, days).items() if tries}

    return digest


_photo_table = partial(
    table_asset,
    group="classify",
    inputs={"raw_uploads": SAME_DAY},
    sources_are_pinned=True,
    pool="gpu",
    days_per_run=DAYS_PER_RUN,
    automatic=True,
    imports=["torch", "pipeline_assets.classify.pipeline", "pipeline_assets.classify.models"],
)
"""A table of photos' results: what all of these declare alike."""


def _from_uploads(*columns: str) -> dict[str, list[tuple[str, str]]]:
    """The lineage of columns that are computed from a photo's bytes."""
    return {name: [("raw_uploads", "sha256")] for name in columns}


@_photo_table(
    schema=PhotoClasses,
    sources=retries("photo_classes"),
    code=[MODEL],
    checks=[checks.EVERY_PHOTO_IS_CLASSIFIED, checks.PROBABILITIES],
    kinds={"pytorch", "s3"},
    lineage=_from_uploads("top5_index", "top5_label", "top5_probability", "embedding"),
    day_metadata=checks.most_common_classes,
)
def photo_classes(
    run: RunOfDays,
    raw_uploads: pl.LazyFrame,
    database: Database,
    uploads: Objects,
    objects: Objects,
    classifier: ClassifierChoice,
    lake: Lake,
) -> Table:
    """The content of each photo: the five most probable classes of an image classifier, and its embedding.

    Fetching, decoding and the network overlap; memory does not depend on the day's size. The model is EfficientNet-Lite0
    with ImageNet weights, or yours (setting DARKROOM_MODEL). Equal bytes and models have equal rows, computed once.
    """
    return look_up(run, model_of(classifier), raw_uploads, Results(database, objects.store), uploads, classifier, lake)


@_photo_table(
    schema=PhotoStyles,
    sources=retries("photo_styles"),
    code=[STYLES_ID, MODEL, LOOKS_ID],
    checks=[checks.EVERY_PHOTO_IS_MEASURED],
    kinds={"numpy", "pytorch", "s3"},
    lineage=_from_uploads(*list(PhotoStyles.columns())[3:]),
    day_metadata=checks.looks_of_day,
)
def photo_styles(
    run: RunOfDays,
    raw_uploads: pl.LazyFrame,
    database: Database,
    uploads: Objects,
    objects: Objects,
    classifier: ClassifierChoice,
    lake: Lake,
) -> Table:
    """The style of each photo: brightness, contrast, saturation, colourfulness, sharpness, aspect, as published; its look.

    Measured on 8-bit sRGB at a short side of 256 pixels, from the decode that also serves `photo_classes`. A model trained
    on variants of photos predicts the look (natural, black and white, sepia, ...) from measures and embedding.
    """
    results = Results(database, objects.store)
    model = model_of(classifier)
    measured = look_up(run, STYLES_ID, raw_uploads, results, uploads, classifier, lake, needed_kinds=(STYLES_ID, model))
    rows = _with_looks(cast("Iterable[pl.DataFrame]", measured.rows), results, model)
    return Table(rows, measured.rejected, measured.metadata)


def _with_looks(measured: Iterable[pl.DataFrame], results: Results, model: str) -> Iterator[pl.DataFrame]:
    """Rows with their looks; embeddings are read in chunks of rows."""
    for rows in measured:
        embeddings = [part.select(KEY, "model_id", "embedding") for part in results.parts(model, rows["sha256"].to_list())]
        classes = pl.concat(embeddings).rename({KEY: "sha256"}) if embeddings else _NO_CLASSES
        yield looks.with_looks(rows, classes, "sha256", looks.load())


def look_up(
    run: RunOfDays,
    kind: str,
    raw_uploads: pl.LazyFrame,
    results: Results,
    uploads: Objects,
    classifier: ClassifierChoice,
    lake: Lake,
    needed_kinds: Sequence[str] = (),
) -> Table:
    """Rows of one kind for the run's days; missing results are computed, failures are rejected with their reason.

    needed_kinds: kinds of which each photo needs a result; by default the one kind.
    """
    places = (
        raw_uploads.filter(IS_PHOTO, pl.col("day").is_in(pl.Series(run.days, dtype=pl.Date).implode()))
        .select("day", "sha256", "key", "version_id")
        .sort("day", "key", "version_id")
        .collect()
    )
    photos = places.unique(["day", "sha256"], keep="first", maintain_order=True)
    hashes = photos["sha256"].unique(maintain_order=True).to_list()
    missing = unknown(results, needed_kinds or (kind,), hashes)
    start_s = time.monotonic()
    photo_places = places.filter(pl.col("sha256").is_in(missing))
    failed = compute(run, missing, fetch(photo_places, uploads, in_all_days(lake, uploads.bucket)), results, classifier)
    seconds = time.monotonic() - start_s
    rows = (photos.join(part, left_on="sha256", right_on=KEY) for part in results.parts(kind, hashes))
    computed = len(missing) - len(failed)
    failed_hashes = set(results.missing(kind, [sha256 for sha256, _, _ in failed]))
    reasons = {sha256: reason for sha256, reason, _ in failed if sha256 in failed_hashes and reason in TRIED_AGAIN}
    waiting = photos.select("day", "sha256").filter(pl.col("sha256").is_in(list(reasons))).iter_rows()
    unread.settle(results.database, run.asset, run.days, [(day, sha256, reasons[sha256]) for day, sha256 in waiting])
    facts: dict[str, float] = {"photos": len(hashes), "computed": computed, "looked_up": len(hashes) - len(missing)}
    if computed:
        facts |= {"photos_per_s": computed / seconds}
    return Table(
        rows, rejected=_rejected(photos, [failure for failure in failed if failure[0] in failed_hashes]), metadata=facts
    )


def unknown(results: Results, kinds: Sequence[str], hashes: Sequence[str]) -> list[str]:
    """The hashes that lack a result of any of these kinds, in order."""
    missing = {key for kind in kinds for key in results.missing(kind, hashes)}
    return [key for key in hashes if key in missing]


def _rejected(photos: pl.DataFrame, failed: list[Failed]) -> pl.DataFrame:
    """Each photo that could not be computed, on each of its days."""
    reasons = pl.DataFrame(failed, schema=dict.fromkeys(("sha256", "reason", "detail"), pl.String), orient="row")
    source = pl.format("{} {}", "key", "version_id")
    rejected = photos.join(reasons, on="sha256").select(
        "day", "reason", "detail", source=source, raw=pl.lit(None, pl.String)
    )
    return rejected.select(Rejected.column_names())


def fetch(photos: pl.DataFrame, uploads: Objects, find: Find = nowhere) -> Fetched:
    """The bytes of photos (sha256, key, version_id), each content once, by sha256, from any place; an error as the value."""
    places = places_of(photos)
    return Contents(uploads.store, places, find).read(places, concurrency=READ_AHEAD)


def compute(
    run: RunOfDays,
    hashes: Sequence[str],
    fetched: Fetched,
    results: Results,
    classifier: ClassifierChoice,
    further: Sequence[PhotoClassifier] = registry.CLASSIFIERS,
) -> list[Failed]:
    """Classify photos by the network and every further classifier that lacks one of them; results are stored in chunks.

    hashes: their distinct sha256; fetched: each with its bytes or the error, in any order. further: other classifiers.
    """
    failed: list[Failed] = []
    if not hashes:
        return failed
    from pipeline_assets.classify import models, pipeline  # torch takes two seconds to import, and look-ups do not need it

    model = model_of(classifier)
    network = models.load_classifier(classifier.model) if results.missing(model, hashes) else None
    batches = pipeline.classify_photos(
        run.progress(_readable(fetched, failed), len(hashes), "photos"),
        classifier=network,
        further=[entry for entry in further if results.missing(entry.kind, hashes)],
        device=classifier.device,
        batch_size=classifier.batch_size,
        cache=Path(classifier.cache) if len(hashes) >= COMPILE_FROM else None,
    )
    with ResultChunks(results, CHUNK_ROWS) as chunks:
        for batch in batches:
            chunks.add(network.model_id if network else model, batch.classes.rename({"sha256": KEY}))
            for kind, rows in batch.further.items():
                chunks.add(kind, rows.rename({"sha256": KEY}))
            failed.extend((failure.sha256, failure.reason, failure.detail) for failure in batch.failures)
    return failed


def _readable(fetched: Fetched, failed: list[Failed]) -> Iterator[tuple[str, bytes]]:
    """Photos whose bytes could be read; the others are added to `failed`."""
    for sha256, data in fetched:
        if isinstance(data, ObjectError):
            failed.append((sha256, reason_of(data), str(data)))
        elif isinstance(data, Exception):
            raise data
        else:
            yield sha256, bytes_of(data)


def table_of(entry: PhotoClassifier) -> dg.AssetsDefinition:
    """The asset of a registered classifier's table."""

    def rows(
        run: RunOfDays,
        raw_uploads: pl.LazyFrame,
        database: Database,
        uploads: Objects,
        objects: Objects,
        classifier: ClassifierChoice,
        lake: Lake,
    ) -> Table:
        return look_up(run, entry.kind, raw_uploads, Results(database, objects.store), uploads, classifier, lake)

    rows.__name__, rows.__doc__ = entry.table, entry.about
    declare = _photo_table(
        schema=entry.schema,
        sources=retries(entry.table),
        code=[Part("code", "classifier", entry.kind)],
        checks=[checks.EVERY_PHOTO_IS_CLASSIFIED],
        kinds={"s3"},
        lineage=_from_uploads(*entry.computed_columns),
    )
    return declare(rows)


OTHERS = [table_of(entry) for entry in registry.CLASSIFIERS if entry is not styles.CLASSIFIER]
"""Styles have an asset of their own, which adds looks."""
