"""Repositories of git-lfs and DVC: exports a pinned set into one, or imports one as a named version."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pipeline_assets.runtime.terminal import Terminal
from pipeline_assets.runtime.visible import one_line
from pipeline_assets.versioning.pin import commands
from pipeline_assets.versioning.pin.pins import NO_FILES, PinnedFolder, reference
from pipeline_assets.versioning.pin.reference import Reference
from pipeline_assets.versioning.pin.repository import Repository
from resources.objects.store import ObjectStore, access, objects_url, open_store
from resources.settings import Settings

NEXT = {
    "git-lfs": "git lfs install && git add . && git commit && git push, or git lfs checkout to see the bytes here",
    "dvc": "git add . && git commit; then dvc pull in any clone (for S3 with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)",
}


@dataclass(frozen=True)
class RepositoryOptions:
    """Which part of a repository to read. folder: only files below it; revision: of git-lfs; remote: of DVC, empty for its
    default.

    endpoint: the trusted S3 endpoint of that remote, `aws` for AWS; None to trust only our own.
    """

    folder: str = ""
    revision: str = "HEAD"
    remote: str = ""
    endpoint: str | None = None


def export(settings: Settings, name: str, target: Path, kind: str, options: RepositoryOptions, console: Terminal) -> None:
    """Write NAME, or REVISION:NAME, into a git work tree. options: only remote and endpoint are used.

    Raises ExportRefused, ReferenceUnreadable, ManifestBroken.
    """
    from pipeline_assets.versioning.formats.dvc import dvc
    from pipeline_assets.versioning.formats.git_lfs import git_lfs

    pinned = commands.opened(settings, Repository.around(Path.cwd()).read(name))
    if kind == "dvc":
        files = dvc.export(pinned, target, options.remote, access(settings), options.endpoint)
    else:
        files = git_lfs.export(pinned, target)
    console.print(f"Wrote {files:,} files of {pinned.reference.name} for {kind}: {target}. Next, there: {NEXT[kind]}.")


def import_version(
    settings: Settings,
    source: Path,
    kind: str,
    options: RepositoryOptions,
    name: str,
    message: str,
    *,
    is_dirty_allowed: bool,
    console: Terminal,
) -> Reference:
    """Store the data of a repository and pin them. Raises ImportRefused, PinRefused and NotARepository."""
    repository = Repository.around(Path.cwd())
    label = commands.labelled(
        repository, name, message or f"Imported from {source.resolve().name} ({kind})", is_dirty_allowed=is_dirty_allowed
    )
    url = objects_url(settings)
    previous = repository.find(name)
    is_here = previous is not None and previous.stores.get("objects") == url
    previous_files = commands.opened(settings, previous).files if previous and is_here else NO_FILES
    objects = open_store(settings, url)
    imported = _read(settings, source.expanduser().resolve(), kind, options, objects, previous_files)
    console.print(f"Read {imported.read:,} contents; {imported.new:,} new, {imported.new_bytes / 1e6:,.1f} MB sent.")
    for path in imported.left_out:
        console.print(f"Left out: {one_line(path)}.")
    pinned = reference(label, imported.files, objects, {"objects": url})
    repository.write(pinned)
    return pinned


def _read(
    settings: Settings,
    source: Path,
    kind: str,
    options: RepositoryOptions,
    objects: ObjectStore,
    previous_files: pl.DataFrame,
) -> PinnedFolder:
    from pipeline_assets.versioning.formats.dvc import dvc
    from pipeline_assets.versioning.formats.git_lfs import git_lfs

    if kind == "git-lfs":
        return git_lfs.import_(source, objects, previous_files, revision=options.revision, folder=options.folder)
    memory = settings.home / "cache" / "dvc" / f"{hashlib.sha256(str(source).encode()).hexdigest()[:32]}.parquet"
    selection = {"folder": options.folder, "remote": options.remote}
    return dvc.import_(
        source, objects, previous_files, memory, **selection, access=access(settings), endpoint=options.endpoint
    )
