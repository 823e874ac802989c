"""Parts of a commit of a table: rows in batches, marks for empty days, and its version."""

from collections.abc import Iterator, Sequence
from datetime import date

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable, Transaction

from resources.lake.spool import Parts, to_arrow

COMMIT_ID = "darkroom_commit"
"""The key of a commit's id in its metadata."""


def firsts(table: DeltaTable, days: Sequence[date]) -> list[Transaction]:
    """A mark for each of these days without a file, so that two commits of such a day conflict.

    Delta itself only finds conflicts in files that both commits touch, and a commit without rows touches none.
    """
    existing = {partition["day"] for partition in table.partitions()}
    return [Transaction(f"day {day}", 0) for day in days if day.isoformat() not in existing]


def version_of(table: DeltaTable, commit_id: str) -> int:
    """The version of a commit; newer ones may exist by now."""
    if table.history(1)[0].get(COMMIT_ID) == commit_id:
        return table.version()
    table.update_incremental()
    for commit in table.history():
        if commit.get(COMMIT_ID) == commit_id:
            return int(commit["version"])
    raise AssertionError("a commit that was made is in the log")


def batches(
    name: str, days: Sequence[date], committed_days: Sequence[date], parts: Parts, errors: list[ValueError]
) -> Iterator[pa.RecordBatch]:
    """Each part's rows of the committed days, sorted by day. An error is raised and also appended to `errors`, because the
    writer wraps exceptions in its own.
    """
    is_replaced = pl.col("day").is_in(pl.Series(days, dtype=pl.Date).implode()).fill_null(value=False)
    for part in parts:
        strays = part.filter(~is_replaced).height
        if strays:
            errors.append(ValueError(f"{name}: {strays} rows are of days that this write does not replace"))
            raise errors[0]
        rows = (
            part
            if len(committed_days) == len(days)
            else part.filter(pl.col("day").is_in(pl.Series(committed_days, dtype=pl.Date).implode()))
        )
        yield from to_arrow(rows.sort("day", maintain_order=True)).to_batches()
