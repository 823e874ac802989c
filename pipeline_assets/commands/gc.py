"""`darkroom gc`: deletes objects that nothing references."""

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from pipeline_assets.commands.session import console, services
from pipeline_assets.runtime.terminal import Terminal

if TYPE_CHECKING:
    from pipeline_assets.versioning.gc.collection import Plan, Tally


@click.command()
@click.option("--dry-run", is_flag=True, help="Print what would be deleted, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option(
    "--keep-last",
    metavar="N",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="Keep the files of the newest N materializations of each asset and day.",
)
@click.option(
    "--grace",
    metavar="HOURS",
    default=24.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Keep everything younger than this.",
)
@click.option(
    "--repository",
    "repositories",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Also keep what the pins of this clone or repository name. Repeatable.",
)
@click.option(
    "--forget",
    metavar="KIND",
    multiple=True,
    help="Also delete the stored results of this classifier or measurement (model_id). Repeatable.",
)
@click.option(
    "--list",
    "listing",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the objects to delete to this file, as JSON lines.",
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
    """Delete data that no version, table or recent run needs.

    \b
    git fetch --all                     # pins of others count only if this clone has them
    darkroom gc --dry-run --list going.jsonl
    darkroom gc

    The command keeps what any datasets/*.json names (on any branch, tag, stash, remote branch or in a work tree), the files
    of the newest materializations, what rows of kept tables name (model weights, nightly pins), all results of classifiers,
    and everything younger than the grace period. It never touches uploads, event logs and tables' logs. On a versioned
    bucket it deletes old versions too: deleted data can't be restored.

    The command reads only the current repository and those given by --repository: if several share one lake, name all of
    them. Runs and pins may work at the same time if they commit within the grace period less 12 hours. With a grace period
    of 12 hours or less, stop them first.
    """
    from pipeline_assets.versioning.gc import collection
    from pipeline_assets.versioning.pin.repository import Repository
    from resources.assembly import resolve
    from resources.objects import removal_marks

    say = Terminal(stderr=True) if as_json else console
    with services() as settings:
        resources = resolve(settings)
        clones = {one.root: one for one in map(Repository.around, (Path.cwd(), *repositories))}
        place = collection.Place(
            lake=resources["lake"],
            files=resources["lake_bucket"].store,
            objects=resources["objects"].store,
            objects_url=resources["objects"].url,
            database=resources["database"],
            repositories=tuple(clones.values()),
            grace=timedelta(hours=grace),
            keep_last=keep_last,
            forgotten=forget,
        )
        with collection.exclusive(place.database), collection.plan_collection(place, tell=say.print) as plan:
            for note in plan.roots.notes:
                say.print(f"Note: {note}")
            if listing:
                write_list(plan, listing)
            if not as_json:
                print_plan(plan)
            if place.grace <= removal_marks.RENEW_AFTER and plan.total.objects and not dry_run:
                say.print(f"With a grace period of {grace:g} hours this is safe only while no run and no pin is active.")
            removed = None
            if not dry_run and (plan.total.objects or forget):
                if not yes:
                    click.confirm("Delete these permanently?", abort=True, err=as_json)
                removed = collection.carry_out(plan, place, say.print)
        if as_json:
            click.echo(json.dumps(summary(plan, removed), indent=2))
        elif removed is not None:
            console.print(f"Deleted {removed.objects:,} objects, {removed.bytes / 1e6:,.1f} MB freed.")
        elif dry_run:
            console.print("Dry run: nothing was changed.")


def print_plan(plan: "Plan") -> None:
    """Print what is kept and what is deleted, by kind."""
    table = Table("", "kind", "objects", "MB", box=None)
    for action, tallies in (("keep", plan.kept), ("delete", plan.doomed)):
        for kind, tally in sorted(tallies.items()):
            table.add_row(action, kind, f"{tally.objects:,}", f"{tally.bytes / 1e6:,.1f}")
    console.print(table)
    if not plan.total.objects:
        console.print("Nothing to delete.")


def write_list(plan: "Plan", path: Path) -> None:
    """Write every object to delete, one per line: kind, store, key, version_id, size_bytes, last_modified."""
    plan.lines.seek(0)
    with path.open("w", encoding="utf-8") as file:
        shutil.copyfileobj(plan.lines, file)


def summary(plan: "Plan", removed: "Tally | None") -> dict[str, object]:
    """The counts. deleted: null if nothing was deleted."""
    return {
        "references": plan.roots.references,
        "older_than": plan.older_than.isoformat(),
        "keep": {kind: vars(tally) for kind, tally in plan.kept.items()},
        "delete": {kind: vars(tally) for kind, tally in plan.doomed.items()},
        "deleted": vars(removed) if removed else None,
        "notes": plan.roots.notes,
    }
