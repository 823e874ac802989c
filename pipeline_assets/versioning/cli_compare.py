"""The commands that look at versions: compare two, tell one's history, build one again. They parse, call, print."""

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
    from pipeline_assets.cli import services
    from pipeline_assets.versioning import commands, diff_page, diff_text

    with services() as settings:
        found = commands.compared(settings, a, b, asset, rows)
    if html:
        html.write_text(diff_page.page(found), encoding="utf-8")
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    diff_text.print_comparison(found, console)
    if html:
        console.print(f"The page with plots: {html}")


COMMANDS = (diff,)
