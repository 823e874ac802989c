"""A variant of a table in the making: its frame, which of its cells were deleted, and what the steps have to tell."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline_assets.errors import UnfitParent
from pipeline_assets.variants.recipes import generator

Bools = npt.NDArray[np.bool_]


@dataclass
class Draft:
    """keys: columns that name rows; no step changes a cell of theirs, and one that makes new rows makes new keys.

    deleted: by column, true where a step deleted what was there. step: the number of the one at work.
    """

    frame: pl.DataFrame
    keys: tuple[str, ...]
    seed: int
    step: int = 0
    deleted: dict[str, Bools] = field(default_factory=dict)
    told: list[dict[str, Any]] = field(default_factory=list)

    def random(self, purpose: str) -> np.random.Generator:
        """A stream of this step's own, such as one a column: another column's presence changes nothing."""
        return generator(self.seed, f"{self.step} {purpose}")

    def columns(self, asked: Sequence[str], fitting: Iterable[str]) -> list[str]:
        """The columns to work on: those asked for, or all that fit, without keys.

        Raises UnfitParent if one that is asked for is not there or does not fit, or if none does.
        """
        possible = [name for name in fitting if name not in self.keys]
        if wrong := [name for name in asked if name not in possible]:
            raise UnfitParent("no_such_column", f"no column {', '.join(wrong)} that this can be done to")
        if not possible:
            raise UnfitParent("no_columns", "no column beside the keys that this can be done to")
        return list(asked) or possible

    def delete(self, marks: dict[str, Bools]) -> None:
        """Make nulls of the marked cells, which must not be null yet."""
        self.frame = self.frame.with_columns(
            pl.when(pl.Series(mark)).then(None).otherwise(pl.col(name)).alias(name) for name, mark in marks.items()
        )
        for name, mark in marks.items():
            self.deleted[name] = self.deleted[name] | mark if name in self.deleted else mark

    def mask(self) -> pl.DataFrame:
        """The truth about deletions: a frame of the variant's shape without keys, true where a cell was deleted."""
        none = np.zeros(self.frame.height, dtype=np.bool_)
        return pl.DataFrame({name: self.deleted.get(name, none) for name in self.frame.columns if name not in self.keys})


def columns_of(frame: pl.DataFrame, *, numbers: bool = False, ordered: bool = False) -> list[str]:
    """Names of columns of numbers, or of all that have an order (numbers, times, text, truths), or of all."""
    return [
        name
        for name, dtype in frame.schema.items()
        if (is_number(dtype) if numbers else not ordered or is_number(dtype) or dtype.is_temporal() or is_category(dtype))
    ]


def is_number(dtype: pl.DataType) -> bool:
    """Whether it is an integer or a float."""
    return dtype.is_integer() or dtype.is_float()


def is_category(dtype: pl.DataType) -> bool:
    """Whether it is text or a truth."""
    return isinstance(dtype, pl.String | pl.Categorical | pl.Enum | pl.Boolean)
