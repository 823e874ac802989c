"""The group `darkroom explore`. Its subcommands are in the files beside it."""

import click

from pipeline_assets.commands.explore import duplicates, near
from pipeline_assets.runtime.terminal import VisibleCommands


@click.group(cls=VisibleCommands)
def explore() -> None:
    """See what is in the data, and take a part of it along.

    \b
    darkroom explore near photo.jpg     the photos of all days that look most like this one
    darkroom explore duplicates         photos that are the same, or nearly
    """


for command in (near.near, duplicates.duplicates):
    explore.add_command(command)
