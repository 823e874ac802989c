"""`darkroom online`: the online store's content, rebuilding and sweep."""

import sys

import click

from pipeline_assets.commands.session import console, services
from pipeline_assets.runtime.terminal import VisibleCommands


@click.group(cls=VisibleCommands)
def online() -> None:
    """See and mend the store that answers with features at once.

    The store has one state for each user, from which features of any moment follow. The nightly run publishes a new
    generation of all states in one step; `darkroom stream` adds fresh events; `darkroom serve` reads. Everything in it
    comes from the lake, so that a lost store is built anew.

    \b
    darkroom online status            generation, users, lag, bytes
    darkroom online rebuild           build the newest day's generation from the lake, also if it is there
    darkroom online sweep --dry-run   count the values that no readable generation shows
    """


@online.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with times in UTC and sizes in bytes.")
def status(as_json: bool) -> None:
    """Print what the store has. Exit status 1 if it can't answer for the present.

    \b
    generation     number and time of publication; readers see one generation, never a mixture
    answers for    moments that its states answer exactly; afterwards the endpoint refuses to answer
    lag            time since the stream's last change, or since the end of the day that was built
    writer         who may change the store now: `darkroom stream`, or a build
    served         the newest day of the log of asks: features equal to the offline ones, behind new events, or different
    drift          features of its predictions that differ from the rows that their model was trained on
    """
    from pipeline_assets.nightly.online import print_status, status_json

    with services() as settings:
        if as_json:
            click.echo(status_json(settings))
            return
        answers = print_status(settings, console)
    sys.exit(0 if answers else 1)


@online.command()
def rebuild() -> None:
    """Build the newest day's generation from the lake, also if the ledger says that it is there.

    For a store that was flushed, restored from an old backup, written by another version of Darkroom, or moved by
    DARKROOM_ONLINE_URL. Readers see the former generation until the new one is published.
    """
    from pipeline_assets.definitions import build_defs
    from pipeline_assets.nightly.online import rebuild as build_again

    with services() as settings:
        succeeded = build_again(settings, build_defs, console)
    sys.exit(0 if succeeded else 1)


@online.command()
@click.option("--dry-run", is_flag=True, help="Count the values, and remove none.")
@click.option(
    "--keep", default=1, show_default=True, type=click.IntRange(0), help="Replaced generations that stay readable."
)
def sweep(dry_run: bool, keep: int) -> None:
    """Remove values that no readable generation shows. Each publication does it, too.

    A generation stays readable for ten minutes after its replacement in any case, for readers that have begun.
    """
    from pipeline_assets.nightly.online import sweep as remove

    with services() as settings:
        remove(settings, console, keep, is_rehearsal=dry_run)
