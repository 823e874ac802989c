"""The command that frees space: parse, call, print."""

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from pipeline_assets.versioning.collection import Plan, Tally

console = Console(highlight=False, soft_wrap=True)


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would go, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--keep-last",
    metavar="N",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="Keep what the newest N materializations of each asset and day committed.",
)
@click.option(
    "--grace",
    metavar="HOURS",
    default=24.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Keep what is younger than this.",
)
@click.option(
    "--repository",
    "repositories",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="One more clone or repository whose pins count. May be given again.",
)
@click.option(
    "--forget",
    metavar="KIND",
    multiple=True,
    help="Also drop the kept results of this classifier or measurement (model_id).",
)
@click.option(
    "--list", "listing", type=click.Path(path_type=Path, dir_okay=False), help="Write all that goes here, as JSON lines."
)
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
def gc(
    dry_run: bool,
    yes: bool,
    keep_last: int,
    grace: float,
    repositories: tuple[Path, ...],
    forget: tuple[str, ...],
    listing: Path | None,
    as_json: bool,
) -> None:
    """Free space: delete what no pin, no newest materialization and no recent work needs.

    \b
    git fetch --all                     # pins of others count only if they are here
    darkroom gc --dry-run --list going.jsonl
    darkroom gc

    Kept is what any datasets/*.json on any branch, tag, stash, remote branch or in a work tree names, what the newest
    materializations committed, what rows of kept tables name (model weights, nightly pins), all kept results of
    classifiers, and what is younger than the grace period. Uploads, event logs and tables' logs are never touched. On a
    versioned bucket, old versions go too: what is deleted is gone.

    A repository that is not named here is not known: where several share one lake, give each with --repository. Runs and
    pins may go on meanwhile if they commit within 12 hours less than the grace period; with a shorter one, stop them first.
    """
    from pipeline_assets.cli import services
    from pipeline_assets.versioning import collection
    from pipeline_assets.versioning.repository import Repository
    from resources import condemned
    from resources.assembly import resolve

    say = Console(highlight=False, soft_wrap=True, stderr=True) if as_json else console
    with services() as settings:
        found = resolve(settings)
        known = {one.root: one for one in map(Repository.around, (Path.cwd(), *repositories))}
        place = collection.Place(
            lake=found["lake"],
            files=found["lake_bucket"].store,
            objects=found["objects"].store,
            objects_url=found["objects"].url,
            postgres=found["postgres"],
            repositories=tuple(known.values()),
            grace=timedelta(hours=grace),
            keep_last=keep_last,
            forgotten=forget,
        )
        with collection.alone(place.postgres), collection.planned(place, tell=say.print) as plan:
            for note in plan.roots.notes:
                say.print(f"Note: {note}")
            if listing:
                write_list(plan, listing)
            if not as_json:
                print_plan(plan)
            if place.grace <= condemned.RENEW_AFTER and plan.total.objects and not dry_run:
                say.print(f"With a grace of {grace:g} hours this is safe only while no run and no pin is at work.")
            removed = None
            if not dry_run and (plan.total.objects or forget):
                if not yes:
                    click.confirm("Delete these for good?", abort=True, err=as_json)
                removed = collection.carry_out(plan, place, say.print)
        if as_json:
            click.echo(json.dumps(summary(plan, removed), indent=2))
        elif removed is not None:
            console.print(f"Deleted {removed.objects:,} objects, {removed.bytes / 1e6:,.1f} MB freed.")
        elif dry_run:
            console.print("A dry run: nothing was changed.")


def print_plan(plan: "Plan") -> None:
    """What stays and what goes, by kind."""
    table = Table("", "kind", "objects", "MB", box=None)
    for told, tallies in (("keep", plan.kept), ("delete", plan.doomed)):
        for kind, tally in sorted(tallies.items()):
            table.add_row(told, kind, f"{tally.objects:,}", f"{tally.bytes / 1e6:,.1f}")
    console.print(table)
    if not plan.total.objects:
        console.print("Nothing to delete.")


def write_list(plan: "Plan", path: Path) -> None:
    """Every object that goes, one a line: kind, store, key, version_id, size_bytes, last_modified."""
    plan.lines.seek(0)
    with path.open("w", encoding="utf-8") as file:
        shutil.copyfileobj(plan.lines, file)


def summary(plan: "Plan", removed: "Tally | None") -> dict[str, object]:
    """The counts. removed: null where nothing was to be deleted or was not."""
    return {
        "references": plan.roots.references,
        "older_than": plan.older_than.isoformat(),
        "keep": {kind: vars(tally) for kind, tally in plan.kept.items()},
        "delete": {kind: vars(tally) for kind, tally in plan.doomed.items()},
        "deleted": vars(removed) if removed else None,
        "notes": plan.roots.notes,
    }
