"""The contract between the engine and a kind of data: from tasks and parents to variants or reasons."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

from pipeline_assets.errors import UnfitParent
from pipeline_assets.variants.operations import Operations
from pipeline_assets.variants.recipes import Recipe, seed_of, variant_id


@dataclass(frozen=True)
class Parent:
    """An item to make variants of. data: its bytes, or their file. labels: as its kind defines them."""

    sha256: str
    data: bytes | Path
    labels: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """One variant to make. recipe: resolved; parents: sha256, as many as the recipe takes."""

    variant_id: str
    parents: tuple[str, ...]
    recipe: Recipe
    seed: int

    @classmethod
    def of(cls, parents: Sequence[str], recipe: Recipe, run_seed: int, number: int = 0, labels: Sequence[str] = ()) -> Self:
        """The task with the seed and identity of `recipes.seed_of`. labels: those that affect its bytes."""
        seed = seed_of((*parents, *labels), recipe, run_seed, number)
        return cls(variant_id(parents, recipe, seed), tuple(parents), recipe, seed)


@dataclass(frozen=True)
class Made:
    """A variant's bytes and facts.

    encoding: format and loss: "flac, lossless", "jpeg, quality 92". labels: the parent's, adjusted.
    columns: the kind's own columns of its table. also: further contents by the column with its hash, such as a mask.
    """

    data: bytes | Path
    media_type: str
    encoding: str
    labels: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, Any] = field(default_factory=dict)
    extra_contents: Mapping[str, bytes] = field(default_factory=dict)


Fetch = Callable[[Iterable[str]], Iterator[tuple[str, bytes | Path | Exception]]]
"""Contents by sha256, in any order: bytes, or a file if large; a content requested twice comes twice."""

Work = tuple[Task, tuple[Parent, ...]]
Outcome = tuple[Task, Made | UnfitParent]


class Kind(Protocol):
    """A kind of data. Everything is pure: the same task and parents give the same bytes.

    The result of a task depends on nothing else: not on other tasks, their order, threads or earlier work.
    """

    name: str
    operations: Operations
    heeds_labels: bool
    """Whether a parent's labels affect the bytes of variants: then they are part of the seed and so of the identity."""
    labels_version: int
    """Raise it when variants of the same bytes get other labels: stored rows are then recomputed."""

    @property
    def recipes(self) -> Mapping[str, Recipe]:
        """Ready-made recipes by name, from which a policy chooses."""
        ...

    def complete(self, recipe: Recipe) -> Recipe:
        """The recipe with defaults (such as the encoding of the result), resolved. Raises BadRecipe."""
        ...

    def make(self, work: Iterable[Work]) -> Iterator[Outcome]:
        """Each task (the same object) with its variant, or with why it has none, in any order.

        Reads ahead only by a bounded amount.
        """
        ...

    def problems(self, variant: Made) -> list[str]:
        """Faults of a variant's labels, as sentences: a box outside the image, a span that is not the text.

        The engine calls it for each new variant. A check calls it for each row, with empty `data` and `extra_contents`.
        """
        ...

    def contact_sheet(self, rows: list[tuple[Parent, list[tuple[Task, Made]]]]) -> bytes:
        """A PNG: each parent in a row with its variants, each with its recipe's name."""
        ...
