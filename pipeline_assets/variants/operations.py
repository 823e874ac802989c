"""Operations, the steps of recipes: each kind of data has a catalogue of them by name.

An operation is a plain function with typed, keyword-only parameters; its kind calls it. The parameters' types and bounds
(`Annotated[float, Field(gt=0)]`) validate recipes before anything is made, and the defaults are written into the recipe, so
that a changed default never changes the meaning of a stored recipe.
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
"""A number, or (low, high): drawn uniformly by the variant's seed."""


def drawn(value: Range, random: np.random.Generator) -> float:
    """The number, or one drawn from its range."""
    return float(random.uniform(*value)) if isinstance(value, tuple) else float(value)


def ascending(bounds: tuple[float, float]) -> tuple[float, float]:
    """The range, for pydantic's `AfterValidator`. Raises ValueError if low is greater than high."""
    if bounds[0] > bounds[1]:
        raise ValueError(f"a range is (low, high), not {bounds}")
    return bounds


@dataclass(frozen=True)
class Operation:
    """One operation on a kind of data.

    version: raise it when the same parameters give other bytes. parents: number of items (mixing takes two).
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
        self._operations: dict[str, Operation] = {}

    def __getitem__(self, name: str) -> Operation:
        return self._operations[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._operations)

    def __len__(self) -> int:
        return len(self._operations)

    def operation(self, *, version: int = 1, parents: int = 1, name: str | None = None) -> Callable[[Function], Function]:
        """Register a function under its name. Its keyword-only parameters are those of the step."""

        def enter(function: Function) -> Function:
            operation_name = name or function.__name__
            if operation_name in self._operations:
                raise ValueError(f"{self.kind} has an operation {operation_name} already")
            self._operations[operation_name] = Operation(
                operation_name, version, function, _parameters(operation_name, function), parents
            )
            return function

        return enter

    def resolve(self, recipe: Recipe) -> Recipe:
        """The recipe with every parameter and version written out. Raises BadRecipe if it does not fit this kind."""
        return Recipe.of(self._resolved(step) for step in recipe.steps)

    def parents(self, recipe: Recipe) -> int:
        """Number of items that the recipe takes: the largest of its steps."""
        return max(self[step.name].parents for step in recipe.steps)

    def _resolved(self, step: Step) -> Step:
        if step.name not in self:
            raise BadRecipe(f"{step.name!r} is no operation on {self.kind}. There are: {', '.join(sorted(self))}.")
        operation = self[step.name]
        if step.version not in (0, operation.version):
            raise BadRecipe(
                f"{step.name} is at version {operation.version}; a recipe of version {step.version} needs older code."
            )
        try:
            parameters = operation.parameters.model_validate(dict(step.parameters), strict=False)
        except pydantic.ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or step.name}: {e['msg']}" for e in error.errors())
            raise BadRecipe(f"{self.kind}: {step.name} can't have these parameters: {faults}.") from error
        return Step(step.name, tuple(parameters.model_dump().items()), operation.version)


def _parameters(name: str, function: Callable[..., Any]) -> type[pydantic.BaseModel]:
    """A model of a function's keyword-only parameters, which accepts no others."""
    fields: dict[str, Any] = {
        parameter.name: (parameter.annotation, ... if parameter.default is parameter.empty else parameter.default)
        for parameter in inspect.signature(function, eval_str=True).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    return pydantic.create_model(name, __config__=pydantic.ConfigDict(extra="forbid", frozen=True), **fields)
