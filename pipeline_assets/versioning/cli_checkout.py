"""The commands that bring a version back and prove that it can be: checkout, verify, and the cache between them."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from pipeline_assets.versioning.verification import Verdict

console = Console(highlight=False, soft_wrap=True)


@click.command()
@click.argument("name", metavar="[REVISION:]NAME")
@click.argument("target", type=click.Path(path_type=Path, file_okay=False))
@click.option("--where", help="Only rows for which this SQL expression over the table's columns holds, and their files.")
@click.option("--columns", help="Only these columns of the rows, as a,b,c.")
@click.option(
    "--link",
    type=click.Choice(["auto", "hard", "reflink", "copy"]),
    default="auto",
    show_default=True,
    help="How files share blocks with the cache.",
)
@click.option("--no-files", is_flag=True, help="Only the rows; files that are there stay as they are.")
@click.option("--no-rows", is_flag=True, help="Only the files; rows that are there stay as they are.")
@click.option("--no-cache", is_flag=True, help="Neither read nor fill the cache: files are written straight to TARGET.")
@click.option("--force", is_flag=True, help="Replace files in the way that no checkout wrote, or that were changed since.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and write nothing.")
def checkout(
    name: str,
    target: Path,
    where: str | None,
    columns: str | None,
    link: str,
    no_files: bool,
    no_rows: bool,
    no_cache: bool,
    force: bool,
    dry_run: bool,
) -> None:
    """Bring a version to the local disk: its files under TARGET, a table's rows as TARGET/rows-ASSET.parquet.

    \b
    darkroom checkout popularity ./data
    darkroom checkout v1.2:popularity ./then              as a tag, branch or commit has it
    darkroom checkout popularity ./data --where "views_7d > 100 and split = 'train'" --columns photo_id,views_7d
    darkroom checkout scans ./scans --where "path like 'inbox/%' and size_bytes < 1000000"

    The rows' column file_path says where in TARGET each row's file is: polars and pandas read it with nothing else.

    Every file is hashed before it gets its name. Stopped at any point, the same command goes on and fetches nothing twice.
    Another version in the same TARGET updates it. Only files that a checkout wrote are ever replaced or removed.

    Contents are kept in DARKROOM_HOME/cache. With --link auto, files are clones of it where the filesystem has them
    (btrfs, XFS), which an edit leaves alone; else hard links, read-only, and one file in all checkouts: to edit files, take
    --link copy. A damaged entry of the cache is found and fetched again. `darkroom cache` says its size and prunes it.
    """
    from pipeline_assets.cli import services
    from pipeline_assets.versioning.checkout_commands import Wish, check_out, rehearse

    wanted = tuple(column.strip() for column in columns.split(",")) if columns else ()
    if no_files and no_rows:
        raise click.UsageError("--no-files with --no-rows leaves nothing to check out")
    wish = Wish(name, where, wanted, not no_files, not no_rows)
    with services(stores_only=True) as settings:
        if dry_run:
            rehearse(settings, wish, target, force=force, console=console)
        else:
            check_out(settings, wish, target, link=link, use_cache=not no_cache, force=force, console=console)


@click.command()
@click.argument("name", metavar="[REVISION:]NAME")
@click.option("--quick", is_flag=True, help="Ask for each object's size, and read none. Rows are read all the same.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def verify(name: str, quick: bool, as_json: bool) -> None:
    """Prove that a version can be got back: every object there with its bytes, every table with its rows.

    \b
    darkroom verify popularity
    darkroom verify v1.2:popularity --quick
    darkroom verify popularity --json | jq .faults

    Names each fault with what to do. Exit status 1 if there is any.
    """
    from pipeline_assets.cli import services
    from pipeline_assets.versioning.checkout_commands import verified

    with services() as settings:
        found = verified(settings, name, quick=quick, tell=Console(stderr=True, highlight=False).print)
    if as_json:
        click.echo(json.dumps(found.plain(), indent=2, ensure_ascii=False))
    else:
        _print_verdict(found)
    sys.exit(0 if found.ok else 1)


def _print_verdict(found: "Verdict") -> None:
    for fault in found.faults:
        console.print(f"[red]{escape(fault.what)}[/red]: {escape(fault.fault)} ({escape(fault.key)}). {fault.remedy}")
    if found.faulty > len(found.faults):
        console.print(f"... and {found.faulty - len(found.faults):,} more.")
    looked = "asked for" if found.quick else "read and hashed"
    console.print(f"{found.files:,} files, {found.bytes / 1e6:,.1f} MB: {looked}.")
    for table, rows in found.tables.items():
        console.print(f"{table}: {rows:,} rows read and digested.")
    said = "[green]All of it is there and true.[/green]" if found.ok else f"[red]{found.faulty:,} faults.[/red]"
    console.print(f"{found.name} {found.identity[:16]}: {said}")


@click.command()
@click.option(
    "--prune", "unused_days", type=click.FloatRange(0), metavar="DAYS", help="Remove what nothing has read for so many days."
)
def cache(unused_days: float | None) -> None:
    """Say how large the cache of checked-out contents is (DARKROOM_HOME/cache/contents), and prune it.

    What a checkout shares by hard links is left: to remove it would free nothing. Everything in it can be fetched again.
    """
    from pipeline_assets.versioning.checkout_commands import cache_of
    from resources.settings import load_settings

    found = cache_of(load_settings()).prune(float("inf") if unused_days is None else unused_days)
    if found.removed:
        console.print(f"Removed {found.removed:,} contents, {found.removed_bytes / 1e6:,.1f} MB.")
    console.print(f"The cache holds {found.left:,} contents, {found.left_bytes / 1e6:,.1f} MB.")


COMMANDS = (checkout, verify, cache)
