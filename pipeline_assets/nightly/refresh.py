"""`darkroom refresh`: estimate the cost of computing the stale days, then run exactly those, in order."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

import click
import dagster as dg
import polars as pl
from rich.table import Table as Grid
from rich.text import Text

from pipeline_assets.framework import recomputing, staleness
from pipeline_assets.nightly import calendars, dagster_runs, night
from pipeline_assets.nightly.bucket import discover
from pipeline_assets.nightly.run import dagster_storage_reached, execute_and_print
from pipeline_assets.nightly.survey import Range, ranges, rules, survey
from pipeline_assets.nightly.turns import turn, wait_for_others
from pipeline_assets.runtime.terminal import Terminal
from pipeline_assets.runtime.visible import one_line
from resources.assembly import resolve
from resources.database import seen_objects
from resources.database.claims import Holder
from resources.servers.dagster_instance import open_instance
from resources.servers.run_processes import end_dead_runs
from resources.settings import Settings


def refresh(
    settings: Settings,
    build: Callable[[Settings], dg.Definitions],
    today: date,
    console: Terminal,
    assets: Sequence[str] = (),
    within: Range | None = None,
    *,
    dry_run: bool = False,
    confirmed: bool = False,
) -> bool:
    """Compute the stale days of these assets and days (default: all). Returns whether every run succeeded.

    Stale days that those read are computed, too. The bucket is listed into the ledger first, as in `darkroom run`.
    build: creates the definitions whose assets run. confirmed: skip the question.
    """
    resources = resolve(settings)
    if new := discover(resources["database"], resources["uploads"]):
        console.print(f"Uploads bucket: {new:,} new object versions.")
    judged = survey(resources, today, within)
    for sentence in judged.set_aside:
        console.print(Text("Set aside:", "yellow"), one_line(sentence))
    days = None if within is None else [day for day in judged.days["day"].unique() if day in within]
    declared = rules(resources)
    stale = recomputing.needed(judged.days, declared, assets or calendars.ASSETS, days)
    to_compute = recomputing.computable(stale, declared, judged.newest)
    if waiting := stale.height - to_compute.height:
        console.print(f"{waiting:,} days wait for an input that nothing can compute yet, and are left.", style="yellow")
    if to_compute.is_empty():
        if stale.is_empty():
            console.print("Nothing is stale: no run is needed.", style="green")
        else:
            console.print("No run would help.")
        return True
    uploads = seen_objects.object_days(resources["database"], resources["uploads"].bucket)
    console.print(preview(costs(to_compute, judged.newest, uploads)))
    runs = launches(to_compute, declared)
    console.print(f"{len(runs):,} runs." if len(runs) > 1 else "One run.")
    if dry_run:
        for run in runs:
            console.print(f"  {', '.join(run.assets)}  {run.first} to {run.last}")
        console.print("Nothing was run: this was a dry run.")
        return True
    if not (confirmed or click.confirm("Run it?")):
        console.print("Nothing was run.")
        return True
    with turn(resources["database"], "darkroom refresh", runs) as holder:
        return _run(settings, build, resources, runs, holder, console)


def _run(
    settings: Settings,
    build: Callable[[Settings], dg.Definitions],
    resources: Mapping[str, Any],
    runs: Sequence[night.Launch],
    holder: Holder,
    console: Terminal,
) -> bool:
    """Execute the runs in order. Days that another process has made current meanwhile are skipped.

    A failed day delays the days that read it; after any other failure no further run starts.
    """
    succeeded, run_ids = True, list[str]()
    defs, instance = build(settings), open_instance(settings)
    with instance, dagster_storage_reached():
        end_dead_runs(instance, is_database_here="postgres" in settings.embedded_servers)
        for run in runs:
            wait_for_others(holder, instance, run, console)
            result = execute_and_print(defs, instance, run, "darkroom refresh", run_ids, console)
            run_ids.append(result.run_id)
            succeeded = succeeded and result.success
            if not dagster_runs.is_safe(result):
                return False
    if succeeded:
        console.print("Done.", style="green")
    return succeeded


def launches(to_compute: pl.DataFrame, rules: Mapping[str, staleness.Rule]) -> list[night.Launch]:
    """The runs that compute exactly these days: one contiguous range each, inputs before their readers.

    Assets with the same days share a run. If the days form several ranges, they share it only if they read each other on
    the same day: otherwise a range would be computed before the later range of its input.
    """
    stages: list[tuple[list[str], list[Range]]] = []
    stage_of: dict[str, int] = {}
    for (asset,), frame in to_compute.partition_by("asset", as_dict=True, maintain_order=True).items():
        name, spans = str(asset), ranges(frame["day"])
        inputs = {up: window for up, window in rules[name].windows.items() if up in stage_of}
        earliest = max((stage_of[up] for up in inputs), default=0)
        for number in range(earliest, len(stages)):
            names, stage_spans = stages[number]
            if stage_spans == spans and (len(spans) == 1 or all(inputs.get(up, (0, 0)) == (0, 0) for up in names)):
                names.append(name)
                break
        else:
            number = len(stages)
            stages.append(([name], spans))
        stage_of[name] = number
    return [night.Launch(tuple(names), span.first, span.last) for names, spans in stages for span in spans]


def costs(to_compute: pl.DataFrame, newest: pl.DataFrame, uploads: pl.DataFrame) -> pl.DataFrame:
    """Estimated cost by asset: asset, days, rows, uploads, seconds; rows and seconds are null if unknown.

    rows: those of the day in the ledger, else the median of the asset's days. seconds: from the asset's earlier seconds per
    row, or per day if it has no rows. uploads: objects uploaded on these days.
    """
    computed = newest.filter(pl.col("digest") != "")
    rates = (
        computed.group_by("asset")
        .agg(
            typical=pl.col("rows").median(),
            timed=pl.col("seconds").count(),
            seconds=pl.col("seconds").sum(),
            timed_rows=pl.col("rows").filter(pl.col("seconds").is_not_null()).sum(),
        )
        .filter(pl.col("typical").is_not_null())
    )
    days = (
        to_compute.select("asset", "day")
        .join(computed.select("asset", "day", "rows"), on=["asset", "day"], how="left", maintain_order="left")
        .join(rates, on="asset", how="left", maintain_order="left")
        .join(uploads.select("day", "objects"), on="day", how="left", maintain_order="left")
        .with_columns(rows=pl.coalesce("rows", pl.col("typical").round().cast(pl.Int64)))
    )
    by_row = pl.col("rows") * pl.col("seconds") / pl.col("timed_rows")
    seconds = pl.when(pl.col("timed_rows") > 0).then(by_row).otherwise(pl.col("seconds") / pl.col("timed"))
    return (
        days.with_columns(seconds=pl.when(pl.col("timed") > 0).then(seconds))
        .group_by("asset", maintain_order=True)
        .agg(
            days=pl.len(),
            rows=pl.when(pl.col("rows").is_not_null().all()).then(pl.col("rows").sum()),
            uploads=pl.col("objects").sum(),
            seconds=pl.when(pl.col("seconds").is_not_null().all()).then(pl.col("seconds").sum()),
        )
    )


def preview(costs: pl.DataFrame) -> Grid:
    """The costs as a table with totals."""
    table = Grid(
        "asset", "days", "rows", "uploads of these days", "estimated", title="What will be computed", show_footer=True
    )
    for asset, days, rows, uploads, seconds in costs.iter_rows():
        table.add_row(asset, f"{days:,}", "-" if rows is None else f"{rows:,}", f"{uploads:,}", _time(seconds))
    estimated = costs["seconds"].drop_nulls()
    prefix = "at least " if 0 < len(estimated) < costs.height else ""
    totals = ("all", f"{costs['days'].sum():,}", "", "", prefix + _time(float(estimated.sum()) if len(estimated) else None))
    for column, total in zip(table.columns, totals, strict=True):
        column.footer = total
    return table


def _time(seconds: float | None) -> str:
    """Seconds in words: `not known`, `12 s`, `3 min`, `1 h 20 min`."""
    if seconds is None:
        return "not known"
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
