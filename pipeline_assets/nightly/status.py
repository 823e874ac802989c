"""`darkroom status`: days and rows of each asset, and the days that are not current, with the reason."""

import json
from collections.abc import Sequence
from datetime import date

import polars as pl
from rich.table import Table as Grid
from rich.text import Text

from pipeline_assets.framework import staleness
from pipeline_assets.nightly import calendars
from pipeline_assets.nightly.lines import lines
from pipeline_assets.nightly.survey import Range, Survey, ranges, survey
from pipeline_assets.runtime.terminal import Terminal
from pipeline_assets.runtime.visible import one_line
from resources.assembly import resolve
from resources.database import reconciliation
from resources.objects.resource import Objects
from resources.settings import Settings

LINES = 15
"""Reasons printed below the table; --asset and --days narrow them, --json has all."""


def print_status(
    settings: Settings, today: date, console: Terminal, assets: Sequence[str] = (), within: Range | None = None
) -> None:
    """Print days and rows of each asset, and the days that are not current, with the reason. Default: all assets."""
    import pipeline_assets.catalog  # noqa: F401  declares the assets

    resources = resolve(settings)
    console.print(f"Objects and tables: {settings.lake_url}{settings.lake_server}; state: {settings.home}")
    names = [name for name in calendars.ASSETS if not assets or name in assets]
    all_days = survey(resources, today, within)
    chosen = all_days.of(names, within)
    console.print(grid(chosen, names))
    reasons = list(lines(chosen.stale))
    for line in reasons[:LINES]:
        console.print(one_line(line))
    if len(reasons) > LINES:
        console.print(f"... and {len(reasons) - LINES:,} more lines: narrow by --asset and --days, or see --json.")
    for sentence in chosen.set_aside:
        console.print(Text("Set aside:", "yellow"), one_line(sentence))
    for span in ranges(pl.Series(chosen.log_gaps, dtype=pl.Date)):
        text = str(span.first) if span.first == span.last else f"{span.first} to {span.last}"
        console.print(
            Text("No log:", "yellow"),
            f"{text}. Labels that count these days wait for a log file: an empty one if nothing happened.",
        )
    walk = reconciliation.last_walk(resources["database"], resources["uploads"].bucket)
    if walk:
        at = walk.pop("finished_at")
        console.print(f"Bucket and ledger were compared at {at:%Y-%m-%d %H:%M} UTC: {reconciliation.Totals(**walk)}.")
    if all_days.is_empty:
        console.print(nothing_yet(resources["uploads"]))
    elif chosen.days.is_empty():
        console.print("No day of these ought to be there: nothing was uploaded or logged on them.")
    elif not reasons:
        console.print(Text("Every day is current", "green").append(", as far as the ledger knows the bucket.", "default"))
    else:
        console.print("`darkroom refresh` computes what is not current; with --dry-run it says what that costs.")


def status_json(settings: Settings, today: date, assets: Sequence[str] = (), within: Range | None = None) -> str:
    """The same as JSON: days and rows by asset, and each day that is not current, with reason and detail."""
    import pipeline_assets.catalog  # noqa: F401  declares the assets

    names = [name for name in calendars.ASSETS if not assets or name in assets]
    all_days = survey(resolve(settings), today, within)
    chosen = all_days.of(names, within)
    stale = chosen.stale.partition_by("asset", as_dict=True)
    assets_json = {
        name: {
            **dict(zip(("days", "rows", "newest"), _holds(chosen, name), strict=True)),
            "not_current": stale[name,].drop("asset").to_dicts() if (name,) in stale else [],
        }
        for name in names
    }
    is_current = not all_days.is_empty and not any(asset_json["not_current"] for asset_json in assets_json.values())
    outside = {"set_aside": chosen.set_aside, "log_gaps": chosen.log_gaps}
    return json.dumps(
        {"is_current": is_current, "is_empty": all_days.is_empty, "assets": assets_json, **outside}, default=str
    )


def grid(judged: Survey, names: Sequence[str]) -> Grid:
    """One line for each asset: its days and rows in the ledger, and the number of days that are not current, by reason."""
    table = Grid("asset", "days", "rows", "newest", "not current", title="What the ledger knows")
    reasons = judged.stale.partition_by("asset", as_dict=True)
    for name in names:
        days, rows, newest = _holds(judged, name)
        days_by_reason = staleness.counts(reasons[name,]["reason"]) if (name,) in reasons else {}
        text = ", ".join(f"{count:,} days: {reason}" for reason, count in days_by_reason.items()) or "-"
        table.add_row(name, f"{days:,}", f"{rows:,}", str(newest or "-"), text)
    return table


def nothing_yet(uploads: Objects) -> str:
    """The next step while the ledger is empty: it depends on whether the bucket holds uploads."""
    if next(iter(uploads.store.list("uploads/")), None) is not None:
        return f"Nothing was computed yet, and {uploads.url} holds uploads: `darkroom run` finds and processes them."
    return (
        f"There is nothing yet: {uploads.url} holds no uploads. Put photos there (uploads/{{day}}/{{user_id}}/{{name}}), "
        "or import some: `darkroom run --photos FOLDER`."
    )


def _holds(judged: Survey, name: str) -> tuple[int, int, date | None]:
    """Days, rows and newest day of an asset in the ledger."""
    entries = judged.newest.filter(pl.col("asset") == name)
    return entries.height, int(entries["rows"].sum()), entries["day"].max()  # type: ignore[return-value]
