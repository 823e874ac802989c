"""`darkroom variants`: previews recipes, and verifies variants by making them again."""

import json
from collections import Counter
from datetime import datetime
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from pipeline_assets.commands.session import console, services
from pipeline_assets.runtime.visible import one_line

KINDS = ("photos", "speech", "video", "text", "tables", "receipts")


@click.group()
def variants() -> None:
    """Augmented and synthetic data: preview recipes, verify variants.

    \b
    darkroom variants preview photos               a contact sheet (PNG) of the newest day's items
    darkroom variants preview speech MY.wav        every recipe applied to your own file
    darkroom variants preview receipts --beside SCAN.jpg --beside OTHER.jpg     rendered receipts below real ones
    darkroom variants verify --sample 100          make 100 of each kind again, and compare every byte
    darkroom variants recipes photos               list recipes and operations
    """


@variants.command()
@click.argument("kind", type=click.Choice(KINDS))
def recipes(kind: str) -> None:
    """List the built-in recipes of a KIND, and the operations that recipes consist of."""
    from pipeline_assets.variants.engine.sources import SOURCES

    definition = SOURCES[kind].kind
    grid = Table("recipe", "steps with their parameters", title=f"Recipes for {kind}")
    for name, recipe in definition.recipes.items():
        steps = definition.complete(recipe).steps
        grid.add_row(
            name, "\n".join(f"{s.name} " + " ".join(f"{k}={json.dumps(v)}" for k, v in s.parameters) for s in steps)
        )
    console.print(grid)
    operations = Table("operation", "version", "items", "what it does", title="Operations")
    for name, operation in sorted(definition.operations.items()):
        operations.add_row(name, str(operation.version), str(operation.parents), operation.description)
    console.print(operations)


@variants.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--recipe", "names", multiple=True, help="Name of a recipe. Repeatable. Default: all.")
@click.option("--items", default=4, show_default=True, type=click.IntRange(1, 50), help="Number of items shown.")
@click.option("--seed", default=0, show_default=True, help="Seed of all randomness.")
@click.option(
    "--beside",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Real picture to show above the sheet. Repeatable.",
)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="PNG to write. Default: variants-KIND.png")
def preview(
    kind: str,
    files: tuple[Path, ...],
    names: tuple[str, ...],
    items: int,
    seed: int,
    beside: tuple[Path, ...],
    output: Path | None,
) -> None:
    """Draw a contact sheet: items of a KIND, each next to its variants. The variants are not stored.

    The items are your FILES, or those of the newest day that has any.
    """
    from pipeline_assets.errors import BadImage
    from pipeline_assets.variants import contact_sheet
    from pipeline_assets.variants.engine import preview as previews

    target = output or Path(f"variants-{kind}.png")
    if files:
        contents = [path.read_bytes() for path in files[:items]]
        sheet, notes = previews.of_contents(kind, contents, names, seed)
    else:
        with services() as settings:
            sheet, notes = previews.of_newest_day(settings, kind, items, names, seed)
    for note in notes:
        console.print(one_line(note), style="yellow")
    if sheet is None:
        raise click.ClickException(f"no usable item of {kind}: give files, or run `darkroom run` first")
    if beside:
        try:
            sheet = contact_sheet.with_real_pictures(sheet, [(path.name, path.read_bytes()) for path in beside])
        except BadImage as error:
            raise click.ClickException(f"--beside names a file that is not a picture: {error}") from error
    target.write_bytes(sheet)
    console.print(f"Wrote {target}")


@variants.command()
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Only this kind. Repeatable. Default: all.")
@click.option(
    "--sample", metavar="N", type=click.IntRange(1), help="Random sample of N variants of each kind. Default: all."
)
@click.option("--first", metavar="DAY", type=click.DateTime(["%Y-%m-%d"]), help="First day. Default: the earliest.")
@click.option("--last", metavar="DAY", type=click.DateTime(["%Y-%m-%d"]), help="Last day. Default: the latest.")
@click.option("--seed", default=0, show_default=True, help="Seed of the sample.")
@click.option("--json", "as_json", is_flag=True, help="Print findings as JSON lines.")
def verify(
    kinds: tuple[str, ...], sample: int | None, first: datetime | None, last: datetime | None, seed: int, as_json: bool
) -> None:
    """Make variants again from parent, recipe and seed, and compare every byte with the stored ones.

    Exit status 1 if any differs, is lost, or can't be made again.
    """
    from pipeline_assets.runtime.progress import track
    from pipeline_assets.variants.engine.verification import SAME, findings

    bad = 0
    grid = Table("kind", "checked", "same", "different", title="Variants made again")
    with services() as settings:
        for kind in kinds or KINDS:
            total, results = findings(settings, kind, first and first.date(), last and last.date(), sample, seed)
            tally: Counter[str] = Counter()
            for finding in track(results, total, kind, "variants", lambda _: None):
                tally[finding.verdict] += 1
                if as_json:
                    click.echo(json.dumps({"kind": kind, **vars(finding)}, default=str))
                elif finding.verdict != SAME:
                    variant = f"{kind} {finding.variant_id[:12]} ({finding.day}, {finding.source}, {finding.recipe})"
                    console.print(Text(f"{variant}: {finding.verdict}", "red"), one_line(finding.detail))
            checked = tally.total()
            bad += checked - tally[SAME]
            grid.add_row(kind, f"{checked:,}", f"{tally[SAME]:,}", f"{checked - tally[SAME]:,}")
    if not as_json:
        console.print(grid)
    if bad:
        raise click.exceptions.Exit(1)
