"""The commands `checkout`, `verify` and `cache`: restore a version, prove that it can be restored, prune the cache."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.text import Text

from pipeline_assets.commands.session import console, services, settings_of_home
from pipeline_assets.runtime.terminal import Terminal
from pipeline_assets.runtime.visible import one_line

if TYPE_CHECKING:
    from pipeline_assets.versioning.pin.verification import Verdict


@click.command()
@click.argument("name", metavar="[REVISION:]NAME")
@click.argument("target", type=click.Path(path_type=Path, file_okay=False))
@click.option("--where", help="Only rows that match this SQL expression over the columns, and their files.")
@click.option("--columns", help="Only these columns of the rows, as a,b,c.")
@click.option(
    "--link",
    type=click.Choice(["auto", "hard", "reflink", "copy"]),
    default="auto",
    show_default=True,
    help="How files share disk blocks with the cache.",
)
@click.option("--no-files", is_flag=True, help="Only the rows; existing files stay as they are.")
@click.option("--no-rows", is_flag=True, help="Only the files; existing rows stay as they are.")
@click.option("--no-cache", is_flag=True, help="Neither read nor fill the cache: write files directly to TARGET.")
@click.option("--force", is_flag=True, help="Also replace files that no checkout wrote, or that were edited since.")
@click.option("--dry-run", is_flag=True, help="Print what would be done, and write nothing.")
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
    """Write a version to a folder: its files and rows.

    Files are written under TARGET, a table's rows to TARGET/rows-ASSET.parquet.

    \b
    darkroom checkout popularity ./data
    darkroom checkout v1.2:popularity ./then              the version at a tag, branch or commit
    darkroom checkout popularity ./data --where "views_7d > 100 and split = 'train'" --columns photo_id,views_7d
    darkroom checkout scans ./scans --where "path like 'inbox/%' and size_bytes < 1000000"

    The column file_path holds the path of each row's file in TARGET: polars or pandas is enough to read the data set.

    Every file is hashed before it gets its name. If the command is stopped, the same command continues and fetches nothing
    twice. To update TARGET, check out another version into it. Only files that a checkout wrote are replaced or removed.

    Contents are kept in DARKROOM_HOME/cache. With --link auto, files are clones of the cached ones where the filesystem
    supports it (btrfs, XFS), and an edit does not change the cache; elsewhere they are read-only hard links, shared by all
    checkouts: to edit files, use --link copy. A damaged entry of the cache is detected and fetched again. `darkroom cache`
    prints the cache's size and prunes it.
    """
    from pipeline_assets.versioning.checkout.commands import CheckoutRequest, check_out, rehearse

    column_names = tuple(column.strip() for column in columns.split(",")) if columns else ()
    if no_files and no_rows:
        raise click.UsageError("--no-files with --no-rows leaves nothing to check out")
    request = CheckoutRequest(name, where, column_names, not no_files, not no_rows)
    with services(stores_only=True) as settings:
        if dry_run:
            rehearse(settings, request, target, force=force, console=console)
        else:
            check_out(settings, request, target, link=link, use_cache=not no_cache, force=force, console=console)


@click.command()
@click.argument("name", metavar="[REVISION:]NAME")
@click.option("--quick", is_flag=True, help="Compare only each object's size and read no contents. Rows are still read.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def verify(name: str, quick: bool, as_json: bool) -> None:
    """Check that a version can be restored completely.

    Reads and hashes every object and every table's rows.

    \b
    darkroom verify popularity
    darkroom verify v1.2:popularity --quick
    darkroom verify popularity --json | jq .faults

    Prints each fault and how to repair it. Exit status 1 if there is any.
    """
    from pipeline_assets.versioning.checkout.commands import verified

    with services() as settings:
        verdict = verified(settings, name, quick=quick, tell=Terminal(stderr=True).print)
    if as_json:
        click.echo(json.dumps(verdict.plain(), indent=2, ensure_ascii=False))
    else:
        _print_verdict(verdict)
    sys.exit(0 if verdict.ok else 1)


def _print_verdict(verdict: "Verdict") -> None:
    for fault in verdict.faults:
        console.print(Text(one_line(fault.what), "red"), one_line(f"{fault.fault} ({fault.key}). {fault.remedy}"))
    if verdict.faulty > len(verdict.faults):
        console.print(f"... and {verdict.faulty - len(verdict.faults):,} more.")
    method = "sizes compared" if verdict.quick else "read and hashed"
    console.print(f"{verdict.files:,} files, {verdict.bytes / 1e6:,.1f} MB: {method}.")
    for table, rows in verdict.tables.items():
        console.print(f"{table}: {rows:,} rows read and digested.")
    result = Text("Complete and intact.", "green") if verdict.ok else Text(f"{verdict.faulty:,} faults.", "red")
    console.print(f"{verdict.name} {verdict.identity[:16]}:", result)


@click.command()
@click.option(
    "--prune",
    "unused_days",
    type=click.FloatRange(0),
    metavar="DAYS",
    help="Remove contents that were not read for this many days.",
)
def cache(unused_days: float | None) -> None:
    """Print the size of the checkout cache, and prune it.

    The cache (DARKROOM_HOME/cache/contents) holds the contents of checked-out files. Contents that a checkout shares by
    hard links stay, since removing them frees nothing. Removed contents can be fetched again.
    """
    from pipeline_assets.versioning.checkout.commands import cache_of

    usage = cache_of(settings_of_home()).prune(float("inf") if unused_days is None else unused_days)
    if usage.removed:
        console.print(f"Removed {usage.removed:,} contents, {usage.removed_bytes / 1e6:,.1f} MB.")
    console.print(f"The cache holds {usage.left:,} contents, {usage.left_bytes / 1e6:,.1f} MB.")


COMMANDS = (checkout, verify, cache)
