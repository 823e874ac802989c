"""A draft of a table's variant: its frame, the cells that were deleted, and the reports of the steps."""

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
    """keys: columns that identify rows; no step changes their cells, and a step that makes new rows makes new keys.

    deleted: by column, true where a step deleted a value. step: the number of the current step.
    """

    frame: pl.DataFrame
    keys: tuple[str, ...]
    seed: int
    step: int = 0
    deleted: dict[str, Bools] = field(default_factory=dict)
    reports: list[dict[str, Any]] = field(default_factory=list)

    def random(self, purpose: str) -> np.random.Generator:
        """A random stream of this step and these names, such as a column's: independent of other columns."""
        return generator(self.seed, f"{self.step} {purpose}")

    def columns(self, requested: Sequence[str], fitting: Iterable[str]) -> list[str]:
        """The columns to change: those requested, or all that are suitable, without keys.

        Raises UnfitParent if a requested one is missing or unsuitable, or if none is suitable.
        """
        possible = [name for name in fitting if name not in self.keys]
        if unfit := [name for name in requested if name not in possible]:
            raise UnfitParent("no_such_column", f"no column {', '.join(unfit)} that this can be done to")
        if not possible:
            raise UnfitParent("no_columns", "no column beside the keys that this can be done to")
        return list(requested) or possible

    def delete(self, marks: dict[str, Bools]) -> None:
        """Set the marked cells, which must not be null, to null."""
        self.frame = self.frame.with_columns(
            pl.when(pl.Series(mark)).then(None).otherwise(pl.col(name)).alias(name) for name, mark in marks.items()
        )
        for name, mark in marks.items():
            self.deleted[name] = self.deleted[name] | mark if name in self.deleted else mark

    def mask(self) -> pl.DataFrame:
        """The deletions: a frame of the variant's shape without keys, true where a cell was deleted."""
        none = np.zeros(self.frame.height, dtype=np.bool_)
        return pl.DataFrame({name: self.deleted.get(name, none) for name in self.frame.columns if name not in self.keys})


def columns_of(frame: pl.DataFrame, *, numbers: bool = False, ordered: bool = False) -> list[str]:
    """Names of columns of numbers, or of all that have an order (numbers, times, text, booleans), or of all."""
    return [
        name
        for name, dtype in frame.schema.items()
        if (is_number(dtype) if numbers else not ordered or is_number(dtype) or dtype.is_temporal() or is_category(dtype))
    ]


def is_number(dtype: pl.DataType) -> bool:
    """Whether it is an integer or a float."""
    return dtype.is_integer() or dtype.is_float()


def is_category(dtype: pl.DataType) -> bool:
    """Whether it is text or a boolean."""
    return isinstance(dtype, pl.String | pl.Categorical | pl.Enum | pl.Boolean)
