"""Contact sheets without keeping anything: what recipes make of a few items."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import date

import polars as pl

from pipeline_assets.errors import UnfitParent
from pipeline_assets.variants.kinds import Kind, Made, Parent, Task, Work
from pipeline_assets.variants.planning import chosen
from pipeline_assets.variants.sources import SOURCES, fetch_from
from resources.lake import open_lake
from resources.object_store import open_store
from resources.settings import Settings

Sheet = tuple[bytes | None, list[str]]
"""A PNG, or none if no item could be used; and what could not be made, in sentences."""


def of_contents(kind: str, contents: Sequence[bytes], names: Sequence[str], seed: int) -> Sheet:
    """A contact sheet of these contents by the named recipes, or all. Raises BadRecipe."""
    return _sheet(SOURCES[kind].kind, [Parent(hashlib.sha256(data).hexdigest(), data) for data in contents], names, seed)


def of_newest_day(settings: Settings, kind: str, items: int, names: Sequence[str], seed: int) -> Sheet:
    """The same of the newest day that has items of this kind: the first `items` of them."""
    source, lake = SOURCES[kind], open_lake(settings)
    found: pl.DataFrame | None = None
    tables = source.scan(lake)
    if not tables:
        found = source.of({}, [date.min])
    else:
        days = next(iter(tables.values())).select(pl.col("day").unique().sort(descending=True)).collect()["day"].to_list()
        found = next((rows for day in days if (rows := source.of(tables, [day])).height), None)
    if found is None or found.is_empty():
        return None, []
    first = found.sort(pl.col("split") != "train", maintain_order=True)  # what variants are made of by default
    few = first.unique("sha256", keep="first", maintain_order=True).head(items)
    fetched = fetch_from(few, open_store(settings, settings.uploads_url))(few["sha256"])
    labels = dict(few.select("sha256", "labels_json").iter_rows())
    parents = [
        Parent(sha256, data, json.loads(labels[sha256])) for sha256, data in fetched if not isinstance(data, Exception)
    ]
    return _sheet(source.kind, sorted(parents, key=lambda parent: parent.sha256), names, seed)


def _sheet(kind: Kind, parents: Sequence[Parent], names: Sequence[str], seed: int) -> Sheet:
    recipes = chosen(kind, names)
    told: list[str] = []
    by_sha256 = {parent.sha256: (parent, list[tuple[Task, Made]]()) for parent in parents}

    def work() -> Iterator[Work]:
        for number, parent in enumerate(parents):
            for recipe in recipes.values():
                given: tuple[Parent, ...] = (parent,)
                if kind.operations.parents(recipe) == 2:
                    if len(parents) == 1:
                        continue
                    given = (parent, parents[number - 1])
                yield Task.of([one.sha256 for one in given], recipe, seed), given

    for task, outcome in kind.make(work()):
        if isinstance(outcome, UnfitParent):
            told.append(f"{task.parents[0][:12]}, {task.recipe.name}: {outcome}")
        else:
            by_sha256[task.parents[0]][1].append((task, outcome))
    order = {recipe: number for number, recipe in enumerate(recipes.values())}
    shown = [(parent, sorted(made, key=lambda one: order[one[0].recipe])) for parent, made in by_sha256.values() if made]
    return (kind.contact_sheet(shown) if shown else None), told
