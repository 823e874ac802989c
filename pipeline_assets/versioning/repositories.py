"""Repositories of other tools, git-lfs's and DVC's: a pinned set is written into one, or one becomes a named version."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from rich.console import Console

from pipeline_assets.versioning import commands
from pipeline_assets.versioning.pins import NO_FILES, PinnedFolder, reference
from pipeline_assets.versioning.reference import Reference
from pipeline_assets.versioning.repository import Repository
from resources.object_store import ObjectStore, access, objects_url, open_store
from resources.settings import Settings

NEXT = {
    "git-lfs": "git lfs install && git add . && git commit && git push, or git lfs checkout to see the bytes here",
    "dvc": "git add . && git commit; then dvc pull in any clone (for S3 with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)",
}


@dataclass(frozen=True)
class Asked:
    """What of a repository is wanted. folder: below it; revision: git-lfs's; remote: DVC's, empty for its own."""

    folder: str = ""
    revision: str = "HEAD"
    remote: str = ""


def export(settings: Settings, name: str, target: Path, kind: str, remote: str, console: Console) -> None:
    """Write NAME, or REVISION:NAME, into a git work tree. Raises ExportRefused, ReferenceUnreadable, ManifestBroken."""
    from pipeline_assets.versioning.formats import dvc, git_lfs

    pinned = commands.opened(settings, Repository.around(Path.cwd()).read(name))
    files = dvc.export(pinned, target, remote, access(settings)) if kind == "dvc" else git_lfs.export(pinned, target)
    console.print(f"Wrote {files:,} files of {pinned.reference.name} for {kind}: {target}. Next, there: {NEXT[kind]}.")


def import_version(
    settings: Settings,
    source: Path,
    kind: str,
    asked: Asked,
    name: str,
    message: str,
    *,
    is_dirty_allowed: bool,
    console: Console,
) -> Reference:
    """Bring the data of a repository into the store and name them. Raises ImportRefused, PinRefused and NotARepository."""
    repository = Repository.around(Path.cwd())
    label = commands.labelled(
        repository, name, message or f"Imported from {source.resolve().name} ({kind})", is_dirty_allowed=is_dirty_allowed
    )
    url = objects_url(settings)
    before = repository.find(name)
    is_here = before is not None and before.stores.get("objects") == url
    known = commands.opened(settings, before).files if before and is_here else NO_FILES
    objects = open_store(settings, url)
    found = _read(settings, source.expanduser().resolve(), kind, asked, objects, known)
    console.print(f"Read {found.read:,} contents; {found.new:,} new, {found.new_bytes / 1e6:,.1f} MB sent.")
    made = reference(label, found.files, objects, {"objects": url})
    repository.write(made)
    return made


def _read(
    settings: Settings, source: Path, kind: str, asked: Asked, objects: ObjectStore, known: pl.DataFrame
) -> PinnedFolder:
    from pipeline_assets.versioning.formats import dvc, git_lfs

    if kind == "git-lfs":
        return git_lfs.import_(source, objects, known, revision=asked.revision, folder=asked.folder)
    memory = settings.home / "cache" / "dvc" / f"{hashlib.sha256(str(source).encode()).hexdigest()[:32]}.parquet"
    return dvc.import_(source, objects, known, memory, folder=asked.folder, remote=asked.remote, access=access(settings))
