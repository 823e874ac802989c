"""Labeling functions: plain Python functions on frames, which give each row a class or abstain. Pure.

What lives here: how a function is declared, found in a module and applied to rows. What does not: how votes become labels
(`model.py`), and how good a function is (`quality.py`).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipeline_assets.errors import BadLabelingFunctions
from pipeline_assets.labeling.weak import modules

MAX_FUNCTIONS = 1_000
MAX_FAULTS = 20
"""Faults of one function in one frame, above which all its votes in the frame are set aside."""
ITS_FAULTS = (Exception, SystemExit, pl.exceptions.PanicException)
"""What a function or module may raise that is a fault of its own. Whoever stops the process raises something else."""
Compute = Callable[[pl.DataFrame], Any]


@dataclass(frozen=True)
class LabelingFunction:
    """A function that takes a frame and returns for each row, in order, one of its classes or None.

    It judges each row by that row alone: the split of rows into frames is arbitrary.
    """

    name: str
    classes: tuple[str, ...]
    compute: Compute

    def __post_init__(self) -> None:
        _check(self.name, self.classes)

    def __call__(self, items: pl.DataFrame) -> Any:
        """What the function returns of these rows, unchecked."""
        return self.compute(items)


@dataclass(frozen=True)
class Fault:
    """Why a vote is set aside. row: number of the row; None: all rows of the frame."""

    function: str
    row: int | None
    reason: str
    detail: str


def labeling_function(*, name: str, classes: Sequence[str]) -> Callable[[Compute], LabelingFunction]:
    """Declare a function of frames as a labeling function. classes: those that it may return.

    Raises BadLabelingFunctions without a name, or without classes.
    """
    _check(name, classes)
    return lambda compute: LabelingFunction(name, tuple(dict.fromkeys(classes)), compute)


def _check(name: Any, classes: Any) -> None:
    if not isinstance(name, str) or not name.strip() or _text(name) != name:
        raise BadLabelingFunctions(
            "a labeling function needs a name of plain text: @labeling_function(name=..., classes=[...])."
        )
    if isinstance(classes, str) or not classes or not all(isinstance(one, str) and one for one in classes):
        raise BadLabelingFunctions(f"the labeling function {name} needs classes, a list of texts: those that it may return.")


def load(module_name: str, folder: Path | None = None) -> tuple[LabelingFunction, ...]:
    """The labeling functions of a module, in order of definition. folder: is searched first for the module.

    The module is code of the user's project, and is trusted as such. Raises BadLabelingFunctions if it can't be
    imported, has no labeling function, has too many, or has two of one name.
    """
    try:
        module = modules.load(module_name, folder)
    except ITS_FAULTS as error:
        detail = _said(error)
        raise BadLabelingFunctions(
            f"the module {module_name} of labeling functions can't be imported ({detail}): `weak` in a campaign is a "
            "module's name as in `import`, and the module is installed or lies in campaigns/."
        ) from error
    functions = list({id(value): value for value in vars(module).values() if isinstance(value, LabelingFunction)}.values())
    if not functions:
        raise BadLabelingFunctions(
            f"the module {module_name} has no labeling function: declare one with "
            "@labeling_function(name=..., classes=[...])."
        )
    if len(functions) > MAX_FUNCTIONS:
        raise BadLabelingFunctions(
            f"the module {module_name} has {len(functions)} functions; at most {MAX_FUNCTIONS} are used."
        )
    names = [function.name for function in functions]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise BadLabelingFunctions(f"the module {module_name} has two labeling functions named {repeated}: rename one.")
    return tuple(functions)


def apply(
    functions: Iterable[LabelingFunction], items: pl.DataFrame, classes: Sequence[str]
) -> tuple[pl.DataFrame, list[Fault]]:
    """Votes of functions on items: one column of String for each function, in their order; null where it abstains.

    classes: of the question. A function that raises on a row, or returns there what is no class, abstains there, with a
    fault; so does it on all rows if it has more than MAX_FAULTS faults, or returns another number of values than there are
    rows.
    """
    columns, faults = [], list[Fault]()
    for function in functions:
        votes, of_function = _votes(function, items, frozenset(classes))
        columns.append(pl.Series(function.name, votes, dtype=pl.String))
        faults += of_function
    return pl.DataFrame(columns), faults


def _votes(function: LabelingFunction, items: pl.DataFrame, classes: frozenset[str]) -> tuple[list[str | None], list[Fault]]:
    allowed = classes & set(function.classes)
    if unknown := sorted(set(function.classes) - classes):
        return _aside(function, items, "unknown_class", f"{unknown[0]!r:.100} is no class of the question: name its classes")
    values, faults = _values(function, items)
    votes: list[str | None] = []
    for row, value in enumerate(values):
        if isinstance(value, _Raised):
            faults.append(Fault(function.name, row, "raised", value.text))
        elif value is not None and not (isinstance(value, str) and value in allowed):
            faults.append(Fault(function.name, row, "unknown_class", f"{_shown(value)} is not among its classes"))
        votes.append(value if isinstance(value, str) and value in allowed else None)
        if len(faults) > MAX_FAULTS:
            break
    if len(faults) > MAX_FAULTS or any(fault.row is None for fault in faults):
        first = faults[0]
        more = f"on more than {MAX_FAULTS} rows; the first: " if len(faults) > MAX_FAULTS else ""
        return _aside(function, items, first.reason, more + first.detail)
    return votes, faults


def _aside(
    function: LabelingFunction, items: pl.DataFrame, reason: str, detail: str
) -> tuple[list[str | None], list[Fault]]:
    return [None] * items.height, [Fault(function.name, None, reason, detail)]


@dataclass(frozen=True)
class _Raised:
    text: str


def _values(function: LabelingFunction, items: pl.DataFrame) -> tuple[list[Any], list[Fault]]:
    """A value for each row. A frame on which the function raises is halved, until the rows that raise are alone."""
    values: list[Any] = []
    raised = 0
    pending = [items] if items.height else []
    while pending:
        part = pending.pop()
        if raised > MAX_FAULTS:
            break
        try:
            returned = _as_list(function(part.clone()), part)
        except ITS_FAULTS as error:
            if part.height > 1:
                half = part.height // 2
                pending += [part[half:], part[:half]]
                continue
            raised += 1
            values.append(_Raised(_said(error)))
            continue
        if len(returned) != part.height:
            detail = f"returned {len(returned)} values of {part.height} rows: return one for each row, None to abstain"
            return [], [Fault(function.name, None, "wrong_length", detail)]
        values += returned
    return values, []


def _as_list(returned: Any, part: pl.DataFrame) -> list[Any]:
    """The values that a function returned: an expression is evaluated on the rows."""
    if isinstance(returned, pl.Expr):
        return part.select(returned.alias("vote"))["vote"].to_list()
    if isinstance(returned, pl.Series):
        return returned.to_list()
    if isinstance(returned, np.ndarray) and returned.ndim == 1:
        return returned.tolist()
    if isinstance(returned, list | tuple):
        return list(returned)
    shape = f" of {returned.ndim} dimensions" if isinstance(returned, np.ndarray) else ""
    raise TypeError(
        f"it returned a {type(returned).__name__}{shape}: return a list, a Series or an expression, a value for each row"
    )


def _said(error: BaseException) -> str:
    """What an error says, in text that can be stored; an error may be unable to say it."""
    try:
        return _text(f"{type(error).__name__}: {error!s:.300}")
    except ITS_FAULTS:
        return _text(type(error).__name__)


def _shown(value: Any) -> str:
    try:
        return _text(f"{value!r:.100}")
    except ITS_FAULTS:
        return _text(f"a {type(value).__name__}")


def _text(text: str) -> str:
    """Text as UTF-8 has it: a lone surrogate is written as its escape."""
    return text.encode("utf-8", "backslashreplace").decode()
