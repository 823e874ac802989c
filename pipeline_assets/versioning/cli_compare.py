"""The commands that look at versions: compare two, tell one's history, build one again. They parse, call, print."""

import json
import sys
from pathlib import Path

import click
from rich.console import Console

console = Console(highlight=False, soft_wrap=True)


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--asset", help="Compare this table, which both pin, instead of the pinned asset's own rows.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole comparison as JSON.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a page with plots to this file.")
@click.option("--rows", default=5, show_default=True, type=click.IntRange(0, 1000), help="Examples shown of each change.")
def diff(a: str, b: str, asset: str | None, as_json: bool, html: Path | None, rows: int) -> None:
    """Say what differs between two versions: rows, labels, columns, drift, files, code and models.

    \b
    darkroom diff main:popularity popularity      what this work tree's version changes
    darkroom diff v1:popularity v2:popularity --html diff.html

    A and B are each NAME, as the work tree has it, or COMMIT:NAME, with any commit, branch or tag. Rows are matched by the
    schema's key. Drift: PSI, by custom little below 0.1 and much above 0.25; KS, the largest distance of distributions.
    """
    from pipeline_assets.allocators import give_freed_memory_back

    give_freed_memory_back()
    from pipeline_assets.cli import services
    from pipeline_assets.versioning import commands, diff_page, diff_text

    with services(stores_only=True) as settings:
        found = commands.compared(settings, a, b, asset, rows)
    if html:
        html.write_text(diff_page.page(found), encoding="utf-8")
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    diff_text.print_comparison(found, console)
    if html:
        console.print(f"The page with plots: {html}")


@click.command()
@click.argument("name")
@click.option("--keep", is_flag=True, help="Leave the work tree of the pinned code where it is.")
def reproduce(name: str, keep: bool) -> None:
    """Build a pinned table again from its pinned inputs, with the code of its commit, and compare the rows.

    \b
    darkroom reproduce popularity
    darkroom reproduce v1:popularity

    The code is checked out into a scratch work tree; yours is not touched, and no table is written. Exit status 1 if a day
    differs. For tables that are computed from tables: not for what comes from outside, such as raw_uploads. A pinned
    popularity_model is trained again. Packages are those of this environment, not those of then.
    """
    from pipeline_assets.cli import services
    from pipeline_assets.versioning import commands

    with services() as settings:
        found = commands.reproduced(settings, name, keep=keep, console=console)
    for day in found.rebuilt.days:
        if not day.is_same:
            columns = ", ".join(f"{column} ({rows:,})" for column, rows in day.columns.items())
            told = f"{day.rows:,} rows, pinned {day.pinned_rows:,}; {day.added:,} more, {day.removed:,} fewer"
            console.print(f"{day.day}: {told}{'; columns that differ: ' if columns else ''}{columns}")
    if found.worktree:
        console.print(f"The code: {found.worktree} (remove it with `git worktree remove --force {found.worktree}`)")
    days = found.rebuilt.days
    same = sum(day.is_same for day in days)
    if not found.is_intact:
        console.print("The lake has other rows at the pinned version than the reference names: `darkroom verify`.")
    console.print(f"{same} of {len(days)} days are the same, digest {found.rebuilt.digest}.")
    console.print("Reproduced." if found.is_same else "NOT reproduced.")
    sys.exit(0 if found.is_same else 1)


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print history and lineage as JSON.")
def log(name: str, as_json: bool) -> None:
    """Tell a data set's history, who, when and what, and where its newest version comes from.

    \b
    darkroom log popularity
    darkroom log v1:popularity        what led to v1

    The history is that of datasets/NAME.json in git. The lineage goes from the pinned table to the raw uploads, with the
    runs and the code that made each table.
    """
    from pipeline_assets.cli import services
    from pipeline_assets.versioning import commands, log_text

    with services() as settings:
        found, tables = commands.logged(settings, name)
    if as_json:
        lineage = [table.model_dump(mode="json") for table in tables]
        click.echo(json.dumps({**found.model_dump(mode="json"), "lineage": lineage}, indent=2))
        return
    log_text.print_history(found, console)
    log_text.print_lineage(tables, console)


COMMANDS = (diff, log, reproduce)
