"""The function behind `darkroom export`: writes a pinned data set in another tool's format."""

from pathlib import Path

from pipeline_assets.runtime.terminal import Terminal
from pipeline_assets.runtime.visible import one_line
from pipeline_assets.versioning.formats import FORMATS
from pipeline_assets.versioning.formats.records import ExportOptions
from pipeline_assets.versioning.formats.shards import Exported, Target
from pipeline_assets.versioning.pin import commands
from pipeline_assets.versioning.pin.repository import Repository
from resources.settings import Settings


def export(settings: Settings, name: str, folder: Path, kind: str, options: ExportOptions, console: Terminal) -> Exported:
    """Write NAME, or REVISION:NAME, into an empty folder, and print what was written and what was lost.

    Raises ExportRefused, ReferenceUnreadable, ManifestBroken and ObjectError: the folder is incomplete then, and has no
    `_darkroom.json`.
    """
    pinned = commands.opened(settings, Repository.around(Path.cwd()).read(name))
    exported: Exported = FORMATS[kind].load().export(pinned, Target(folder), options, console.print)
    console.print(
        f"Wrote {exported.rows:,} rows in {exported.files:,} files, {exported.size_bytes / 1e6:,.1f} MB: {folder} ({kind})."
    )
    for sentence in exported.lost:
        console.print(f"Not in it: {one_line(sentence)}.")
    return exported


def wants_bytes(name: str, kind: str, choice: bool | None) -> bool:
    """Whether to include files: the user's choice, else the format's default; for a folder, which has only files, always."""
    if choice is not None:
        return choice
    return FORMATS[kind].with_bytes or Repository.around(Path.cwd()).read(name).asset is None
