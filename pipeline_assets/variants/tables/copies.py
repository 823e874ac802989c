"""Which rows of one frame another has too: quickly, since rows are drawn again and again and a table may be large."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl


@dataclass(frozen=True)
class Rows:
    """Rows to be found again, with a hash of each."""

    frame: pl.DataFrame
    hashes: pl.Series

    @classmethod
    def of(cls, frame: pl.DataFrame, *, fewer_than: int = 0) -> "Rows":
        """All rows, or those of which there are fewer than so many equal ones. Null equals null."""
        plain = _plain(frame)
        if fewer_than > 1:
            count = new_name(plain)
            plain = plain.group_by(plain.columns).len(count).filter(pl.col(count) < fewer_than).drop(count)
        return cls(plain, plain.hash_rows())

    def found_in(self, frame: pl.DataFrame) -> npt.NDArray[np.int64]:
        """Numbers of the other frame's rows that equal one of these, ascending."""
        plain = _plain(frame)
        hashes = plain.hash_rows()
        # Equal hashes are no proof, but they leave few rows of either frame to be compared themselves.
        met = self.hashes.is_in(hashes.implode())
        likely = hashes.is_in(self.hashes.filter(met).implode())
        number = new_name(plain)
        others = plain.with_row_index(number).filter(likely)
        copies = others.join(self.frame.filter(met), on=plain.columns, how="semi", nulls_equal=True, maintain_order="left")
        return copies[number].to_numpy().astype(np.int64)


def new_name(frame: pl.DataFrame) -> str:
    """A name that no column has."""
    return max(frame.columns, key=len) + "_"


def _plain(frame: pl.DataFrame) -> pl.DataFrame:
    """Dictionaries of text as text, whose hashes hang on nothing but the text."""
    return frame.with_columns(
        pl.col(name).cast(pl.String) for name, dtype in frame.schema.items() if isinstance(dtype, pl.Categorical | pl.Enum)
    )
