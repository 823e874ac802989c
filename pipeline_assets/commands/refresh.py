"""`darkroom refresh`: computes the stale days."""

import sys
from datetime import UTC, date, datetime

import click

from pipeline_assets.commands.session import Days, check_assets, console, services


@click.command()
@click.option(
    "--asset", "assets", multiple=True, metavar="ASSET", help="Only this asset, and the stale days it reads. Repeatable."
)
@click.option(
    "--days", type=Days(), help="Only these days, and the stale days they read: 2026-01-01..2026-01-31 or one day."
)
@click.option("--dry-run", is_flag=True, help="Print the cost and the runs, and start none.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def refresh(assets: tuple[str, ...], days: tuple[date, date] | None, dry_run: bool, yes: bool) -> None:
    """Compute the stale days.

    Computes exactly these days, after printing the estimated cost and asking for confirmation. Rows and time are
    estimated from earlier days in the ledger. A day whose inputs turn out unchanged costs a look-up.
    """
    from pipeline_assets.definitions import build_defs
    from pipeline_assets.nightly.refresh import refresh as make_current
    from pipeline_assets.nightly.survey import Range

    check_assets(assets)
    span = Range(*days) if days else None
    with services() as settings:
        today = datetime.now(UTC).date()
        ok = make_current(settings, build_defs, today, console, assets, span, dry_run=dry_run, confirmed=yes)
    sys.exit(0 if ok else 1)
