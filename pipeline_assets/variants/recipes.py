"""Recipes as values, their canonical JSON, and the identity and seed derived from them.

A recipe is one step (`Recipe("speed", factor=1.1)`) or several (`.then(...)`). With the parents and
the seed it determines the bytes: the format of the result is a step too (`Recipe("flac")`). A step is an operation of its
kind (`operations.py`).
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

SEED_BITS = 63  # Delta has no unsigned integers


@dataclass(frozen=True)
class Step:
    """One operation with its parameters. version: of the operation; 0 until a kind has resolved it."""

    name: str
    parameters: tuple[tuple[str, Any], ...] = ()
    version: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", tuple(sorted((name, _frozen(value)) for name, value in self.parameters)))

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        return {"name": self.name, "parameters": dict(self.parameters), "version": self.version}


@dataclass(frozen=True, init=False)
class Recipe:
    """A frozen sequence of steps. Equal recipes have equal JSON, whatever the order in which parameters were given."""

    steps: tuple[Step, ...]

    def __init__(self, name: str, /, **parameters: Any) -> None:
        self._set((Step(name, tuple(parameters.items())),))

    @classmethod
    def of(cls, steps: Iterable[Step]) -> Self:
        """A recipe of these steps. Raises ValueError if there are none."""
        recipe = object.__new__(cls)
        recipe._set(tuple(steps))
        return recipe

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `json`. Raises ValueError for other text."""
        try:
            steps = json.loads(text)
            return cls.of(Step(step["name"], tuple(step["parameters"].items()), step["version"]) for step in steps)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{text[:200]!r} is no recipe: {error!r}") from error

    def then(self, *further: "Recipe") -> "Recipe":
        """This recipe's steps, followed by the others'."""
        return Recipe.of((*self.steps, *(step for recipe in further for step in recipe.steps)))

    @cached_property
    def json(self) -> str:
        """Canonical JSON: sorted names, no spaces. Recipes are equal if these texts are."""
        return json.dumps([step.as_dict() for step in self.steps], sort_keys=True, separators=(",", ":"), allow_nan=False)

    @property
    def name(self) -> str:
        """The steps' names, for display."""
        return " + ".join(step.name for step in self.steps)

    def _set(self, steps: tuple[Step, ...]) -> None:
        if not steps:
            raise ValueError("a recipe has at least one step")
        object.__setattr__(self, "steps", steps)


def seed_of(parents: Sequence[str], recipe: Recipe, run_seed: int, number: int = 0) -> int:
    """A variant's seed: 63 bits of a hash of its inputs. number: of the child, if a recipe makes several.

    parents: sha256 of each, in the recipe's order. There is no other randomness, so order and workers have no effect.
    """
    return int.from_bytes(_digest("seed", *parents, recipe.json, str(run_seed), str(number))[:8], "big") >> (64 - SEED_BITS)


def variant_id(parents: Sequence[str], recipe: Recipe, seed: int) -> str:
    """A variant's identity as 64 hex digits: same id, same bytes."""
    return _digest("variant", *parents, recipe.json, str(seed)).hex()


def generator(seed: int, purpose: str = "") -> np.random.Generator:
    """The only source of randomness of a variant; each purpose has its own stream. PCG64 is equal on all machines."""
    return np.random.Generator(np.random.PCG64(int.from_bytes(_digest("stream", str(seed), purpose)[:16], "big")))


def _digest(*parts: str) -> bytes:
    return hashlib.sha256("\n".join(parts).encode()).digest()


def _frozen(value: Any) -> Any:
    """A parameter's value as an immutable that survives JSON."""
    if isinstance(value, list | tuple):
        return tuple(_frozen(item) for item in value)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise ValueError(f"a recipe's parameter is text, a number, true or false, or a list of these, not {value!r}")
