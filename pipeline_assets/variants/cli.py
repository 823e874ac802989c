"""`darkroom variants`: look at what recipes make, and make variants again to compare them. Parse, call, print."""

import json
from collections import Counter
from datetime import datetime
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

KINDS = ("photos", "speech", "video", "text", "tables", "receipts")

console = Console(highlight=False, soft_wrap=True)


@click.group()
def variants() -> None:
    """Augmented and synthetic data: see what a recipe makes, check what was made.

    \b
    darkroom variants preview photos               a contact sheet, as PNG, of the newest day's items
    darkroom variants preview speech MY.wav        of a file of yours, by every recipe
    darkroom variants preview receipts --beside SCAN.jpg --beside OTHER.jpg     rendered ones under real ones
    darkroom variants verify --sample 100          make some again, and compare every byte
    darkroom variants recipes photos               what there is to choose from
    """


@variants.command()
@click.argument("kind", type=click.Choice(KINDS))
def recipes(kind: str) -> None:
    """List the ready-made recipes of a KIND, and the operations that recipes are made of."""
    from pipeline_assets.variants.sources import SOURCES

    known = SOURCES[kind].kind
    grid = Table("recipe", "steps with their parameters", title=f"Recipes for {kind}")
    for name, recipe in known.recipes.items():
        steps = known.complete(recipe).steps
        grid.add_row(
            name, "\n".join(f"{s.name} " + " ".join(f"{k}={json.dumps(v)}" for k, v in s.parameters) for s in steps)
        )
    console.print(grid)
    operations = Table("operation", "version", "items", "what it does", title="Operations")
    for name, operation in sorted(known.operations.items()):
        operations.add_row(name, str(operation.version), str(operation.parents), operation.description)
    console.print(operations)


@variants.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--recipe", "names", multiple=True, help="A recipe's name; may be given again. Default: all.")
@click.option("--items", default=4, show_default=True, type=click.IntRange(1, 50), help="How many items are shown.")
@click.option("--seed", default=0, show_default=True, help="Of all randomness.")
@click.option(
    "--beside",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A real picture to see above the others; may be given again.",
)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Default: variants-KIND.png")
def preview(
    kind: str,
    files: tuple[Path, ...],
    names: tuple[str, ...],
    items: int,
    seed: int,
    beside: tuple[Path, ...],
    output: Path | None,
) -> None:
    """Draw a contact sheet: items of a KIND, each beside what the recipes make of it. Nothing is kept.

    The items are FILES of yours, or those of the newest day that has any.
    """
    from pipeline_assets.cli import services
    from pipeline_assets.errors import BadImage
    from pipeline_assets.variants import contact_sheet
    from pipeline_assets.variants import preview as previews

    target = output or Path(f"variants-{kind}.png")
    if files:
        contents = [path.read_bytes() for path in files[:items]]
        sheet, told = previews.of_contents(kind, contents, names, seed)
    else:
        with services() as settings:
            sheet, told = previews.of_newest_day(settings, kind, items, names, seed)
    for line in told:
        console.print(f"[yellow]{line}[/yellow]")
    if sheet is None:
        raise click.ClickException(f"no item of {kind} could be used: give files, or run `darkroom run` first")
    if beside:
        try:
            sheet = contact_sheet.below(sheet, [(path.name, path.read_bytes()) for path in beside])
        except BadImage as error:
            raise click.ClickException(f"a picture to see beside them is none: {error}") from error
    target.write_bytes(sheet)
    console.print(f"Wrote {target}")


@variants.command()
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Default: all.")
@click.option("--sample", metavar="N", type=click.IntRange(1), help="So many of each kind, drawn at random; default: all.")
@click.option("--first", metavar="DAY", type=click.DateTime(["%Y-%m-%d"]), help="First day; default: the first there is.")
@click.option("--last", metavar="DAY", type=click.DateTime(["%Y-%m-%d"]), help="Last day; default: the last there is.")
@click.option("--seed", default=0, show_default=True, help="Of the sample.")
@click.option("--json", "as_json", is_flag=True, help="Print findings as JSON lines.")
def verify(
    kinds: tuple[str, ...], sample: int | None, first: datetime | None, last: datetime | None, seed: int, as_json: bool
) -> None:
    """Make variants again from their parents, recipe and seed, and compare every byte with what is kept.

    Exit status 1 if any is another, lost, or can't be made again.
    """
    from pipeline_assets.cli import services
    from pipeline_assets.progress import track
    from pipeline_assets.variants.verification import SAME, findings

    bad = 0
    grid = Table("kind", "checked", "same", "other", title="Variants made again")
    with services() as settings:
        for kind in kinds or KINDS:
            total, found = findings(settings, kind, first and first.date(), last and last.date(), sample, seed)
            tally: Counter[str] = Counter()
            for finding in track(found, total, kind, "variants", lambda _: None):
                tally[finding.verdict] += 1
                if as_json:
                    click.echo(json.dumps({"kind": kind, **vars(finding)}, default=str))
                elif finding.verdict != SAME:
                    told = f"{kind} {finding.variant_id[:12]} ({finding.day}, {finding.source}, {finding.recipe})"
                    console.print(f"[red]{told}: {finding.verdict}[/red] {finding.detail}")
            checked = tally.total()
            bad += checked - tally[SAME]
            grid.add_row(kind, f"{checked:,}", f"{tally[SAME]:,}", f"{checked - tally[SAME]:,}")
    if not as_json:
        console.print(grid)
    if bad:
        raise click.exceptions.Exit(1)
