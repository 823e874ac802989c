"""`darkroom reconcile`: compares the uploads bucket with the ledger."""

import click

from pipeline_assets.commands.session import console, services


@click.command()
@click.option("--dry-run", is_flag=True, help="Count the differences, and change nothing.")
def reconcile(dry_run: bool) -> None:
    """Compare the uploads bucket with the ledger.

    Compares all object versions, as the nightly schedule does. Versions that the ledger has missed are added, and the
    next run computes their days. Overwrites and deletions are recorded; they remove no rows. If the command is stopped,
    the next one continues where it stopped.
    """
    from pipeline_assets.nightly.bucket import reconcile_bucket

    with services() as settings:
        reconcile_bucket(settings, dry_run, console)
