"""`darkroom ui`: serves the Dagster UI."""

from datetime import UTC, datetime
from pathlib import Path

import click

from pipeline_assets.commands.session import console, services


@click.command()
def ui() -> None:
    """Serve the Dagster UI and run its daemon.

    Schedules, sensors and automation are on, until Ctrl-C. The address is http://127.0.0.1:3000 (port:
    DARKROOM_UI_PORT). The UI listens on this machine only and has no login: anyone who can reach the port can start
    runs. To share it, put a proxy with a login in front: see docs/operations.md.
    """
    from resources.servers.ui import serve_ui

    with services() as settings:
        console.print(f"Dagster UI: http://127.0.0.1:{settings.ui_port}   (Ctrl-C stops it and the services)")
        serve_ui(settings, Path(__file__).parents[2], lambda line: console.print(f"{datetime.now(UTC):%H:%M:%S} UTC {line}"))
