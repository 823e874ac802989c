"""Shared by all commands: opening the services, the terminal, and the parameter types for days."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import date
from typing import Any

import click

from pipeline_assets.errors import DarkroomError
from pipeline_assets.runtime.terminal import Terminal, VisibleCommands
from resources.errors import ResourceError, is_full
from resources.home import make_home
from resources.settings import Settings, export, load_settings

console = Terminal()


class Day(click.ParamType[date]):
    """A UTC day as YYYY-MM-DD."""

    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """The day of a text. Fails with a usage error if the text is not a day."""
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a day: write it as 2026-01-31", param, ctx)


class Days(click.ParamType[tuple[date, date]]):
    """UTC days as FIRST..LAST, both included, or one day."""

    name = "FIRST..LAST"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[date, date]:
        """First and last day. Fails with a usage error if the text is not a day or a range in order."""
        if isinstance(value, tuple):
            return value
        start, _, end = value.partition("..")
        first, last = (Day().convert(text, param, ctx) for text in (start, end or start))
        if first > last:
            self.fail(f"{value!r} ends before it begins", param, ctx)
        return first, last


class Commands(VisibleCommands):
    """Prints Darkroom's own errors, and a missing file, without a traceback and ends with exit status 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. Its imports are included, since modules read the settings when they load."""
        try:
            return super().invoke(ctx)
        except (DarkroomError, ResourceError, FileNotFoundError) as error:
            raise click.ClickException(f"{type(error).__name__}: {error}".replace("\n", "\n  ")) from error
        except KeyboardInterrupt as error:
            raise click.ClickException("Interrupted. Finished work is kept: run the command again to continue.") from error
        except OSError as error:
            if not is_full(error):
                raise
            where = f" of {error.filename}" if error.filename else ""
            raise click.ClickException(
                f"NoSpace: the disk{where} is full ({error.strerror}). Free space, then run again: finished work is kept."
            ) from error


def settings_of_home() -> Settings:
    """The settings, after HOME is created and closed to other users. Raises as `load_settings` and `make_home`."""
    settings = load_settings()
    make_home(settings.home, settings.uploads_url, settings.lake_url)
    return settings


@contextmanager
def services(*, stores_only: bool = False) -> Iterator[Settings]:
    """Open the services for one command.

    stores_only: the command needs only the object stores. If they are up, nothing else is started or checked, which saves
    a second of imports.
    """
    settings = settings_of_home()
    with _stores_that_run(settings) if stores_only else nullcontext(None) as running_ones:
        if running_ones is not None:
            yield running_ones
            return
    from resources.servers.services import running

    with running(settings) as settings:
        yield settings


@contextmanager
def _stores_that_run(settings: Settings) -> Iterator[Settings | None]:
    """The settings with the addresses of the running object stores, or None. This process counts as a user within the block.

    The addresses come from the running servers, not from the environment or a file.
    """
    from resources.servers.embedded import Services

    if not settings.wants_embedded:
        yield settings
        return
    servers = Services(settings.home, settings.embedded_servers)
    try:
        if not servers.attach():
            yield None
            return
        running_settings = settings.having(servers.endpoints().settings())
        export(running_settings)
        yield running_settings
    finally:
        servers.leave()


def check_assets(names: tuple[str, ...]) -> None:
    """Raises UsageError for an unknown asset name."""
    from pipeline_assets.nightly.calendars import ASSETS

    if unknown := [name for name in names if name not in ASSETS]:
        raise click.UsageError(f"unknown asset {', '.join(unknown)}: choose from {', '.join(ASSETS)}")
