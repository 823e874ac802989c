"""Three small table assets that use all of the seam, and a command that runs them in a process of its own.

They are declared by a call, with the code version that a test wants, and do not stay among the real ones.
"""

import io
import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import dataframely as dy
import polars as pl
from PIL import Image

from pipeline_assets.errors import DarkroomError
from pipeline_assets.framework.declaration import DECLARATIONS, DayCheck, Declaration, RunOfDays, Table, Verdict
from pipeline_assets.framework.failed_days import AFTER
from pipeline_assets.framework.partitions import SAME_DAY, Days
from pipeline_assets.framework.run_executor import run_executor
from pipeline_assets.framework.schemas import Rejected
from pipeline_assets.framework.table_asset import table_asset
from resources.dagster_private import execute_in_process
from resources.database import ledger
from resources.database.postgres import Postgres
from resources.lake.lake import Lake
from resources.lake.lake_io import LakeIO


class World(dg.ConfigurableResource):  # type: ignore[type-arg]
    """What lies outside: a JSON file of {day: [[key, value], ...]}."""

    path: str

    def read(self) -> dict[str, list[list[Any]]]:
        found: dict[str, list[list[Any]]] = json.loads(Path(self.path).read_text())
        return found


class Notes(dy.Schema):
    day = dy.Date(primary_key=True)
    key = dy.String(primary_key=True)
    value = dy.Int64(min=0, description="a number")
    author = dy.String(nullable=True, description="personal: stays here")
    took_s = dy.Float64(metadata={"volatile": True})


class Totals(dy.Schema):
    day = dy.Date(primary_key=True)
    total = dy.Int64(description="over this day and the day before")


class Copies(dy.Schema):
    day = dy.Date(primary_key=True)
    total = dy.Int64(max=500)
    kept_at = dy.Int64(metadata={"volatile": True})


def _dot() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 30, 30)).save(stream, "PNG")
    return stream.getvalue()


def _outside(days: Sequence[date], world: World) -> Mapping[date, str]:
    there = world.read()
    return {day: ledger.digest_of([json.dumps(there[str(day)])]) for day in days if str(day) in there}


def _below_1000(_day: date, rows: pl.DataFrame, _rejected: pl.DataFrame, _run: RunOfDays) -> Verdict:
    largest = rows["total"].max()
    return Verdict(largest is None or int(largest) < 1000, f"the largest total is {largest}", {"largest": largest})


def _not_zero(_day: date, rows: pl.DataFrame, _rejected: pl.DataFrame, _run: RunOfDays) -> Verdict:
    zeros = rows.filter(pl.col("total") == 0).height
    return Verdict(not zeros, f"{zeros} totals are zero")


def build(code: str = "1") -> tuple[list[dg.AssetsDefinition], list[Declaration]]:
    """The three assets as Dagster has them and as the seam does; `code` is the first one's code."""

    @table_asset(
        schema=Notes,
        group="toys",
        sources=_outside,
        code=[code],
        quarantines=True,
        day_metadata=lambda r: {"keys": r.height},
    )
    def notes(run: RunOfDays, world: World) -> Table:
        """Notes from outside."""
        there = world.read()
        rows = [(day, key, value, "Ann", os.urandom(1)[0]) for day in run.days for key, value in there.get(str(day), [])]
        if any(key == "unreadable" for _, key, *_ in rows):
            raise DarkroomError("a note is unreadable: mend it")
        aside = [(day, key, "odd", "an odd note", None) for day, key, *_ in rows if key == "odd"]
        return Table(
            pl.DataFrame([row for row in rows if row[1] != "odd"], schema=list(Notes.columns()), orient="row"),
            rejected=pl.DataFrame(aside, schema=Rejected.create_empty().schema, orient="row"),
            metadata={"code": code},
            pictures={"dot": _dot()},
        )

    @table_asset(
        schema=Totals,
        group="toys",
        inputs={"notes": Days(-1, 0)},
        checks=[
            DayCheck("below_1000", _below_1000, "no total is 1,000 or more", blocking=True),
            DayCheck("not_zero", _not_zero, "no total is zero"),
        ],
    )
    def totals(run: RunOfDays, notes: pl.LazyFrame) -> pl.DataFrame:
        """Sums over two days."""
        by_day = dict(notes.group_by("day").agg(pl.col("value").sum()).collect().iter_rows())
        sums = [sum(by_day.get(day, 0) for day in Days(-1, 0).of(of)) for of in run.days]
        return pl.DataFrame({"day": run.days, "total": sums}, schema=Totals.create_empty().schema)

    @table_asset(schema=Copies, group="toys", inputs={"totals": SAME_DAY})
    def copies(run: RunOfDays, totals: pl.LazyFrame) -> pl.LazyFrame:
        """The totals again, lazily."""
        kept_at = pl.lit(int.from_bytes(os.urandom(7)))
        return totals.filter(pl.col("day").is_in(pl.Series(run.days, dtype=pl.Date).implode())).with_columns(kept_at=kept_at)

    return [notes, totals, copies], [DECLARATIONS.pop(name) for name in ("notes", "totals", "copies")]


def definitions(world: World, lake: Lake, postgres: Postgres, code: str = "1") -> dg.Definitions:
    resources = {"world": world, "lake": lake, "database": postgres, "io_manager": LakeIO(lake=lake)}
    return dg.Definitions(build(code)[0], resources=resources, executor=run_executor)


def execute(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    first: date,
    last: date,
    *names: str,
    force: bool = False,
    after: Sequence[str] = (),
) -> dg.ExecuteInProcessResult:
    """One real run over a range of days, after others of the same command."""
    job = defs.resolve_implicit_global_asset_job_def().get_subset(asset_selection={dg.AssetKey(name) for name in names})
    return execute_in_process(
        job,
        instance,
        {
            "dagster/asset_partition_range_start": str(first),
            "dagster/asset_partition_range_end": str(last),
            AFTER: ",".join(after),
        },
        {
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            **({"ops": {name: {"config": {"force": True}} for name in names}} if force else {}),
        },
    )


def main() -> None:
    """Run the toys over the days that a JSON argument names, for tests that kill a run."""
    told = json.loads(sys.argv[1])
    defs = definitions(
        World(path=told["world"]), Lake(url=told["lake"]), Postgres(url=told["postgres"]), told.get("code", "1")
    )
    with dg.DagsterInstance.ephemeral() as instance:
        execute(defs, instance, date.fromisoformat(told["first"]), date.fromisoformat(told["last"]), *told["assets"])


if __name__ == "__main__":
    main()
