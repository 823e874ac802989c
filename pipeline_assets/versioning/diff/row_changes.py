"""Compares the rows of two versions of a table by their key. Pure functions of frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import polars as pl


@dataclass(frozen=True)
class RowChanges:
    """The changes from one version to the other. before, after: the changed rows, in the same order.

    added and removed are whole rows. All frames have the same columns.
    """

    key: tuple[str, ...]
    added: pl.DataFrame
    removed: pl.DataFrame
    before: pl.DataFrame
    after: pl.DataFrame

    @cached_property
    def masks(self) -> dict[str, pl.Series]:
        """For each changed column, a mask of the changed rows whose value in it differs."""
        names = [name for name in self.before.columns if name not in self.key]
        masks = {name: self.before[name].ne_missing(self.after[name]) for name in names}
        return {name: mask for name, mask in masks.items() if mask.any()}

    def applied(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows of the later version, in no particular order, given those of the earlier one."""
        replaced = pl.concat([self.removed.select(self.key), self.before.select(self.key)])
        unchanged = rows.join(replaced, on=self.key, how="anti", nulls_equal=True)
        return pl.concat([unchanged, self.after, self.added])


def compare(before: pl.DataFrame, after: pl.DataFrame, key: Sequence[str]) -> RowChanges:
    """The changes from one frame to the other. Both have the same columns and types, and unique keys.

    A null is a value like any other, and so is NaN; 0.0 and -0.0 are the same.
    """
    keys = list(key)
    pairs = (
        before.select(keys)
        .with_row_index("_before")
        .join(after.select(keys).with_row_index("_after"), on=keys, how="full", coalesce=True, nulls_equal=True)
        .sort(keys, nulls_last=True)
    )
    both = pairs.filter(pl.col("_before").is_not_null() & pl.col("_after").is_not_null())
    old, new = both["_before"], both["_after"]
    differs = pl.Series([False], dtype=pl.Boolean).new_from_index(0, both.height)
    for name in before.columns:
        if name not in keys:
            differs |= before[name].gather(old).ne_missing(after[name].gather(new))
    return RowChanges(
        tuple(keys),
        added=after[pairs.filter(pl.col("_before").is_null())["_after"]],
        removed=before[pairs.filter(pl.col("_after").is_null())["_before"]],
        before=before[old.filter(differs)],
        after=after[new.filter(differs)],
    )
