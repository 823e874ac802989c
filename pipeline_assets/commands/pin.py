"""`darkroom pin`, and the list of all commands for versions."""

from datetime import date, datetime
from pathlib import Path

import click

from pipeline_assets.commands import checkout, compare
from pipeline_assets.commands.gc import gc
from pipeline_assets.commands.session import Days, console, services
from pipeline_assets.versioning.pin.reference import Reference


@click.command()
@click.argument("name")
@click.option("--asset", default="training_table", show_default=True, help="The table whose rows are pinned.")
@click.option("--days", type=Days(), help="Only these UTC days, e.g. 2026-01-01..2026-01-31. Default: all.")
@click.option("--where", help="Only rows that match this SQL expression over the table's columns.")
@click.option(
    "--folder", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Pin this folder's files, not a table."
)
@click.option("--night", type=click.DateTime(["%Y-%m-%d"]), help="Pin the training set of this night's model.")
@click.option("-m", "--message", default="", help="Description of this version, shown by `darkroom log`.")
@click.option("--allow-dirty", is_flag=True, help="Pin even if the code has uncommitted changes.")
@click.option("--allow-stale", is_flag=True, help="Pin even if some days are stale.")
def pin(
    name: str,
    asset: str,
    days: tuple[date, date] | None,
    where: str | None,
    folder: Path | None,
    night: datetime | None,
    message: str,
    allow_dirty: bool,
    allow_stale: bool,
) -> None:
    """Record a version of a table or folder.

    Writes datasets/NAME.json for git, and the manifest of the version's files to the object store.

    \b
    darkroom pin popularity -m "first half of January" --days 2026-01-01..2026-01-15
    darkroom pin weak --where "brightness < 0.2 and split = 'train'"
    darkroom pin scans --folder ./scans
    darkroom pin champion --night 2026-01-31
    git add datasets && git commit -m "Pin the training set"

    A table's photos stay where their owners uploaded them: the manifest names the version of each. A folder's files are
    copied to the store, each content once, and only those that are new since the last pin of this name.
    """
    from pipeline_assets.versioning.pin import commands

    if where is not None and (folder or night):
        raise click.UsageError("--where selects rows of a table: leave --folder and --night out")
    with services(stores_only=folder is not None) as settings:
        if folder:
            reference = commands.pin_folder(settings, name, folder, message, is_dirty_allowed=allow_dirty, console=console)
        elif night:
            reference = commands.pin_night(settings, name, night.date(), message)
        else:
            allowed = {"is_dirty_allowed": allow_dirty, "is_stale_allowed": allow_stale}
            reference = commands.pin_asset(settings, name, asset, days, message, **allowed, where=where)
    print_pinned(reference)


def print_pinned(reference: Reference) -> None:
    """Print what a reference contains, and how to commit it."""
    table = reference.table
    if table:
        console.print(
            f"{reference.asset}: {table.rows:,} rows of {table.first_day} to {table.last_day}, version {table.version}"
        )
    if reference.selection:
        console.print(f"Selected of them: {reference.selection.rows:,} rows")
    console.print(
        f"Files: {reference.manifest.files:,}, {reference.manifest.bytes / 1e6:,.1f} MB. Identity: {reference.identity[:16]}"
    )
    console.print(f"Wrote datasets/{reference.name}.json. Version it: git add datasets && git commit")


COMMANDS = (pin, *checkout.COMMANDS, *compare.COMMANDS, gc)
"""All commands for versions."""
