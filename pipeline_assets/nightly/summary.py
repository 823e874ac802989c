"""The summary that `darkroom run` prints: rows, seconds, and the model compared with its baselines."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import polars as pl
from rich.table import Column
from rich.table import Table as Grid
from rich.text import Text

from pipeline_assets.labeling.campaigns import report
from pipeline_assets.nightly import calendars
from pipeline_assets.runtime.terminal import Terminal, decimal
from pipeline_assets.runtime.visible import one_line
from resources.database import ledger
from resources.database.contract import Database
from resources.lake.lake import Lake
from resources.settings import Settings


def _holdings(database: Database, lake: Lake) -> pl.DataFrame:
    """Days, rows, quarantined or rejected rows, and newest day of each asset."""
    entries = ledger.latest(database, calendars.ASSETS, date.min, date.max)
    rows = []
    for name in calendars.ASSETS:
        of_asset = entries.filter(pl.col("asset") == name)
        aside = of_asset["rejected"].sum()
        if name == "raw_uploads" and lake.exists(name):
            aside += lake.scan(name).filter(pl.col("verdict") != "ok").select(pl.len()).collect().item()
        rows.append((name, of_asset.height, of_asset["rows"].sum(), aside, of_asset["day"].max()))
    return pl.DataFrame(rows, schema=["asset", "days", "rows", "set_aside", "newest"], orient="row")


def print_summary(
    settings: Settings,
    resources: Mapping[str, Any],
    timings: Mapping[str, float],
    speed: Mapping[str, float],
    console: Terminal,
) -> None:
    """Print rows and quarantined rows of each asset, speed, the model with its baselines, and what to look at next."""
    lake: Lake = resources["lake"]
    grid = Grid("asset", "days", "rows", "quarantined", "seconds")
    for row in _holdings(resources["database"], lake).iter_rows(named=True):
        seconds = f"{timings[row['asset']]:.1f}" if row["asset"] in timings else "-"
        grid.add_row(row["asset"], *(f"{row[c]:,}" for c in ("days", "rows", "set_aside")), seconds)
    console.print(grid)
    if speed.get("computed"):
        console.print(
            f"Classified {speed['computed']:,} photos at {speed['photos_per_s']:.0f} photos/s, loading the model included."
        )
    _print_campaigns(lake, console)
    _print_model(lake, console)
    console.print(f"Tables:  {lake.uri('')}ASSET (Delta Lake){settings.lake_server}; state in {settings.home}")
    console.print("Look:    make ui   |   .venv/bin/darkroom show training_table   |   .venv/bin/darkroom status")


def campaign_grid(rows: pl.DataFrame) -> Grid:
    """The rows of `report.progress` as a table. labels: accepted ones; open: to be decided by a person."""
    grid = Grid(Column("campaign", no_wrap=True), "tasks", "votes", "labels", "open", "alpha", "cost (a label)")
    for row in rows.iter_rows(named=True):
        counts = [f"{row[name] or 0:,}" for name in ("tasks", "votes", "accepted", "to_decide")]
        cost = f"{row['cost']:,.2f} ({decimal(row['cost_per_label'], 2)}) {row['currency']}" if row["cost"] else "-"
        grid.add_row(f"{row['campaign']} {row['version']}", *counts, decimal(row["alpha"]), cost)
    return grid


def _print_campaigns(lake: Lake, console: Terminal) -> None:
    """Print how far campaigns have come, if any was answered."""
    tables = {name: lake.scan(name) for name in report.TABLES if lake.exists(name)}
    if len(tables) == len(report.TABLES):
        rows = report.progress(tables)
        if rows["votes"].sum():
            console.print(campaign_grid(rows))


def _print_model(lake: Lake, console: Terminal) -> None:
    newest = {name: _newest(lake, name) for name in ("popularity_model", "popularity_model_rejected")}
    model, rejected = newest.values()
    if rejected and (not model or model["day"] < rejected["day"]):
        console.print(Text(f"No model for the night of {rejected['day']}:", "yellow"), f"{one_line(rejected['detail'])}.")
    if not model:
        return
    grid = Grid(
        "popularity model", "R2", "Spearman", title=f"Night of {model['day']}, test split of {model['rows_test']} photos"
    )
    lines = (
        ("mean of the labels", "r2_mean", None),
        ("ridge on posting metadata", "r2_metadata", "spearman_metadata"),
        ("ridge on everything", "r2_ridge", "spearman_ridge"),
        ("the model", "r2", "spearman"),
        (f"the same without its {model['rows_variants']:,} variants", "r2_without_variants", "spearman_without_variants"),
        ("oracle (the simulator's own expectation)", "r2_oracle", "spearman_oracle"),
    )
    for name, r2, spearman in lines:
        if model[r2] is not None:
            rank = model[spearman] if spearman else None
            grid.add_row(name, f"{model[r2]:.3f}", "-" if rank is None else f"{rank:.3f}")
    console.print(grid)


def _newest(lake: Lake, table: str) -> dict[str, Any] | None:
    """A row of the newest day of a small table; None if the table is empty or missing."""
    rows = lake.scan(table).sort("day").tail(1).collect() if lake.exists(table) else pl.DataFrame()
    return None if rows.is_empty() else rows.row(0, named=True)
