"""`darkroom person`: where data of a person lie, and a copy of them."""

import json
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.table import Table

from pipeline_assets.commands.session import console, services
from pipeline_assets.runtime.terminal import Terminal, VisibleCommands

USER = click.IntRange(0, 2**63 - 1)


@click.group(cls=VisibleCommands)
def person() -> None:
    """See where data of a person lie, and write a copy of them for this person.

    \b
    darkroom person find 1002                  every place with counts
    darkroom person export 1002 ../copy        files, JSON and an index.html

    USER is the id of the table users, which upload keys have, too: uploads/DAY/USER/NAME. docs/privacy.md lists the places.
    """


@person.command("find")
@click.argument("user", type=USER)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the parts of each place.")
def find_(user: int, as_json: bool) -> None:
    """Print what each place holds of a person. Exit status 1 if nothing is held anywhere.

    \b
    count      rows, lines, files or values of the person
    mentions   rows of other people that name the person, such as a duplicate of their photo

    All data files of all versions of tables are read, and the first bytes of every object. Logs and tables of other machines
    are in the shared stores; their caches, stagings and checkouts are found by the same command there.
    """
    from pipeline_assets.catalog import DECLARED
    from pipeline_assets.privacy.finding import find
    from pipeline_assets.privacy.holding import Stores

    say = Terminal(stderr=True)
    with services() as settings:
        found = find(Stores.open(settings, DECLARED), user, say.print)
    if as_json:
        click.echo(json.dumps({"user_id": user, "places": [vars(held) for held in found]}, indent=1))
        return
    table = Table("place", "count", "mentions", "in", box=None)
    for held in found:
        names = ", ".join(list(held.parts)[:3]) + (" ..." if len(held.parts) > 3 else "")
        table.add_row(held.place, f"{held.count:,}", f"{held.mentions:,}" if held.mentions else "", names)
    console.print(table)


@person.command("export")
@click.argument("user", type=USER)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def export_(user: int, folder: Path) -> None:
    """Write what is held of a person to FOLDER, which a browser opens: index.html, files as uploaded, tables as JSON.

    FOLDER must be new or empty. If the command is stopped, the same command continues. Ids, keys and pseudonyms of other
    people are left out. The copy is for this person alone: FOLDER is closed to other users of this machine.
    """
    from pipeline_assets.catalog import DECLARED
    from pipeline_assets.privacy.finding import export
    from pipeline_assets.privacy.holding import Stores

    with services() as settings:
        found = export(Stores.open(settings, DECLARED), user, folder, datetime.now(UTC), console.print)
    console.print(f"{sum(held.count for held in found):,} rows and files: open {folder / 'index.html'}.")
