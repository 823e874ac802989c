"""The IO manager of all assets: stores their rows as days of their tables, and loads upstream tables lazily."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import dagster as dg
import polars as pl
from polars.exceptions import PolarsError

from resources.errors import StoreUnavailable
from resources.lake.lake import Lake
from resources.lake.spool import Parts


@dataclass(frozen=True)
class Replacement:
    """Rows that replace exactly these days of a table. Without days nothing is written."""

    days: Sequence[date]
    rows: pl.DataFrame | Parts


DAYS_NOT_WRITTEN = "days not written"
"""Metadata of the failure of a step whose other days are written: the number of failed days."""


@dataclass(frozen=True)
class Unwritten:
    """The output of a step whose rows are already written, and some of whose days failed: the step fails at its end.

    Readers of the step can start, and no day is marked as materialized by this output.
    """

    failed: int
    description: str


class LakeIO(dg.ConfigurableIOManager):
    """Stores an asset's frame as the run's day partitions of its Delta table, and loads upstream tables lazily.

    An asset may return a `polars.DataFrame`, a `LazyFrame`, or a `Replacement` with the days that it replaces. A loaded
    input is a `LazyFrame` over exactly the upstream days of the partition mapping.
    """

    lake: dg.ResourceDependency[Lake]

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Replace the run's partitions (or the days of a Replacement) in one commit. Raises Failure for Unwritten."""
        if isinstance(obj, Unwritten):
            raise dg.Failure(obj.description, metadata={DAYS_NOT_WRITTEN: obj.failed}, allow_retries=False)
        if not isinstance(obj, Replacement):
            days = [date.fromisoformat(key) for key in context.asset_partition_keys]
            obj = Replacement(days, obj.collect(engine="streaming") if isinstance(obj, pl.LazyFrame) else obj)
        if obj.days:
            name = context.asset_key.path[-1]
            version = self.lake.replace(name, obj.days, obj.rows, note={"dagster_run_id": context.run_id})
            context.add_output_metadata({"delta_version": version})

    def load_input(self, context: dg.InputContext) -> pl.LazyFrame:
        """The upstream table, restricted to the mapped days. Raises TableMissing if no run has written it yet."""
        name = context.asset_key.path[-1]
        if not context.has_asset_partitions:
            return self.lake.scan(name)
        try:
            return self.lake.scan(name, [date.fromisoformat(key) for key in context.asset_partition_keys])
        except PolarsError as error:
            raise StoreUnavailable(f"The table {name} can't be read: {error}") from error
