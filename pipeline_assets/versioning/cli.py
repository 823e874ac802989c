"""The commands of versions: parse, call, print."""

from datetime import date, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from pipeline_assets.versioning import cli_checkout, cli_compare
from pipeline_assets.versioning.cli_gc import gc
from pipeline_assets.versioning.reference import Reference

console = Console(highlight=False, soft_wrap=True)


class DaySpan(click.ParamType[tuple[date, date]]):
    """UTC days A..B, both included; A alone is that day."""

    name = "A..B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[date, date]:
        """First and last day. A usage error where a text names none, or none in order."""
        if isinstance(value, tuple):
            return value
        first, _, last = str(value).partition("..")
        try:
            found = date.fromisoformat(first), date.fromisoformat(last or first)
        except ValueError:
            self.fail(f"{value!r} is no span of days: write it as 2026-01-01..2026-01-31", param, ctx)
        if found[0] > found[1]:
            self.fail(f"{value!r} ends before it begins", param, ctx)
        return found


@click.command()
@click.argument("name")
@click.option("--asset", default="training_table", show_default=True, help="The table whose rows are pinned.")
@click.option("--days", type=DaySpan(), help="Only these UTC days, as 2026-01-01..2026-01-31. Default: all.")
@click.option(
    "--folder", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Pin this folder's files, not a table."
)
@click.option("--night", type=click.DateTime(["%Y-%m-%d"]), help="Name what the model of this night was trained on.")
@click.option("-m", "--message", default="", help="What this version is, for those who read the log.")
@click.option("--allow-dirty", is_flag=True, help="Pin although the code has uncommitted changes.")
@click.option("--allow-stale", is_flag=True, help="Pin although some days are not current.")
def pin(
    name: str,
    asset: str,
    days: tuple[date, date] | None,
    folder: Path | None,
    night: datetime | None,
    message: str,
    allow_dirty: bool,
    allow_stale: bool,
) -> None:
    """Name a version: write datasets/NAME.json for git, and the list of its files into the store.

    \b
    darkroom pin popularity -m "first half of January" --days 2026-01-01..2026-01-15
    darkroom pin scans --folder ./scans
    darkroom pin champion --night 2026-01-31
    git add datasets && git commit -m "Pin the training set"

    A table's photos stay where their owners put them: the manifest names each one's version. A folder's files are copied
    into the store, each content once, and only what is new since the last pin of this name.
    """
    from pipeline_assets.cli import services
    from pipeline_assets.versioning import commands

    with services(stores_only=folder is not None) as settings:
        if folder:
            made = commands.pin_folder(settings, name, folder, message, is_dirty_allowed=allow_dirty, console=console)
        elif night:
            made = commands.pin_night(settings, name, night.date(), message)
        else:
            made = commands.pin_asset(
                settings, name, asset, days, message, is_dirty_allowed=allow_dirty, is_stale_allowed=allow_stale
            )
    print_pinned(made)


def print_pinned(made: Reference) -> None:
    """Say what a reference holds, and what to do with it."""
    table = made.table
    if table:
        console.print(f"{made.asset}: {table.rows:,} rows of {table.first_day} to {table.last_day}, version {table.version}")
    console.print(f"Files: {made.manifest.files:,}, {made.manifest.bytes / 1e6:,.1f} MB. Identity: {made.identity[:16]}")
    console.print(f"Wrote datasets/{made.name}.json. Version it: git add datasets && git commit")


COMMANDS = (pin, *cli_checkout.COMMANDS, *cli_compare.COMMANDS, gc)
"""What `darkroom` offers beside its own commands."""
