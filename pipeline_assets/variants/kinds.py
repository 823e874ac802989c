"""The contract between the engine and a kind of data: tasks and parents go in, made variants or reasons come out."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

from pipeline_assets.errors import UnfitParent
from pipeline_assets.variants.operations import Operations
from pipeline_assets.variants.recipes import Recipe, seed_of, variant_id


@dataclass(frozen=True)
class Parent:
    """An item to make variants of. data: its bytes, or the file that holds them. labels: as its kind defines them."""

    sha256: str
    data: bytes | Path
    labels: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """One variant to be made. recipe is resolved; parents are sha256, as many as the recipe takes."""

    variant_id: str
    parents: tuple[str, ...]
    recipe: Recipe
    seed: int

    @classmethod
    def of(cls, parents: Sequence[str], recipe: Recipe, run_seed: int, number: int = 0, labels: Sequence[str] = ()) -> Self:
        """The task whose seed and identity follow from these, as `recipes.seed_of` has it. labels: those that it heeds."""
        seed = seed_of((*parents, *labels), recipe, run_seed, number)
        return cls(variant_id(parents, recipe, seed), tuple(parents), recipe, seed)


@dataclass(frozen=True)
class Made:
    """A variant's bytes and what is known of it.

    encoding: how the bytes lose nothing, or how much: "flac, lossless", "jpeg, quality 92". labels: the parent's, still
    true. columns: the kind's own columns of its table. also: further contents by the column that names each, such as a mask.
    """

    data: bytes | Path
    media_type: str
    encoding: str
    labels: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, Any] = field(default_factory=dict)
    also: Mapping[str, bytes] = field(default_factory=dict)


Fetch = Callable[[Iterable[str]], Iterator[tuple[str, bytes | Path | Exception]]]
"""Contents by sha256, in any order: bytes, or a file if they are many; a content asked for twice comes twice."""

Work = tuple[Task, tuple[Parent, ...]]
Outcome = tuple[Task, Made | UnfitParent]


class Kind(Protocol):
    """A kind of data that variants are made of. Everything is pure: the same task and parents, the same bytes.

    The result of a task depends on nothing else: not on the other tasks, their order, threads, or what was made before.
    """

    name: str
    operations: Operations
    heeds_labels: bool
    """Whether a parent's labels decide bytes, not labels alone: other labels then give another seed, so another identity."""

    @property
    def recipes(self) -> Mapping[str, Recipe]:
        """Ready-made recipes by name: what a policy chooses from."""
        ...

    def complete(self, recipe: Recipe) -> Recipe:
        """The recipe with what it leaves open (how the result is encoded), resolved. Raises BadRecipe."""
        ...

    def make(self, work: Iterable[Work]) -> Iterator[Outcome]:
        """Each task, the object that was given, with its variant, or with why it has none, in any order.

        Reads ahead by a bounded amount only.
        """
        ...

    def problems(self, made: Made) -> list[str]:
        """What is wrong with a variant's labels, in sentences: a box outside the image, a span that is not the text.

        The engine asks when a variant is made. A check asks again of each row, whose `data` and `also` are then empty.
        """
        ...

    def contact_sheet(self, shown: list[tuple[Parent, list[tuple[Task, Made]]]]) -> bytes:
        """A PNG for people: each parent in a row with its variants, each under its recipe's name."""
        ...
