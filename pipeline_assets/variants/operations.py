"""What steps of recipes do: each kind of data has a catalogue of operations, found by name.

An operation is a plain function with typed, keyword-only parameters; how it is called is the kind's affair. Its parameters'
types and bounds (`Annotated[float, Field(gt=0)]`) judge recipes before anything is made, and its defaults are written into
the recipe, so that a changed default never changes what a kept recipe means.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pydantic

from pipeline_assets.errors import BadRecipe
from pipeline_assets.variants.recipes import Recipe, Step

Function = TypeVar("Function", bound=Callable[..., Any])

Range = float | tuple[float, float]
"""A parameter that is a number, or (low, high): drawn evenly between them by the variant's seed."""


def drawn(value: Range, random: np.random.Generator) -> float:
    """The number, or one drawn from its range."""
    return float(random.uniform(*value)) if isinstance(value, tuple) else float(value)


def ascending(given: tuple[float, float]) -> tuple[float, float]:
    """A range as given, for pydantic's `AfterValidator`. Raises ValueError if it runs backwards."""
    if given[0] > given[1]:
        raise ValueError(f"a range is (low, high), not {given}")
    return given


@dataclass(frozen=True)
class Operation:
    """One thing that can be done to a kind of data.

    version: raise it when the same parameters give other bytes. parents: how many items it takes (mixing takes two).
    """

    name: str
    version: int
    function: Callable[..., Any]
    parameters: type[pydantic.BaseModel]
    parents: int = 1

    @property
    def description(self) -> str:
        """The first line of its documentation."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]


class Operations(Mapping[str, Operation]):
    """The catalogue of one kind of data."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._known: dict[str, Operation] = {}

    def __getitem__(self, name: str) -> Operation:
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def operation(self, *, version: int = 1, parents: int = 1, name: str | None = None) -> Callable[[Function], Function]:
        """Enter a function under its name. Its keyword-only parameters are the step's."""

        def enter(function: Function) -> Function:
            called = name or function.__name__
            if called in self._known:
                raise ValueError(f"{self.kind} has an operation {called} already")
            self._known[called] = Operation(called, version, function, _parameters(called, function), parents)
            return function

        return enter

    def resolve(self, recipe: Recipe) -> Recipe:
        """The recipe with every parameter and version written out. Raises BadRecipe if it does not fit this kind."""
        return Recipe.of(self._resolved(step) for step in recipe.steps)

    def parents(self, recipe: Recipe) -> int:
        """How many items the recipe takes: the most that any of its steps takes."""
        return max(self[step.name].parents for step in recipe.steps)

    def _resolved(self, step: Step) -> Step:
        if step.name not in self:
            raise BadRecipe(f"{step.name!r} is no operation on {self.kind}. There are: {', '.join(sorted(self))}.")
        known = self[step.name]
        if step.version not in (0, known.version):
            raise BadRecipe(
                f"{step.name} is at version {known.version}; a recipe of version {step.version} needs the code of then."
            )
        try:
            given = known.parameters.model_validate(dict(step.parameters), strict=False)
        except pydantic.ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or step.name}: {e['msg']}" for e in error.errors())
            raise BadRecipe(f"{self.kind}: {step.name} can't have these parameters: {wrong}.") from error
        return Step(step.name, tuple(given.model_dump().items()), known.version)


def _parameters(name: str, function: Callable[..., Any]) -> type[pydantic.BaseModel]:
    """A model of a function's keyword-only parameters, which accepts no others."""
    fields: dict[str, Any] = {
        parameter.name: (parameter.annotation, ... if parameter.default is parameter.empty else parameter.default)
        for parameter in inspect.signature(function, eval_str=True).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    return pydantic.create_model(name, __config__=pydantic.ConfigDict(extra="forbid", frozen=True), **fields)
