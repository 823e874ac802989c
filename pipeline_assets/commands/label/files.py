"""`darkroom label export` and `darkroom label import`: a campaign as files of services and formats."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline_assets.commands.session import console, services
from pipeline_assets.labeling.services.names import ABOUT, NAMELESS

if TYPE_CHECKING:
    from pipeline_assets.labeling.services.form import Reject

_PIXELS = "Whose pixels are counted: those of the upright photo, or those that its file stores (tools that ignore EXIF)."
_LIST = "\n".join(f"{name:<14} {about}" for name, about in ABOUT.items())


@click.command("export", epilog=f"\b\nFormats:\n{_LIST}")
@click.argument("name", metavar="CAMPAIGN")
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--format", "kind", type=click.Choice([*ABOUT]), required=True)
@click.option("--dry-run", is_flag=True, help="Only say what would be written, and what the format does not carry.")
@click.option(
    "--labels",
    type=click.Choice(["predictions", "accepted", "none"]),
    help="Labels to write with the tasks: a model's, or those that were agreed on (only tasks that have some). "
    "Default: accepted for data set formats (coco, cvat, yolo, yolo-obb, voc), else predictions.",
)
@click.option("--url", metavar="PATTERN", help="Where people see a photo: https://example.org/{key}, or with {sha256}.")
@click.option("--files", type=click.Path(path_type=Path, file_okay=False), help="Write the photos, too, into this folder.")
@click.option("--limit", type=click.IntRange(1), help="Only so many tasks: those with the highest priority.")
@click.option("--pixels", type=click.Choice(["upright", "stored"]), default="upright", show_default=True, help=_PIXELS)
def export_tasks(
    name: str,
    target: Path,
    kind: str,
    dry_run: bool,
    labels: str | None,
    url: str | None,
    files: Path | None,
    limit: int | None,
    pixels: str,
) -> None:
    """Write the tasks of CAMPAIGN to TARGET, a new file or folder, for a labeling service or tool.

    \b
    darkroom label export sharpness tasks.json --format label-studio --url https://photos.example.org/{key}
    darkroom label export sharpness ./coco.json --format coco --files ./images

    Nothing in it tells which tasks are gold: they are in the order of their keys, and have no priority and no reason.
    """
    from pipeline_assets.labeling.campaigns.campaign import named, read
    from pipeline_assets.labeling.exchange import files as exchange
    from resources.assembly import resolve

    shown = labels or ("accepted" if kind in NAMELESS else "predictions")
    with services() as settings:
        resources = resolve(settings)
        campaign = named(read(settings.campaigns), name)
        plan = exchange.planned(
            resources["lake"],
            campaign,
            kind,
            shown,  # type: ignore[arg-type]
            url=url,
            limit=limit,
            pixels=pixels,  # type: ignore[arg-type]
        )
        labelled = sum(one.item.labels is not None for one in plan.asked)
        console.print(f"{name}, version {campaign.version}: {len(plan.asked):,} tasks, {labelled:,} with labels ({shown})")
        _print_losses(plan.losses)
        if dry_run:
            console.print("Nothing was written.")
            return
        written = exchange.export(resources["database"], plan, target)
        console.print(f"{written.items:,} tasks are in {target}")
        _print_left_out(written.left_out)
        if files is not None:
            number, left_out = exchange.write_contents(resources["uploads"].store, plan, files, console.print)
            console.print(f"{number:,} files are in {files}")
            _print_left_out(left_out)


@click.command("import")
@click.argument("name", metavar="CAMPAIGN")
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.option("--format", "kind", type=click.Choice([*ABOUT]), required=True)
@click.option("--dry-run", is_flag=True, help="Only say what would be added, and what would be set aside.")
@click.option(
    "--annotator", metavar="ID", help="Whose answers are those that name nobody. Files of coco, cvat, yolo and voc do not."
)
@click.option("--column", help="With CSV: the column of the answers, if it is not `answer`.")
@click.option(
    "--rejects", type=click.Path(path_type=Path, dir_okay=False), help="Write what is set aside to this file, as NDJSON."
)
@click.option("--pixels", type=click.Choice(["auto", "upright", "stored"]), default="auto", show_default=True, help=_PIXELS)
def import_answers(
    name: str,
    source: Path,
    kind: str,
    dry_run: bool,
    annotator: str | None,
    column: str | None,
    rejects: Path | None,
    pixels: str,
) -> None:
    """Add the answers of SOURCE, a file or folder of a labeling service or tool, to CAMPAIGN.

    \b
    darkroom label import sharpness export.json --format label-studio
    darkroom label import sharpness answers.csv --format csv --rejects set-aside.ndjson

    Each answer is added once, however often its file is imported; an edited one becomes a new revision. What can't be used
    is set aside with its reason. After an interruption, run it again.
    """
    from pipeline_assets.labeling.campaigns.campaign import named, read
    from pipeline_assets.labeling.exchange import files as exchange
    from resources.assembly import resolve

    if kind in NAMELESS and not annotator:
        raise click.UsageError(f"a file of {kind} does not say who answered: name them with --annotator")
    with services() as settings:
        resources = resolve(settings)
        campaign = named(read(settings.campaigns), name)
        now = datetime.now(UTC)
        options = exchange.Import(source, now, annotator, column, pixels, dry_run, rejects)  # type: ignore[arg-type]
        found = exchange.land_file(resources["lake"], resources["database"], campaign, kind, options, console.print)
        landed = found.landed
        console.print(f"{landed.new:,} new, {landed.revised:,} revised, {landed.unchanged:,} unchanged")
        for version, number in sorted(found.versions.items()):
            if version != campaign.version:
                console.print(f"{number:,} of them answer version {version} of the question, and count for it alone")
        if found.rejected:
            console.print(f"{found.rejected.total():,} set aside:")
        for reason, number in found.rejected.most_common():
            example = found.examples[reason]
            console.print(f"  {number:>8,}  {reason}: {example.place}: {example.detail:.300}")
        if found.rejected and rejects is None:
            console.print("--rejects FILE writes all of them.")
        if dry_run:
            console.print("Nothing was added.")


def _print_losses(losses: Sequence[str]) -> None:
    if losses:
        console.print("What this format does not carry:")
    for sentence in losses:
        console.print(f"  {sentence}")


def _print_left_out(left_out: "Sequence[Reject]") -> None:
    if left_out:
        first = left_out[0]
        console.print(f"{len(left_out):,} are left out, such as {first.place}: {first.detail:.300}")
