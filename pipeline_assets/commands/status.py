"""`darkroom status`: what each asset contains, and which days are stale."""

from datetime import UTC, date, datetime

import click

from pipeline_assets.commands.session import Days, check_assets, console, services


@click.command()
@click.option("--asset", "assets", multiple=True, metavar="ASSET", help="Only this asset. Repeatable.")
@click.option("--days", type=Days(), help="Only these days: 2026-01-01..2026-01-31 or one day. Default: all.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: every stale day, with reason and detail.")
def status(assets: tuple[str, ...], days: tuple[date, date] | None, as_json: bool) -> None:
    """Print each asset's content and stale days.

    The reasons:

    \b
    new       never computed             data      an input has changed
    code      its code has changed       model     the classifier has changed
    config    a setting has changed      lost      in the ledger, but not in the table
    waiting   an input does not exist, and no run can compute it
    upstream  it reads a stale day, which is computed first
    """
    from pipeline_assets.nightly.status import print_status, status_json
    from pipeline_assets.nightly.survey import Range

    check_assets(assets)
    span = Range(*days) if days else None
    with services() as settings:
        if as_json:
            click.echo(status_json(settings, datetime.now(UTC).date(), assets, span))
        else:
            print_status(settings, datetime.now(UTC).date(), console, assets, span)
