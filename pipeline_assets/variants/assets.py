"""The assets of variants: a table for each kind of data. All are alike: parents, a policy, and the engine (`making.py`).

A variant is kept by its identity: a new item makes its own variants only, and a policy that is changed and changed back
makes nothing anew.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from types import ModuleType

import dataframely as dy
import polars as pl

from pipeline_assets.classify import assets as classify
from pipeline_assets.classify.schemas import MeasuredStyles, PhotoClasses
from pipeline_assets.ingestion import duplicates
from pipeline_assets.labeling.schemas import Annotations
from pipeline_assets.partitions import SAME_DAY
from pipeline_assets.table_asset import DayCheck, RunOfDays, Table, table_asset
from pipeline_assets.training import split
from pipeline_assets.variants import (
    checks,
    families,
    kinds,
    making,
    parents,
    planning,
    recipes,
    schemas,
    sources,
    training_rows,
)
from pipeline_assets.variants.families import leaking
from pipeline_assets.variants.sources import SOURCES
from pipeline_assets.versioning.code import Part
from resources.classifier import ClassifierChoice
from resources.database import Database
from resources.lake import Lake
from resources.objects import Objects
from resources.results import KEY, Results
from resources.variant_policy import VariantPolicy

ENGINE = (recipes, planning, making, families, duplicates, kinds, parents, sources, split)
"""What decides which variants there are of which item by a kind's recipes."""
DAYS_PER_RUN = 7
"""Chunk of a backfill: making is the heavy part, and a chunk is what a retry repeats looking up."""


def code_of(kind: str) -> list[ModuleType | Part]:
    """The code that a kind's table is made by: the engine, and its ready-made recipes with their operations' versions."""
    told = {name: recipe.json for name, recipe in planning.chosen(SOURCES[kind].kind, ()).items()}
    return [*ENGINE, Part("code", f"recipes of {kind}", json.dumps(told, sort_keys=True))]


def policy_of(kind: str) -> Callable[..., Mapping[date, str]]:
    """The policy as what comes from outside: a day is looked at again when its kind's policy changes."""

    def digest(days: Sequence[date], variant_policy: VariantPolicy) -> Mapping[date, str]:
        told = variant_policy.of(kind).model_dump_json(exclude={"share"}) + str(variant_policy.seed)
        return dict.fromkeys(days, hashlib.sha256(told.encode()).hexdigest())

    return digest


def policy_and_families_of(kind: str) -> Callable[..., Mapping[date, str]]:
    """The policy, and which items may have no variants: a day is looked at again when a look-alike comes on another day."""
    source, policy = SOURCES[kind], policy_of(kind)

    def digest(days: Sequence[date], variant_policy: VariantPolicy, lake: Lake) -> Mapping[date, str]:
        told = policy(days, variant_policy)
        others = source.others(lake)
        if others.is_empty():
            return told
        unlabelled = {"raw_uploads": lake.scan("raw_uploads"), "annotations": Annotations.create_empty().lazy()}
        torn = leaking(source.of(unlabelled, days), others)
        by_day = dict(torn.group_by("day", maintain_order=True).agg(pl.col("sha256").str.join(",")).iter_rows())
        return {**told} | {day: hashlib.sha256(f"{told[day]} {torn}".encode()).hexdigest() for day, torn in by_day.items()}

    return digest


def checks_of(kind: str) -> list[DayCheck]:
    """The checks of a kind's table."""
    source = SOURCES[kind]
    return checks.for_kind(
        source.kind,
        lambda run: source.of(run.inputs, run.days),
        lambda run: run.once("others", lambda: source.others(run.resources.get("lake"))),
    )


def made(
    kind: str,
    run: RunOfDays,
    postgres: Database,
    uploads: Objects,
    objects: Objects,
    variant_policy: VariantPolicy,
    lake: Lake | None = None,
) -> Table:
    """The variants of one kind for the run's days."""
    source = SOURCES[kind]
    found = source.of(run.inputs, run.days)
    fetch = sources.fetch_from(found, uploads.store)
    results = Results(postgres, objects.store)
    return making.variants_of(
        run,
        source.kind,
        source.schema,
        found,
        fetch,
        results,
        variant_policy.of(kind),
        variant_policy.seed,
        run.once("others", lambda: source.others(lake)),
    )


@table_asset(
    schema=schemas.PhotoVariants,
    group="variants",
    inputs={"raw_uploads": SAME_DAY, "annotations": SAME_DAY},
    sources=policy_and_families_of("photos"),
    code=code_of("photos"),
    checks=checks_of("photos"),
    quarantines=True,
    kinds={"pytorch", "s3"},
    pool="variants",
    days_per_run=DAYS_PER_RUN,
    automatic=True,
    lineage={"parent_sha256": [("raw_uploads", "sha256")], "labels_json": [("annotations", "labels_json")]},
)
def photo_variants(
    run: RunOfDays,
    raw_uploads: pl.LazyFrame,
    annotations: pl.LazyFrame,
    postgres: Database,
    uploads: Objects,
    objects: Objects,
    variant_policy: VariantPolicy,
    lake: Lake,
) -> Table:
    """Photos turned, cut, coloured, blurred and mixed, each by a recipe: geometry, exposure, noise, film looks.

    Variants of training photos alone, unless the policy says otherwise. Boxes follow the geometry.
    """
    return made("photos", run, postgres, uploads, objects, variant_policy, lake)


@table_asset(
    schema=schemas.TextVariants,
    group="variants",
    inputs={"photo_metadata": SAME_DAY, "annotations": SAME_DAY},
    sources=policy_of("text"),
    code=code_of("text"),
    checks=checks_of("text"),
    quarantines=True,
    kinds={"polars"},
    pool="variants",
    days_per_run=DAYS_PER_RUN,
    automatic=True,
    lineage={
        "parent_sha256": [("photo_metadata", "title")],
        "text": [("photo_metadata", "title")],
        "labels_json": [("annotations", "labels_json")],
    },
)
def text_variants(
    run: RunOfDays,
    photo_metadata: pl.LazyFrame,
    annotations: pl.LazyFrame,
    postgres: Database,
    uploads: Objects,
    objects: Objects,
    variant_policy: VariantPolicy,
) -> Table:
    """Photos' titles in other words: synonyms of WordNet, another order, words left out, typing errors.

    Names, numbers and labelled spans stay as they are; spans follow.
    """
    return made("text", run, postgres, uploads, objects, variant_policy)


@table_asset(
    schema=schemas.TableVariants,
    group="variants",
    inputs={"user_features": SAME_DAY},
    sources=policy_of("tables"),
    code=code_of("tables"),
    checks=checks_of("tables"),
    quarantines=True,
    kinds={"polars"},
    pool="variants",
    days_per_run=DAYS_PER_RUN,
    automatic=True,
    lineage={"parent_sha256": [("user_features", "user_id")]},
)
def table_variants(
    run: RunOfDays,
    user_features: pl.LazyFrame,
    postgres: Database,
    uploads: Objects,
    objects: Objects,
    variant_policy: VariantPolicy,
) -> Table:
    """The day's user features with cells deleted (the mask is kept as truth), jittered, swapped, or synthesized anew.

    A synthetic table comes with a report of how it compares with the real one, and copies none of its rows.
    """
    return made("tables", run, postgres, uploads, objects, variant_policy)


@table_asset(
    schema=schemas.SpeechVariants,
    group="variants",
    inputs={"raw_uploads": SAME_DAY, "annotations": SAME_DAY},
    sources=policy_and_families_of("speech"),
    code=code_of("speech"),
    checks=checks_of("speech"),
    quarantines=True,
    kinds={"numpy", "s3"},
    pool="variants",
    days_per_run=DAYS_PER_RUN,
    automatic=True,
    lineage={"parent_sha256": [("raw_uploads", "sha256")], "labels_json": [("annotations", "labels_json")]},
)
def speech_variants(
    run: RunOfDays,
    raw_uploads: pl.LazyFrame,
    annotations: pl.LazyFrame,
    postgres: Database,
    uploads: Objects,
    objects: Objects,
    variant_policy: VariantPolicy,
    lake: Lake,
) -> Table:
    """Recordings made faster and slower, with pauses, noise, gain and rooms, and mixed with each other. Lossless.

    The times of words and segments follow.
    """
    return made("speech", run, postgres, uploads, objects, variant_policy, lake)


@table_asset(
    schema=schemas.VideoVariants,
    group="variants",
    inputs={"raw_uploads": SAME_DAY, "annotations": SAME_DAY},
    sources=policy_and_families_of("video"),
    code=code_of("video"),
    checks=checks_of("video"),
    quarantines=True,
    kinds={"ffmpeg", "s3"},
    pool="variants",
    days_per_run=DAYS_PER_RUN,
    automatic=True,
    lineage={"parent_sha256": [("raw_uploads", "sha256")], "labels_json": [("annotations", "labels_json")]},
)
def video_variants(
    run: RunOfDays,
    raw_uploads: pl.LazyFrame,
    annotations: pl.LazyFrame,
    postgres: Database,
    uploads: Objects,
    objects: Objects,
    variant_policy: VariantPolicy,
    lake: Lake,
) -> Table:
    """Clips at another speed, with a pause, dropped frames, another clip or a photo's recipe all through; sound in step."""
    return made("video", run, postgres, uploads, objects, variant_policy, lake)


@table_asset(
    schema=schemas.ReceiptRenders,
    group="variants",
    sources=policy_of("receipts"),
    code=code_of("receipts"),
    checks=checks_of("receipts"),
    quarantines=True,
    kinds={"mitsuba"},
    pool="variants",
    days_per_run=DAYS_PER_RUN,
)
def receipt_renders(
    run: RunOfDays, postgres: Database, uploads: Objects, objects: Objects, variant_policy: VariantPolicy
) -> Table:
    """Receipts that never were: printed on wrinkled paper, lit, and seen by a camera; every line's place is known."""
    return made("receipts", run, postgres, uploads, objects, variant_policy)


def _share(days: Sequence[date], variant_policy: VariantPolicy) -> Mapping[date, str]:
    return dict.fromkeys(days, str(variant_policy.photos.share))


@table_asset(
    schema=schemas.TrainingVariants,
    group="variants",
    inputs={"photo_variants": SAME_DAY, "training_table": SAME_DAY},
    sources=_share,
    code=[training_rows, classify.MODEL_ID, classify.STYLES_ID],
    kinds={"pytorch", "polars"},
    pool="gpu",
    days_per_run=DAYS_PER_RUN,
    automatic=True,
    lineage={
        "sha256": [("photo_variants", "content_sha256")],
        "popularity": [("training_table", "popularity")],
        "embedding": [("photo_variants", "content_sha256")],
    },
)
def training_variants(
    run: RunOfDays,
    photo_variants: pl.LazyFrame,
    training_table: pl.LazyFrame,
    postgres: Database,
    objects: Objects,
    classifier: ClassifierChoice,
    variant_policy: VariantPolicy,
) -> Table:
    """Variants of photos as rows to train on, classified and measured as photos are; everything else is their photo's.

    Train split only, at most `share` of the policy for each real row. With a share of 0, the default, there are none and
    nothing is computed; else `popularity_model` is trained with and without them, and says both scores.
    """
    share = variant_policy.photos.share
    if not share:
        return Table(schemas.TrainingVariants.create_empty())
    chosen = training_rows.choose(photo_variants.collect(), training_table, share)
    results = Results(postgres, objects.store)
    contents = chosen.unique("sha256", maintain_order=True)
    hashes = contents["sha256"].to_list()
    missing = classify.unknown(results, (classify.MODEL_ID, classify.STYLES_ID), hashes)
    fetched = training_rows.fetch(contents.filter(pl.col("sha256").is_in(missing)), objects.store)
    failed = classify.compute(run, missing, fetched, results, classifier)
    if failed:
        raise RuntimeError(f"{len(failed)} variants could not be classified, the first: {failed[0]}")
    kept = ((PhotoClasses, classify.MODEL_ID), (MeasuredStyles, classify.STYLES_ID))
    classes, styles = (_known(schema, results.parts(kind, hashes)) for schema, kind in kept)
    return Table(training_rows.rows_of(chosen, training_table, classes, styles), metadata={"variants": chosen.height})


def _known(schema: type[dy.Schema], parts: Iterator[pl.DataFrame]) -> pl.DataFrame:
    """Kept results as rows of a classifier's table, without the day."""
    names = [name for name in schema.column_names() if name != "day"]
    empty = schema.create_empty().select(names)
    return pl.concat([empty, *(part.rename({KEY: "sha256"}).select(names) for part in parts)])
