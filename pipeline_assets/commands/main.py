"""The `darkroom` command: a group of commands, each in its own file."""

import click

from pipeline_assets.commands import (
    document,
    export,
    feast,
    import_,
    online,
    person,
    pin,
    reconcile,
    refresh,
    run,
    serve,
    servers,
    show,
    status,
    stream,
    ui,
    variants,
)
from pipeline_assets.commands.explore.group import explore
from pipeline_assets.commands.label.group import label
from pipeline_assets.commands.session import Commands
from resources.servers.limits import set_limits


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="darkroom")
def main() -> None:
    """Darkroom: versioned training data and models from raw photo uploads.

    \b
    darkroom run       import photos, materialize the whole graph, print a summary
    darkroom ui        serve the Dagster UI on http://127.0.0.1:3000, with schedules and sensors on
    darkroom show training_table --day 2026-01-31
    """
    set_limits()


for command in (
    run.run,
    import_.import_,
    show.show,
    status.status,
    refresh.refresh,
    reconcile.reconcile,
    servers.up,
    servers.down,
    servers.env,
    ui.ui,
    document.document,
    *pin.COMMANDS,
    *export.COMMANDS,
    stream.stream,
    variants.variants,
    online.online,
    person.person,
    feast.feast,
    label,
    explore,
    serve.serve,
):
    main.add_command(command)
