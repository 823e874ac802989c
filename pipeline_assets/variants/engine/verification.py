"""Remakes variants and compares: the same recipe, seed and parents must give the same bytes."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl

from pipeline_assets.errors import BadRecipe, UnfitParent
from pipeline_assets.runtime.blobs import MAX_IN_MEMORY_BYTES
from pipeline_assets.runtime.transfer import temporary
from pipeline_assets.variants.engine.making import read_ahead_of
from pipeline_assets.variants.engine.sources import SOURCES, Source, fetch_from
from pipeline_assets.variants.kinds import Kind, Task
from pipeline_assets.variants.planning import Planned
from pipeline_assets.variants.recipes import Recipe, variant_id
from resources.errors import CorruptObject, InvalidRange, NotFound
from resources.files import sha256_of
from resources.lake.lake import Lake, open_lake
from resources.objects.store import ObjectStore, content_key, objects_url, open_store
from resources.settings import Settings

SAME, OTHER, LOST, UNMADE, NOT_ITS_ID = "same", "other bytes", "bytes lost", "can't be made again", "not its id"


@dataclass(frozen=True)
class Finding:
    """The result for one variant. verdict: SAME, or the fault; detail: a sentence."""

    variant_id: str
    day: date
    source: str
    recipe: str
    verdict: str
    detail: str = ""


def findings(
    settings: Settings, kind: str, first: date | None, last: date | None, sample: int | None, seed: int
) -> tuple[int, Iterator[Finding]]:
    """The number of variants to remake, and the finding of each. sample: a number, drawn by `seed`; None for all."""
    source, lake = SOURCES[kind], open_lake(settings)
    rows: list[dict[str, Any]] = []
    if lake.exists(source.asset):
        frame = lake.scan(source.asset).filter(pl.col("day") >= (first or date.min), pl.col("day") <= (last or date.max))
        rows = frame.sort("day", "variant_id").collect().to_dicts()
    if sample is not None and sample < len(rows):
        rows = [rows[position] for position in sorted(random.Random(seed).sample(range(len(rows)), sample))]  # noqa: S311
    stores = open_store(settings, settings.uploads_url), open_store(settings, objects_url(settings))
    return len(rows), verify(source, lake, *stores, rows)


def verify(
    source: Source, lake: Lake, uploads: ObjectStore, objects: ObjectStore, chosen: list[dict[str, Any]]
) -> Iterator[Finding]:
    """Remake these rows' variants and compare them with the stored ones. An outdated recipe version is a finding."""
    if not chosen:
        return
    days = sorted({row["day"] for row in chosen})
    parents = source.of(source.scan(lake), days)
    labels = {
        (day, sha256): labels_json for day, sha256, labels_json in parents.select("day", "sha256", "labels_json").iter_rows()
    }
    rows_by_variant: dict[str, list[dict[str, Any]]] = {}
    planned = []
    for row in chosen:
        finding, plan = _plan(source.kind, row, labels)
        if finding:
            yield finding
        elif plan:
            rows_by_variant.setdefault(plan.task.variant_id, []).append(row)
            planned.append(plan)
    failures: list[Any] = []
    for task, outcome in source.kind.make(read_ahead_of(planned, fetch_from(parents, uploads), failures)):
        row = rows_by_variant[task.variant_id].pop(0)
        if isinstance(outcome, UnfitParent):
            yield _finding(row, UNMADE, str(outcome))
            continue
        yield _compared(row, sha256_of(outcome.data), objects)
    for failure in failures:
        yield _finding(
            rows_by_variant[failure.planned.task.variant_id].pop(0), UNMADE, f"{failure.reason}: {failure.detail}"
        )


def _plan(
    kind: Kind, row: Mapping[str, Any], labels: Mapping[tuple[date, str], str]
) -> tuple[Finding | None, Planned | None]:
    parents = tuple(filter(None, (row["parent_sha256"], row["other_parent_sha256"])))
    recipe = Recipe.from_json(row["recipe_json"])
    if variant_id(parents, recipe, row["seed"]) != row["variant_id"]:
        return _finding(row, NOT_ITS_ID, "parents, recipe and seed give another identity"), None
    try:
        resolved = kind.operations.resolve(recipe)
    except BadRecipe as error:
        return _finding(row, UNMADE, f"{error} `darkroom refresh` recomputes its day with the current code."), None
    missing = [sha256 for sha256 in parents if (row["day"], sha256) not in labels]
    if missing:
        return _finding(row, UNMADE, f"its parent {missing[0]} is no longer among the day's usable items"), None
    task = Task(row["variant_id"], parents, resolved, row["seed"])
    labels_json = tuple(labels[row["day"], sha256] for sha256 in parents)
    return None, Planned(task, row["day"], row["source"], row["split"], row["recipe"], row["number"], labels_json)


def _compared(row: Mapping[str, Any], sha256: str, objects: ObjectStore) -> Finding:
    if sha256 != row["content_sha256"]:
        return _finding(row, OTHER, f"made again it is {sha256}, kept is {row['content_sha256']}")
    try:
        # Rows from before variants shared objects have no place.
        object_sha256, offset = row.get("object_sha256") or sha256, row.get("object_offset") or 0
        if row["size_bytes"] <= MAX_IN_MEMORY_BYTES:
            objects.get_part(sha256, object_sha256, offset, row["size_bytes"])
        elif (actual := sha256_of(temporary(objects, content_key(object_sha256), None, row["size_bytes"]))) != sha256:
            raise CorruptObject.of(content_key(object_sha256), sha256, actual)
    except (NotFound, CorruptObject, InvalidRange) as error:
        return _finding(row, LOST, str(error))
    return _finding(row, SAME)


def _finding(row: Mapping[str, Any], verdict: str, detail: str = "") -> Finding:
    return Finding(row["variant_id"], row["day"], row["source"], row["recipe"], verdict, detail)
