"""The group `darkroom label`. Its subcommands are in the files beside it."""

import click

from pipeline_assets.commands.label import adjudicate, campaigns, files, next, report, studio
from pipeline_assets.runtime.terminal import VisibleCommands


@click.group(cls=VisibleCommands)
def label() -> None:
    """Ask people for labels, and turn their answers into labels with a known quality.

    \b
    A campaign is a file campaigns/NAME.yaml: a question, its classes, and how many people answer each item.
    """


for command in (
    campaigns.campaigns,
    studio.up,
    studio.push,
    studio.pull,
    studio.status,
    report.report,
    next.next_,
    adjudicate.adjudicate,
    files.export_tasks,
    files.import_answers,
):
    label.add_command(command)
