"""What `darkroom status` says: what each asset holds, and which days are not current, with the reason."""

import json
from collections.abc import Iterator, Sequence
from datetime import date

import polars as pl
from rich.console import Console
from rich.table import Table as Grid

from pipeline_assets import nightly
from pipeline_assets.currency import Range, Survey, ranges, survey
from pipeline_assets.versioning import staleness
from resources import reconciliation
from resources.assembly import resolve
from resources.settings import Settings

LINES = 15
"""Reasons that the table is followed by; --asset and --days narrow, --json has all."""


def print_status(
    settings: Settings, today: date, console: Console, assets: Sequence[str] = (), within: Range | None = None
) -> None:
    """What each asset holds, and which days are not current, with the reason. No assets: all of them."""
    import pipeline_assets.catalog  # noqa: F401  declares the assets

    found = resolve(settings)
    console.print(f"Objects and tables: {settings.lake_url}{settings.lake_server}; state: {settings.home}")
    names = [name for name in nightly.ASSETS if not assets or name in assets]
    judged = survey(found, today, within).of(names, within)
    console.print(grid(judged, names))
    reasons = list(lines(judged.stale))
    for line in reasons[:LINES]:
        console.print(line)
    if len(reasons) > LINES:
        console.print(f"... and {len(reasons) - LINES:,} more lines: narrow by --asset and --days, or see --json.")
    walk = reconciliation.last_walk(found["postgres"], found["uploads"].bucket)
    if walk:
        at = walk.pop("finished_at")
        console.print(f"Bucket and ledger were compared at {at:%Y-%m-%d %H:%M} UTC: {reconciliation.Totals(**walk)}.")
    if not reasons:
        console.print("[green]Every day is current[/green], as far as the ledger knows the bucket.")
    else:
        console.print("`darkroom refresh` computes what is not current; with --dry-run it says what that costs.")


def status_json(settings: Settings, today: date, assets: Sequence[str] = (), within: Range | None = None) -> str:
    """The same as JSON: by asset what it holds, and each day that is not current with reason and detail."""
    import pipeline_assets.catalog  # noqa: F401  declares the assets

    names = [name for name in nightly.ASSETS if not assets or name in assets]
    judged = survey(resolve(settings), today, within).of(names, within)
    stale = judged.stale.partition_by("asset", as_dict=True)
    told = {
        name: {
            **dict(zip(("days", "rows", "newest"), _holds(judged, name), strict=True)),
            "not_current": stale[name,].drop("asset").to_dicts() if (name,) in stale else [],
        }
        for name in names
    }
    return json.dumps({"is_current": not any(one["not_current"] for one in told.values()), "assets": told}, default=str)


def grid(judged: Survey, names: Sequence[str]) -> Grid:
    """A line an asset: what the ledger has of it, and how many days are not current for which reason."""
    table = Grid("asset", "days", "rows", "newest", "not current", title="What the ledger knows")
    reasons = judged.stale.partition_by("asset", as_dict=True)
    for name in names:
        days, rows, newest = _holds(judged, name)
        counted = staleness.counts(reasons[name,]["reason"]) if (name,) in reasons else {}
        told = ", ".join(f"{count:,} days: {reason}" for reason, count in counted.items()) or "-"
        table.add_row(name, f"{days:,}", f"{rows:,}", str(newest or "-"), told)
    return table


def lines(stale: pl.DataFrame) -> Iterator[str]:
    """What is not current in words: days in a row with the same reason and words are one line."""
    grouped = stale.group_by("asset", "reason", "detail", maintain_order=True).agg("day")
    for asset, reason, detail, days in grouped.iter_rows():
        for found in ranges(pl.Series(days)):
            span = str(found.first) if found.first == found.last else f"{found.first} to {found.last}"
            yield f"  {asset} {span}: {reason} ({detail})"


def _holds(judged: Survey, name: str) -> tuple[int, int, date | None]:
    """Days, rows and newest day that the ledger has of an asset."""
    mine = judged.newest.filter(pl.col("asset") == name)
    return mine.height, int(mine["rows"].sum()), mine["day"].max()  # type: ignore[return-value]
