"""Making variants again and comparing: with a recipe, a seed and the parents, every byte must come back."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl

from pipeline_assets.errors import BadRecipe, UnfitParent
from pipeline_assets.held import HELD_BYTES, sha256_of
from pipeline_assets.transfer import temporary
from pipeline_assets.variants.kinds import Kind, Task
from pipeline_assets.variants.making import read_ahead_of
from pipeline_assets.variants.planning import Planned
from pipeline_assets.variants.recipes import Recipe, variant_id
from pipeline_assets.variants.sources import SOURCES, Source, fetch_from
from resources.errors import CorruptObject, InvalidRange, NotFound
from resources.lake import Lake, open_lake
from resources.object_store import ObjectStore, content_key, objects_url, open_store
from resources.settings import Settings

SAME, OTHER, LOST, UNMADE, NOT_ITS_ID = "same", "other bytes", "bytes lost", "can't be made again", "not its id"


@dataclass(frozen=True)
class Finding:
    """What came of one variant. verdict: SAME, or what is wrong; detail: a sentence for a person."""

    variant_id: str
    day: date
    source: str
    recipe: str
    verdict: str
    detail: str = ""


def findings(
    settings: Settings, kind: str, first: date | None, last: date | None, sample: int | None, seed: int
) -> tuple[int, Iterator[Finding]]:
    """How many variants of a kind are made again, and what comes of each. sample: so many, drawn by `seed`; None is all."""
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
    """Make these rows' variants again and compare them with what is kept. An older recipe's version is a finding."""
    if not chosen:
        return
    days = sorted({row["day"] for row in chosen})
    found = source.of(source.scan(lake), days)
    labels = {(day, sha256): told for day, sha256, told in found.select("day", "sha256", "labels_json").iter_rows()}
    again: dict[str, list[dict[str, Any]]] = {}
    planned = []
    for row in chosen:
        finding, plan = _plan(source.kind, row, labels)
        if finding:
            yield finding
        elif plan:
            again.setdefault(plan.task.variant_id, []).append(row)
            planned.append(plan)
    failures: list[Any] = []
    for task, outcome in source.kind.make(read_ahead_of(planned, fetch_from(found, uploads), failures)):
        row = again[task.variant_id].pop(0)
        if isinstance(outcome, UnfitParent):
            yield _finding(row, UNMADE, str(outcome))
            continue
        yield _compared(row, sha256_of(outcome.data), objects)
    for failure in failures:
        yield _finding(again[failure.planned.task.variant_id].pop(0), UNMADE, f"{failure.reason}: {failure.detail}")


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
        return _finding(row, UNMADE, f"{error} `darkroom refresh` makes its day anew by the code of now."), None
    gone = [sha256 for sha256 in parents if (row["day"], sha256) not in labels]
    if gone:
        return _finding(row, UNMADE, f"its parent {gone[0]} is not among the day's usable items any more"), None
    task = Task(row["variant_id"], parents, resolved, row["seed"])
    told = tuple(labels[row["day"], sha256] for sha256 in parents)
    return None, Planned(task, row["day"], row["source"], row["split"], row["recipe"], row["number"], told)


def _compared(row: Mapping[str, Any], made: str, objects: ObjectStore) -> Finding:
    if made != row["content_sha256"]:
        return _finding(row, OTHER, f"made again it is {made}, kept is {row['content_sha256']}")
    try:
        # Rows of a version before variants shared objects say no place.
        kept, offset = row.get("object_sha256") or made, row.get("object_offset") or 0
        if row["size_bytes"] <= HELD_BYTES:
            objects.get_part(made, kept, offset, row["size_bytes"])
        elif (actual := sha256_of(temporary(objects, content_key(kept), None, row["size_bytes"]))) != made:
            raise CorruptObject.of(content_key(kept), made, actual)
    except (NotFound, CorruptObject, InvalidRange) as error:
        return _finding(row, LOST, str(error))
    return _finding(row, SAME)


def _finding(row: Mapping[str, Any], verdict: str, detail: str = "") -> Finding:
    return Finding(row["variant_id"], row["day"], row["source"], row["recipe"], verdict, detail)
