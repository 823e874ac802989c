"""The assets of variants: one table per kind of data, each from parents, a policy and the engine (`making.py`).

Results are stored by the variant's identity: a new item adds only its own variants, and a policy that is changed and
changed back recomputes nothing.
"""

import hashlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from types import ModuleType
from typing import Any

import dagster as dg
import dataframely as dy
import polars as pl

from pipeline_assets.classify import assets as classify
from pipeline_assets.classify.schemas import MeasuredStyles, PhotoClasses
from pipeline_assets.classify.styles import CLASSIFIER as STYLES
from pipeline_assets.framework.code_version import Part
from pipeline_assets.framework.declaration import DayCheck, RunOfDays, Table
from pipeline_assets.framework.partitions import SAME_DAY
from pipeline_assets.framework.table_asset import table_asset
from pipeline_assets.ingestion import duplicates
from pipeline_assets.labeling.schemas import Annotations
from pipeline_assets.runtime.places import in_all_days
from pipeline_assets.training import split
from pipeline_assets.variants import checks, families, kinds, originals, planning, recipes, schemas
from pipeline_assets.variants.engine import making, result_writer, rows, sources, training_rows
from pipeline_assets.variants.engine.sources import SOURCES
from pipeline_assets.variants.families import leaking
from resources.classifier import ClassifierChoice
from resources.database import unread
from resources.database.contract import Database
from resources.lake.lake import Lake
from resources.objects.resource import Objects
from resources.objects.results import KEY, Results
from resources.variant_policy import VariantPolicy

ENGINE = (recipes, planning, making, result_writer, rows, families, duplicates, kinds, originals, sources, split)
"""The code that decides which variants an item has."""
DAYS_PER_RUN = 7
"""Days per run of a backfill: a retry repeats at most the look-ups of these."""


def code_of(kind: str) -> list[ModuleType | Part]:
    """The code of a kind's table: the engine, its ready-made recipes, the versions of operations and labels."""
    recipes_json = {name: recipe.json for name, recipe in planning.chosen(SOURCES[kind].kind, ()).items()}
    labels = Part("code", f"labels of {kind}", str(SOURCES[kind].kind.labels_version))
    return [*ENGINE, Part("code", f"recipes of {kind}", json.dumps(recipes_json, sort_keys=True)), labels]


def policy_of(kind: str) -> Callable[..., Mapping[date, str]]:
    """The policy as an external input: a day is stale when its kind's policy changes."""

    def digest(days: Sequence[date], variant_policy: VariantPolicy) -> Mapping[date, str]:
        policy_json = variant_policy.of(kind).model_dump_json(exclude={"share"}) + str(variant_policy.seed)
        return dict.fromkeys(days, hashlib.sha256(policy_json.encode()).hexdigest())

    return digest


def policy_and_families_of(kind: str) -> Callable[..., Mapping[date, str]]:
    """The policy, the items without variants and the unreadable items as external inputs: a day is stale when a
    look-alike appears on another day, and when an unreadable item is due for a retry or has a new place.
    """
    source, policy = SOURCES[kind], policy_of(kind)

    def digest(days: Sequence[date], variant_policy: VariantPolicy, lake: Lake, database: Database) -> Mapping[date, str]:
        digests = policy(days, variant_policy)
        tries = unread.tries(database, source.asset, days)
        digests = {**digests, **{day: f"{digests[day]} {tries[day]}" for day in digests if tries.get(day)}}
        all_items = source.others(lake)
        if all_items.is_empty():
            return digests
        unlabelled = {"raw_uploads": lake.scan("raw_uploads"), "annotations": Annotations.create_empty().lazy()}
        leaking_items = leaking(source.of(unlabelled, days), all_items)
        by_day = dict(leaking_items.group_by("day", maintain_order=True).agg(pl.col("sha256").str.join(",")).iter_rows())
        return {**digests} | {
            day: hashlib.sha256(f"{digests[day]} {leaking_items}".encode()).hexdigest()
            for day, leaking_items in by_day.items()
        }

    return digest


def checks_of(kind: str) -> list[DayCheck]:
    """The checks of a kind's table."""
    source = SOURCES[kind]
    return checks.for_kind(
        source.kind,
        lambda run: source.of(run.inputs, run.days),
        lambda run: run.once("others", lambda: source.others(run.resources.get("lake"))),
    )


def compute_variants(
    kind: str,
    run: RunOfDays,
    database: Database,
    uploads: Objects,
    objects: Objects,
    variant_policy: VariantPolicy,
    lake: Lake | None = None,
) -> Table:
    """The variants of one kind for the run's days."""
    source = SOURCES[kind]
    parents = source.of(run.inputs, run.days)
    unreadable: dict[str, str] = {}
    fetch = making.noting_unreadable(
        sources.fetch_from(parents, uploads.store, in_all_days(lake, uploads.bucket)), unreadable
    )
    results = Results(database, objects.store)
    table = making.variants_of(
        run,
        source.kind,
        source.schema,
        parents,
        fetch,
        results,
        variant_policy.of(kind),
        variant_policy.seed,
        run.once("others", lambda: source.others(lake)),
    )
    waiting = parents.select("day", "sha256").unique().filter(pl.col("sha256").is_in(list(unreadable)))
    unread.settle(database, run.asset, run.days, [(day, sha256, unreadable[sha256]) for day, sha256 in waiting.iter_rows()])
    return table


RESOURCES = ("database", "uploads", "objects", "variant_policy")
"""Resources of every kind; kinds whose families span days need the lake too."""


def table_of(
    kind: str, about: str, kinds: set[str], lineage: Mapping[str, Sequence[tuple[str, str]]] | None = None
) -> dg.AssetsDefinition:
    """The table of a kind as an asset; all but its display in the UI follows from the kind's source."""
    source = SOURCES[kind]
    has_families = source.owned is not None

    def compute(run: RunOfDays, **arguments: Any) -> Table:
        return compute_variants(kind, run, **{name: value for name, value in arguments.items() if name not in source.reads})

    names = [*source.reads, *RESOURCES, *(["lake"] if has_families else [])]
    run = inspect.Parameter("run", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names]
    compute.__name__, compute.__doc__ = source.asset, about
    compute.__signature__ = inspect.Signature([run, *parameters])  # type: ignore[attr-defined]
    declare = table_asset(
        schema=source.schema,
        group="variants",
        inputs=dict.fromkeys(source.reads, SAME_DAY),
        sources=policy_and_families_of(kind) if has_families else policy_of(kind),
        code=code_of(kind),
        checks=checks_of(kind),
        quarantines=True,
        kinds=kinds,
        pool="variants",
        days_per_run=DAYS_PER_RUN,
        automatic=bool(source.reads),
        lineage=lineage,
    )
    return declare(compute)


OF_UPLOADS = {"parent_sha256": [("raw_uploads", "sha256")], "labels_json": [("annotations", "labels_json")]}

photo_variants = table_of(
    "photos",
    """Photos turned, cut, coloured, blurred and mixed, each by a recipe: geometry, exposure, noise, film looks.

    Variants of training photos alone, unless the policy says otherwise. Boxes follow the geometry.
    """,
    {"pytorch", "s3"},
    OF_UPLOADS,
)
text_variants = table_of(
    "text",
    """Photos' titles in other words: synonyms of WordNet, another order, words left out, typing errors.

    Names, numbers and labelled spans stay as they are; spans follow.
    """,
    {"polars"},
    {
        "parent_sha256": [("photo_metadata", "title")],
        "text": [("photo_metadata", "title")],
        "labels_json": [("annotations", "labels_json")],
    },
)
table_variants = table_of(
    "tables",
    """The day's user features with cells deleted (the mask is kept as truth), jittered, swapped, or synthesized anew.

    A synthetic table comes with a report of how it compares with the real one, and copies none of its rows.
    """,
    {"polars"},
    {"parent_sha256": [("user_features", "user_id")]},
)
speech_variants = table_of(
    "speech",
    """Recordings made faster and slower, with pauses, noise, gain and rooms, and mixed with each other. Lossless.

    The times of words and segments follow.
    """,
    {"numpy", "s3"},
    OF_UPLOADS,
)
video_variants = table_of(
    "video",
    "Clips at another speed, with a pause, dropped frames, another clip or a photo's recipe all through; sound in step.",
    {"ffmpeg", "s3"},
    OF_UPLOADS,
)
receipt_renders = table_of(
    "receipts",
    "Receipts that never were: printed on wrinkled paper, lit, and seen by a camera; every line's place is known.",
    {"mitsuba"},
)


def _share(days: Sequence[date], variant_policy: VariantPolicy) -> Mapping[date, str]:
    return dict.fromkeys(days, str(variant_policy.photos.share))


@table_asset(
    schema=schemas.TrainingVariants,
    group="variants",
    inputs={"photo_variants": SAME_DAY, "training_table": SAME_DAY},
    sources=_share,
    code=[training_rows, classify.MODEL, classify.STYLES_ID],
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
    database: Database,
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
    results = Results(database, objects.store)
    contents = chosen.unique("sha256", maintain_order=True)
    hashes = contents["sha256"].to_list()
    model = classify.model_of(classifier)
    missing = classify.unknown(results, (model, classify.STYLES_ID), hashes)
    fetched = training_rows.fetch(contents.filter(pl.col("sha256").is_in(missing)), objects.store)
    failed = classify.compute(run, missing, fetched, results, classifier, further=[STYLES])
    if failed:
        raise RuntimeError(f"{len(failed)} variants could not be classified, the first: {failed[0]}")
    sources = ((PhotoClasses, model), (MeasuredStyles, classify.STYLES_ID))
    classes, styles = (_results_as_rows(schema, results.parts(kind, hashes)) for schema, kind in sources)
    return Table(training_rows.rows_of(chosen, training_table, classes, styles), metadata={"variants": chosen.height})


def _results_as_rows(schema: type[dy.Schema], parts: Iterator[pl.DataFrame]) -> pl.DataFrame:
    """Stored results as rows of a classifier's table, without the day."""
    names = [name for name in schema.column_names() if name != "day"]
    empty = schema.create_empty().select(names)
    return pl.concat([empty, *(part.rename({KEY: "sha256"}).select(names) for part in parts)])
