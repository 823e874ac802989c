"""`darkroom run`: imports photos and materializes the whole graph."""

import sys
from datetime import UTC, datetime

import click

from pipeline_assets.commands.session import console, services


@click.command()
@click.option("--photos", metavar="FOLDER|s3://...|sample", help="Photos to import. Default: the sample photos, once.")
@click.option(
    "--days",
    default=14,
    show_default=True,
    type=click.IntRange(1, 200),
    help="Number of days over which new photos are spread.",
)
def run(photos: str | None, days: int) -> None:
    """Import photos and materialize the whole graph.

    Uses Dagster runs, and prints a summary. Photos are spread over the last DAYS days whose labels are mature; users and
    logs come from a simulator. If nothing is new, the command says so and ends. It stops the services it started at the
    end; the data stay in .darkroom/.
    """
    from pipeline_assets.definitions import build_defs
    from pipeline_assets.nightly.run import run_everything

    with services() as settings:
        ok = run_everything(settings, build_defs, photos, days, datetime.now(UTC).date(), console)
    sys.exit(0 if ok else 1)
