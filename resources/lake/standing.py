"""The newest version of a Delta table and the ids of its commits, from its log. No row is read.

A restored or recreated table repeats version numbers, so that each of our commits also has a unique id.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

import polars as pl

from resources.errors import NotFound
from resources.lake.commits import COMMIT_ID
from resources.lake.lake import Lake

MISSING = -1
"""The version of a missing table."""


@dataclass(frozen=True)
class Standing:
    """A table's newest version, and the rows of each day that has files; None if the log does not count them."""

    version: int = MISSING
    rows: Mapping[date, int | None] = field(default_factory=dict)


def standing(lake: Lake, name: str) -> Standing:
    """The present state of a table."""
    table = lake.find(name)
    if table is None:
        return Standing()
    actions = pl.DataFrame(table.get_add_actions(flatten=True))
    if actions.is_empty() or "partition.day" not in actions.columns:
        return Standing(table.version())
    counts = pl.col("num_records") if "num_records" in actions.columns else pl.lit(None, pl.Int64)
    by_day = actions.group_by(day=pl.col("partition.day").cast(pl.Date)).agg(
        pl.when(counts.is_not_null().all()).then(counts.sum()).alias("rows")
    )
    return Standing(table.version(), {day: rows for day, rows in by_day.iter_rows() if day is not None})


def commit_id(lake: Lake, name: str, version: int) -> str | None:
    """The id of the commit of a version: empty if it is not ours, None if the log no longer has it."""
    try:
        text = lake.store.get(f"tables/{name}/_delta_log/{version:020}.json")
    except NotFound:
        return None
    infos = [json.loads(line).get("commitInfo") for line in text.splitlines() if line.strip()]
    return next((str(info.get(COMMIT_ID, "")) for info in infos if info), "")
