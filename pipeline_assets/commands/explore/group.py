"""The group `darkroom explore`. Its subcommands are in the files beside it."""

import click

from pipeline_assets.commands.explore import duplicates, near, notebook, page
from pipeline_assets.runtime.terminal import VisibleCommands


class PageFirst(VisibleCommands):
    """A group whose first command needs no name: `explore OUT.html` is `explore page OUT.html`."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """The command, its name and its arguments. A file and an option are arguments of the page."""
        is_page = args[0].startswith("-") or args[0].endswith(".html")
        return super().resolve_command(ctx, ["page", *args] if is_page else args)


@click.group(cls=PageFirst, context_settings={"ignore_unknown_options": True})
def explore() -> None:
    """See what is in the data, and take a part of it along.

    \b
    darkroom explore photos.html        a page of all photos in one file, which works offline
    darkroom explore --serve            the same page, served to this machine only
    darkroom explore near photo.jpg     the photos of all days that look most like this one
    darkroom explore duplicates         photos that are the same, or nearly
    darkroom explore notebook           a marimo notebook on the lake
    """


for command in (page.page, near.near, duplicates.duplicates, notebook.notebook):
    explore.add_command(command)
