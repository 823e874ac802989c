"""What `darkroom refresh` does: say what computing the stale days will cost, then run exactly those, in order."""

from collections.abc import Mapping, Sequence
from datetime import date

import click
import polars as pl
from rich.console import Console
from rich.table import Table as Grid

from pipeline_assets import nightly
from pipeline_assets.currency import Range, ranges, rules, survey
from pipeline_assets.definitions import build_defs
from pipeline_assets.job import dagster_storage_reached, discover
from pipeline_assets.versioning import staleness
from resources import ledger
from resources.assembly import resolve
from resources.dagster_instance import open_instance
from resources.run_processes import end_dead_runs
from resources.settings import Settings


def refresh(
    settings: Settings,
    today: date,
    console: Console,
    assets: Sequence[str] = (),
    within: Range | None = None,
    *,
    dry_run: bool = False,
    confirmed: bool = False,
) -> bool:
    """Make the stale days of some assets (all) and days (all) current. Returns whether every run succeeded.

    What those days read and is stale comes with them. The bucket is listed into the ledger first, as `darkroom run` does.
    confirmed: do not ask first.
    """
    found = resolve(settings)
    if new := discover(found["postgres"], found["uploads"]):
        console.print(f"Uploads bucket: {new:,} new object versions.")
    judged = survey(found, today, within)
    days = None if within is None else [day for day in judged.days["day"].unique() if day in within]
    stale = staleness.needed(judged.days, rules(), assets or nightly.ASSETS, days)
    wanted = staleness.computable(stale, rules(), judged.newest)
    if left := stale.height - wanted.height:
        console.print(f"[yellow]{left:,} days wait for an input that nothing can compute yet, and are left.[/yellow]")
    if wanted.is_empty():
        console.print("[green]Nothing is stale: no run is needed.[/green]" if stale.is_empty() else "No run would help.")
        return True
    uploads = ledger.object_days(found["postgres"], found["uploads"].bucket)
    console.print(preview(costs(wanted, judged.newest, uploads)))
    runs = launches(wanted, rules())
    console.print(f"{len(runs):,} runs." if len(runs) > 1 else "One run.")
    if dry_run:
        for run in runs:
            console.print(f"  {', '.join(run.assets)}  {run.first} to {run.last}")
        console.print("Nothing was run: this was a dry run.")
        return True
    if not confirmed and click.confirm("Run it?"):
        console.print("Nothing was run.")
        return True
    return _run(settings, runs, console)


def _run(settings: Settings, runs: Sequence[nightly.Launch], console: Console) -> bool:
    """Run one after the other; what follows a failed run is not begun."""
    defs, instance = build_defs(settings), open_instance(settings)
    with instance, dagster_storage_reached():
        end_dead_runs(instance)
        for run in runs:
            console.print(f"[bold]{', '.join(run.assets)}[/bold]  {run.first} to {run.last}")
            result = nightly.execute(defs, instance, run, "darkroom refresh")
            for step, reason in nightly.failures(result).items():
                console.print(f"[red]{step} failed:[/red] {reason}")
            if not result.success:
                return False
    console.print("[green]Done.[/green]")
    return True


def launches(wanted: pl.DataFrame, rules: Mapping[str, staleness.Rule]) -> list[nightly.Launch]:
    """The runs that compute exactly these days, a contiguous range each, inputs before what reads them.

    Assets with the same days share a run. Where the days are several ranges, only if they read each other on the same day:
    otherwise a range would be computed before the later range of its input.
    """
    stages: list[tuple[list[str], list[Range]]] = []
    stage_of: dict[str, int] = {}
    for (asset,), frame in wanted.partition_by("asset", as_dict=True, maintain_order=True).items():
        name, spans = str(asset), ranges(frame["day"])
        above = {up: window for up, window in rules[name].windows.items() if up in stage_of}
        earliest = max((stage_of[up] for up in above), default=0)
        for number in range(earliest, len(stages)):
            names, theirs = stages[number]
            if theirs == spans and (len(spans) == 1 or all(above.get(up, (0, 0)) == (0, 0) for up in names)):
                names.append(name)
                break
        else:
            number = len(stages)
            stages.append(([name], spans))
        stage_of[name] = number
    return [nightly.Launch(tuple(names), span.first, span.last) for names, spans in stages for span in spans]


def costs(wanted: pl.DataFrame, newest: pl.DataFrame, uploads: pl.DataFrame) -> pl.DataFrame:
    """What each asset's days will cost: asset, days, rows, uploads, seconds; rows and seconds are null where none are known.

    rows: as many as the day has, else the median of the asset's days. seconds: at the asset's earlier seconds a row, or a
    day where it has no rows. uploads: objects uploaded on the days.
    """
    known = newest.filter(pl.col("digest") != "")
    rates = (
        known.group_by("asset")
        .agg(
            typical=pl.col("rows").median(),
            timed=pl.col("seconds").count(),
            seconds=pl.col("seconds").sum(),
            timed_rows=pl.col("rows").filter(pl.col("seconds").is_not_null()).sum(),
        )
        .filter(pl.col("typical").is_not_null())
    )
    days = (
        wanted.select("asset", "day")
        .join(known.select("asset", "day", "rows"), on=["asset", "day"], how="left", maintain_order="left")
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


def preview(found: pl.DataFrame) -> Grid:
    """The costs as a table, with their sum."""
    table = Grid(
        "asset", "days", "rows", "uploads of these days", "estimated", title="What will be computed", show_footer=True
    )
    for asset, days, rows, uploads, seconds in found.iter_rows():
        table.add_row(asset, f"{days:,}", "-" if rows is None else f"{rows:,}", f"{uploads:,}", _time(seconds))
    known = found["seconds"].drop_nulls()
    least = "at least " if 0 < len(known) < found.height else ""
    totals = ("all", f"{found['days'].sum():,}", "", "", least + _time(float(known.sum()) if len(known) else None))
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
