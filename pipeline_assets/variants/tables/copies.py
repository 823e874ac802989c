"""Finds the rows of one frame that equal rows of another, fast on large tables."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl


@dataclass(frozen=True)
class Rows:
    """Rows to search for, with a hash of each."""

    frame: pl.DataFrame
    hashes: pl.Series

    @classmethod
    def of(cls, frame: pl.DataFrame, *, fewer_than: int = 0) -> "Rows":
        """All rows, or only rows with fewer equal ones than a limit. Null equals null."""
        plain = _plain(frame)
        if fewer_than > 1:
            count = new_name(plain)
            plain = plain.group_by(plain.columns).len(count).filter(pl.col(count) < fewer_than).drop(count)
        return cls(plain, plain.hash_rows())

    def found_in(self, frame: pl.DataFrame) -> npt.NDArray[np.int64]:
        """The numbers of the other frame's rows that equal one of these, ascending."""
        plain = _plain(frame)
        hashes = plain.hash_rows()
        # Equal hashes prove nothing, but they leave few rows of either frame to compare.
        met = self.hashes.is_in(hashes.implode())
        likely = hashes.is_in(self.hashes.filter(met).implode())
        number = new_name(plain)
        candidates = plain.with_row_index(number).filter(likely)
        copies = candidates.join(
            self.frame.filter(met), on=plain.columns, how="semi", nulls_equal=True, maintain_order="left"
        )
        return copies[number].to_numpy().astype(np.int64)


def new_name(frame: pl.DataFrame) -> str:
    """An unused column name."""
    return max(frame.columns, key=len) + "_"


def _plain(frame: pl.DataFrame) -> pl.DataFrame:
    """Dictionaries of text as text, whose hashes depend on the text alone."""
    return frame.with_columns(
        pl.col(name).cast(pl.String) for name, dtype in frame.schema.items() if isinstance(dtype, pl.Categorical | pl.Enum)
    )
