"""The commands `diff`, `reproduce` and `log`: compare two versions, rebuild one, print its history."""

import json
import sys
from pathlib import Path

import click

from pipeline_assets.commands.session import console, services
from pipeline_assets.runtime.visible import one_line


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--asset", help="Compare this upstream table, which both versions pin, instead of the pinned asset.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole comparison as JSON.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a page with plots to this file.")
@click.option(
    "--rows", default=5, show_default=True, type=click.IntRange(0, 1000), help="Number of examples of each change."
)
def diff(a: str, b: str, asset: str | None, as_json: bool, html: Path | None, rows: int) -> None:
    """Compare two versions: rows, labels, drift, files, code.

    \b
    darkroom diff main:popularity popularity      what the work tree's version changes
    darkroom diff v1:popularity v2:popularity --html diff.html

    A and B are each NAME, the version in the work tree, or COMMIT:NAME with any commit, branch or tag. Rows are matched
    by the schema's key. Drift is given as PSI (by convention small below 0.1, large above 0.25) and as KS, the largest
    distance between the two cumulative distributions.
    """
    from pipeline_assets.runtime.allocators import give_freed_memory_back

    give_freed_memory_back()
    from pipeline_assets.versioning.diff import diff_page, diff_text
    from pipeline_assets.versioning.pin import commands

    with services(stores_only=True) as settings:
        comparison = commands.compared(settings, a, b, asset, rows)
    if html:
        html.write_text(diff_page.page(comparison), encoding="utf-8")
    if as_json:
        click.echo(comparison.model_dump_json(indent=2))
        return
    diff_text.print_comparison(comparison, console)
    if html:
        console.print(f"Page with plots: {html}")


@click.command()
@click.argument("name")
@click.option("--keep", is_flag=True, help="Keep the work tree of the pinned code.")
@click.option(
    "--commit",
    "allowed",
    metavar="HASH",
    default="",
    help="Run this commit although neither HEAD nor the main branch contains it.",
)
def reproduce(name: str, keep: bool, allowed: str) -> None:
    """Recompute a pinned table and compare the rows.

    \b
    darkroom reproduce popularity
    darkroom reproduce v1:popularity

    The pinned code computes the rows from the pinned inputs. It is checked out into a scratch work tree; your work tree
    stays as it is, and no table is written. The code runs with your permissions and with the settings of the lake and
    the database. A commit that neither HEAD nor the main branch (main, master, origin's default branch) contains is
    refused, unless --commit gives its full hash. Exit status 1 if a day differs.

    This works for tables that are computed from tables, not for those that read external data, such as raw_uploads. A
    pinned popularity_model is trained again. The packages are those of the current environment, not of the pinned one.
    """
    from pipeline_assets.versioning.pin import commands

    with services() as settings:
        result = commands.reproduced(settings, name, allowed, keep=keep, console=console)
    for day in result.rebuilt.days:
        if not day.is_same:
            columns = ", ".join(f"{column} ({rows:,})" for column, rows in day.columns.items())
            counts = f"{day.rows:,} rows, pinned {day.pinned_rows:,}; {day.added:,} added, {day.removed:,} removed"
            console.print(f"{day.day}: {counts}{'; columns that differ: ' if columns else ''}{one_line(columns)}")
    if result.worktree:
        console.print(f"Code: {result.worktree} (remove it with `git worktree remove --force {result.worktree}`)")
    days = result.rebuilt.days
    same = sum(day.is_same for day in days)
    if not result.is_intact:
        console.print("The rows in the lake at the pinned version differ from the reference: run `darkroom verify`.")
    console.print(f"{same} of {len(days)} days are the same, digest {result.rebuilt.digest}.")
    console.print("Reproduced." if result.is_same else "NOT reproduced.")
    sys.exit(0 if result.is_same else 1)


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print history and lineage as JSON.")
def log(name: str, as_json: bool) -> None:
    """Print a data set's history and lineage.

    \b
    darkroom log popularity
    darkroom log v1:popularity        the history up to v1

    The history (author, date, change) is that of datasets/NAME.json in git. The lineage of the newest version goes from
    the pinned table back to the raw uploads, with the runs and the code that computed each table.
    """
    from pipeline_assets.versioning.pin import commands, log_text

    with services() as settings:
        history, tables = commands.logged(settings, name)
    if as_json:
        lineage = [table.model_dump(mode="json") for table in tables]
        click.echo(json.dumps({**history.model_dump(mode="json"), "lineage": lineage}, indent=2))
        return
    log_text.print_history(history, console)
    log_text.print_lineage(tables, console)


COMMANDS = (diff, log, reproduce)
