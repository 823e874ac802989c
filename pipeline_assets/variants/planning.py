"""Which variants there are to be: pure functions of parents, recipes and a seed."""

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
"""What planning needs to know of parents, whose order is that of their arrival."""


@dataclass(frozen=True)
class Planned:
    """A variant to be, with what its row says of where it comes from."""

    task: Task
    day: date
    source: str
    split: str
    recipe: str
    number: int
    labels: tuple[str, ...]
    """The parents' labels, as JSON."""


def chosen(kind: Kind, names: Sequence[str]) -> dict[str, Recipe]:
    """The recipes of a policy, completed, by name. None named is all. Raises BadRecipe for a name that there is not."""
    unknown = [name for name in names if name not in kind.recipes]
    if unknown:
        raise BadRecipe(f"{kind.name} has no recipe {', '.join(unknown)}. There are: {', '.join(kind.recipes)}.")
    return {name: kind.complete(kind.recipes[name]) for name in names or kind.recipes}


def plan(kind: Kind, parents: pl.DataFrame, recipes: Mapping[str, Recipe], children: int, run_seed: int) -> list[Planned]:
    """`children` variants of each parent, each by another recipe as far as those reach, chosen by the parent's hash.

    parents: the columns of PARENTS, in the order of arrival; one content of a day counts once. A recipe that takes two mixes
    in one that came earlier on the same day in the same split, so that a later parent changes nothing of earlier ones; the
    first of a day has no such partner, and its turn goes to the next recipe.
    """
    takes = {name: kind.operations.parents(recipe) for name, recipe in sorted(recipes.items())}
    found: list[Planned] = []
    for (_, _), same in parents.unique(["day", "sha256"], keep="first", maintain_order=True).group_by(
        ["day", "split"], maintain_order=True
    ):
        rows = same.to_dicts()
        for position in range(len(rows)):
            found += _of_parent(kind, rows, position, recipes, takes, children, run_seed)
    return found


def _of_parent(
    kind: Kind,
    rows: Sequence[Mapping[str, Any]],
    position: int,
    recipes: Mapping[str, Recipe],
    takes: Mapping[str, int],
    children: int,
    run_seed: int,
) -> list[Planned]:
    """Variants of the row at a position; a partner is a row before it. takes: how many parents each recipe has."""
    usable = [name for name, count in takes.items() if count == 1 or position]
    if not usable:
        return []
    row = rows[position]
    order = generator(int(row["sha256"][:15], 16), f"recipes {run_seed}").permutation(len(usable))
    found = []
    for number in range(children):
        name = usable[order[number % len(usable)]]
        recipe = recipes[name]
        parents: tuple[str, ...] = (row["sha256"],)
        labels: tuple[str, ...] = (row["labels_json"],)
        if takes[name] == 2:
            pick = generator(seed_of(parents, recipe, run_seed, number), "partner").integers(position)
            partner = rows[int(pick)]
            parents, labels = (*parents, partner["sha256"]), (*labels, partner["labels_json"])
        heeded = [told for told in labels if told != NO_LABELS] if kind.heeds_labels else []
        task = Task.of(parents, recipe, run_seed, number, heeded)
        found.append(Planned(task, row["day"], row["source"], row["split"], name, number, labels))
    return found
