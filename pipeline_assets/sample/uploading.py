"""Imports the files of a source as if users had uploaded them, and prints a report."""

from collections.abc import Sequence
from datetime import date

from pipeline_assets.labeling.campaigns import campaign
from pipeline_assets.runtime.terminal import Terminal
from pipeline_assets.sample import importing
from resources.assembly import resolve
from resources.objects.store import open_store
from resources.settings import Settings


def import_source(
    settings: Settings,
    source: str,
    days: int,
    today: date,
    console: Terminal,
    files: Sequence[importing.File] | None = None,
) -> None:
    """Import the files of a source and print a report. files: its files, if the source is no folder of them."""
    resources = resolve(settings)
    source_text = "the sample photos that come with scikit-image" if source == importing.SAMPLE else source
    console.print(f"Importing {source_text} ...")
    imported = importing.import_files(
        source,
        importing.files_of(source, lambda url: open_store(settings, url)) if files is None else files,
        database=resources["database"],
        uploads=resources["uploads"].store,
        lake_bucket=resources["lake_bucket"].store,
        days=days,
        today=today,
        tell=lambda line: None,
        campaigns=campaign.read(settings.campaigns) if source == importing.SAMPLE else (),
    )
    if not imported.files:
        console.print(f"  nothing new: all {imported.known_files:,} files were imported before.")
        return
    suffix = f", {imported.known_files:,} were imported before" if imported.known_files else ""
    console.print(
        f"  {imported.files:,} files uploaded as if on {imported.first_day} to {imported.last_day}{suffix}.\n"
        f"  Users, posting times and logs are SIMULATED: {imported.users:,} users, {imported.events:,} events "
        f"(and {imported.malformed_lines} lines malformed on purpose)."
    )
