"""`darkroom label campaigns`."""

import click

from pipeline_assets.commands.session import console, settings_of_home


@click.command()
def campaigns() -> None:
    """List the campaigns, after checking every file."""
    from pipeline_assets.labeling.campaigns import campaign

    settings = settings_of_home()
    found = campaign.read(settings.campaigns)
    if not found:
        console.print(f"{settings.campaigns} has no campaign: write NAME.yaml, as docs/labeling.md shows.")
    for one in found:
        classes = ", ".join(one.classes[:8]) + (" ..." if len(one.classes) > 8 else "")
        console.print(f"{one.name}, version {one.version}: {one.question} ({one.kind}{': ' if classes else ''}{classes})")
