"""Contact sheets of what recipes make of a few items; nothing is stored."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import date

import polars as pl

from pipeline_assets.errors import UnfitParent
from pipeline_assets.variants.engine.sources import SOURCES, fetch_from
from pipeline_assets.variants.kinds import Kind, Made, Parent, Task, Work
from pipeline_assets.variants.planning import chosen
from resources.lake.lake import open_lake
from resources.objects.store import open_store
from resources.settings import Settings

Sheet = tuple[bytes | None, list[str]]
"""A PNG, or None if no item is usable; and failures, as sentences."""


def of_contents(kind: str, contents: Sequence[bytes], names: Sequence[str], seed: int) -> Sheet:
    """A contact sheet of these contents by the named recipes, by default all. Raises BadRecipe."""
    return _sheet(SOURCES[kind].kind, [Parent(hashlib.sha256(data).hexdigest(), data) for data in contents], names, seed)


def of_newest_day(settings: Settings, kind: str, count: int, names: Sequence[str], seed: int) -> Sheet:
    """A contact sheet of the first `count` items of the newest day that has items of this kind."""
    source, lake = SOURCES[kind], open_lake(settings)
    items: pl.DataFrame | None = None
    tables = source.scan(lake)
    if not tables:
        items = source.of({}, [date.min])
    else:
        days = next(iter(tables.values())).select(pl.col("day").unique().sort(descending=True)).collect()["day"].to_list()
        items = next((rows for day in days if (rows := source.of(tables, [day])).height), None)
    if items is None or items.is_empty():
        return None, []
    ordered = items.sort(pl.col("split") != "train", maintain_order=True)  # the default split of variants
    chosen_items = ordered.unique("sha256", keep="first", maintain_order=True).head(count)
    fetched = fetch_from(chosen_items, open_store(settings, settings.uploads_url))(chosen_items["sha256"])
    labels = dict(chosen_items.select("sha256", "labels_json").iter_rows())
    parents = [
        Parent(sha256, data, json.loads(labels[sha256])) for sha256, data in fetched if not isinstance(data, Exception)
    ]
    return _sheet(source.kind, sorted(parents, key=lambda parent: parent.sha256), names, seed)


def _sheet(kind: Kind, parents: Sequence[Parent], names: Sequence[str], seed: int) -> Sheet:
    recipes = chosen(kind, names)
    failures: list[str] = []
    by_sha256 = {parent.sha256: (parent, list[tuple[Task, Made]]()) for parent in parents}

    def work() -> Iterator[Work]:
        for number, parent in enumerate(parents):
            for recipe in recipes.values():
                task_parents: tuple[Parent, ...] = (parent,)
                if kind.operations.parents(recipe) == 2:
                    if len(parents) == 1:
                        continue
                    task_parents = (parent, parents[number - 1])
                yield Task.of([one.sha256 for one in task_parents], recipe, seed), task_parents

    for task, outcome in kind.make(work()):
        if isinstance(outcome, UnfitParent):
            failures.append(f"{task.parents[0][:12]}, {task.recipe.name}: {outcome}")
        else:
            by_sha256[task.parents[0]][1].append((task, outcome))
    order = {recipe: number for number, recipe in enumerate(recipes.values())}
    rows = [
        (parent, sorted(made_variants, key=lambda one: order[one[0].recipe]))
        for parent, made_variants in by_sha256.values()
        if made_variants
    ]
    return (kind.contact_sheet(rows) if rows else None), failures
