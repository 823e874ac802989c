"""What `darkroom export` does: a pinned data set, in another tool's format, in a folder of its own."""

from pathlib import Path

from rich.console import Console

from pipeline_assets.versioning import commands
from pipeline_assets.versioning.formats import FORMATS
from pipeline_assets.versioning.formats.records import Asked
from pipeline_assets.versioning.formats.shards import Exported, Target
from pipeline_assets.versioning.repository import Repository
from resources.settings import Settings


def export(settings: Settings, name: str, folder: Path, kind: str, asked: Asked, console: Console) -> Exported:
    """Write NAME, or REVISION:NAME, into an empty folder, and say what was written and what was lost.

    Raises ExportRefused, ReferenceUnreadable, ManifestBroken and ObjectError: what is in the folder then is not the whole
    set, and has no `_darkroom.json`.
    """
    pinned = commands.opened(settings, Repository.around(Path.cwd()).read(name))
    done: Exported = FORMATS[kind].load().export(pinned, Target(folder), asked, console.print)
    console.print(f"Wrote {done.rows:,} rows in {done.files:,} files, {done.size_bytes / 1e6:,.1f} MB: {folder} ({kind}).")
    for sentence in done.lost:
        console.print(f"Not in it: {sentence}.")
    return done


def wants_bytes(name: str, kind: str, asked: bool | None) -> bool:
    """Whether files go along: as asked, else as the format has it; a folder's always, since they are all it has."""
    if asked is not None:
        return asked
    return FORMATS[kind].with_bytes or Repository.around(Path.cwd()).read(name).asset is None
