"""Plans variants: pure functions of parents, recipes and a seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl

from pipeline_assets.errors import BadRecipe
from pipeline_assets.variants.kinds import Kind, Task
from pipeline_assets.variants.recipes import Recipe, generator, seed_of

NO_LABELS = "{}"
PARENTS = {
    "day": pl.Date,
    "sha256": pl.String,
    "source": pl.String,
    "split": pl.String,
    "labels_json": pl.String,
}
"""Columns of parents, in the order of arrival."""


@dataclass(frozen=True)
class Planned:
    """A planned variant, with the provenance for its row."""

    task: Task
    day: date
    source: str
    split: str
    recipe: str
    number: int
    labels: tuple[str, ...]
    """The parents' labels, as JSON."""


def chosen(kind: Kind, names: Sequence[str]) -> dict[str, Recipe]:
    """The recipes of a policy, completed, by name; all if none is named. Raises BadRecipe for an unknown name."""
    unknown = [name for name in names if name not in kind.recipes]
    if unknown:
        raise BadRecipe(f"{kind.name} has no recipe {', '.join(unknown)}. There are: {', '.join(kind.recipes)}.")
    return {name: kind.complete(kind.recipes[name]) for name in names or kind.recipes}


def plan(kind: Kind, parents: pl.DataFrame, recipes: Mapping[str, Recipe], children: int, run_seed: int) -> list[Planned]:
    """`children` variants of each parent, by different recipes as far as possible, chosen by the parent's hash.

    parents: the columns of PARENTS, in the order of arrival; a content counts once per day. A recipe of two parents mixes
    in an earlier one of the same day and split, so that a later parent does not affect earlier ones; the first of a day has
    no partner, and gets the next recipe.
    """
    takes = {name: kind.operations.parents(recipe) for name, recipe in sorted(recipes.items())}
    planned: list[Planned] = []
    for (_, _), siblings in parents.unique(["day", "sha256"], keep="first", maintain_order=True).group_by(
        ["day", "split"], maintain_order=True
    ):
        rows = siblings.to_dicts()
        for position in range(len(rows)):
            planned += _of_parent(kind, rows, position, recipes, takes, children, run_seed)
    return planned


def _of_parent(
    kind: Kind,
    rows: Sequence[Mapping[str, Any]],
    position: int,
    recipes: Mapping[str, Recipe],
    takes: Mapping[str, int],
    children: int,
    run_seed: int,
) -> list[Planned]:
    """Variants of the row at a position; a partner is an earlier row. takes: number of parents by recipe."""
    usable = [name for name, count in takes.items() if count == 1 or position]
    if not usable:
        return []
    row = rows[position]
    order = generator(int(row["sha256"][:15], 16), f"recipes {run_seed}").permutation(len(usable))
    planned = []
    for number in range(children):
        name = usable[order[number % len(usable)]]
        recipe = recipes[name]
        parents: tuple[str, ...] = (row["sha256"],)
        labels: tuple[str, ...] = (row["labels_json"],)
        if takes[name] == 2:
            pick = generator(seed_of(parents, recipe, run_seed, number), "partner").integers(position)
            partner = rows[int(pick)]
            parents, labels = (*parents, partner["sha256"]), (*labels, partner["labels_json"])
        heeded = [labels_json for labels_json in labels if labels_json != NO_LABELS] if kind.heeds_labels else []
        task = Task.of(parents, recipe, run_seed, number, heeded)
        planned.append(Planned(task, row["day"], row["source"], row["split"], name, number, labels))
    return planned
