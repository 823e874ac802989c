"""Imports a DVC repository: files named by `.dvc` files and `dvc.lock`, with contents from its cache or remote."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from pipeline_assets.errors import ImportRefused
from pipeline_assets.runtime.transfer import Digests, md5_of
from pipeline_assets.versioning.formats.dvc import dvc_files
from pipeline_assets.versioning.formats.dvc.contents import DvcContent, DvcContents
from pipeline_assets.versioning.formats.dvc.remote import remote_of
from pipeline_assets.versioning.formats.foreign_files import bytes_of
from pipeline_assets.versioning.formats.intake import Intake, local_contents, paths_below, refuse_missing
from pipeline_assets.versioning.pin.pins import PinnedFolder
from resources.objects.store import ObjectStore

LOCK, PIPELINE = "dvc.lock", "dvc.yaml"
KNOWN = pl.Schema({"md5": pl.String, "sha256": pl.String, "size_bytes": pl.Int64})


def import_(
    source: Path,
    objects: ObjectStore,
    previous: pl.DataFrame,
    memory: Path,
    *,
    targets: Sequence[str] = (),
    folder: str = "",
    remote: str = "",
    access: Mapping[str, Any] | None = None,
    endpoint: str | None = None,
) -> PinnedFolder:
    """Store the files that a DVC repository's `.dvc` files and the stages of its `dvc.lock` files name.

    source: the folder of `.dvc/`, at the desired revision. targets: `.dvc` and `dvc.lock` files; all if empty. folder:
    only files below it, with paths relative to it. remote: instead of the repository's own; access: as for
    `dvc.export`; endpoint: as for `remote_of`. Contents come from the local cache, else from the remote; those of a stage
    also from the work tree, where metrics are that DVC leaves to git. Each is read once and verified; `memory` caches both
    digests, so that contents of `previous` are not read again. A stage's output that is unavailable (perhaps never pushed)
    is in the result's `left_out`, with the reason.
    Raises ImportRefused for broken files, unsafe paths, and other contents that are missing or damaged.
    """
    source = source.absolute()
    if not (source / ".dvc").is_dir() or (source / ".dvc").is_symlink():
        raise ImportRefused(f"{source} has no .dvc folder: name the top of a DVC repository.")
    access = access or {}
    config = dvc_files.Config(source / ".dvc")
    dvc_remote = remote_of(config, remote, access.get("endpoint") or "", endpoint)
    contents = DvcContents(config.cache, dvc_remote, access)
    outputs, left_out = _outputs(source, targets)
    files = _files(outputs, contents, left_out)
    if not files and left_out:
        raise ImportRefused(f"Nothing that {source} names is available, first {left_out[0]}.")
    names = paths_below(files, folder, str(source))
    memory_of_digests = _Memory(memory)
    intake = Intake(objects, previous)
    unread = {files[path].md5: files[path] for path in names}
    unread = {md5: file for md5, file in unread.items() if not intake.has(memory_of_digests.sha256.get(md5, ("", 0))[0])}
    for md5, digests, content in chain(contents.read(unread), _in_work_tree(source, files, names, unread)):
        if md5 in unread:
            memory_of_digests.sha256[md5] = (digests.sha256, digests.size_bytes)
            intake.take(digests, content)
            del unread[md5]
    lost_paths = [path for path in names if files[path].md5 in unread]
    described = [f"{path}{contents.fault_of(files[path].md5)}" for path in lost_paths if not files[path].is_locked]
    refuse_missing(described, len(names), f"Run `dvc fetch` in {source} first, or name the remote.")
    left_out += [
        f"{path}: it is neither in the cache nor the remote{contents.fault_of(files[path].md5)}" for path in lost_paths
    ]
    imported = {path: name for path, name in names.items() if path not in lost_paths}
    if not imported:
        raise ImportRefused(f"Nothing that {source} names is available, first {left_out[0]}.")
    folder_files = intake.close((name, *memory_of_digests.sha256[files[path].md5]) for path, name in imported.items())
    memory_of_digests.write({files[path].md5 for path in imported})
    return replace(folder_files, left_out=tuple(left_out))


def _in_work_tree(
    source: Path, files: Mapping[str, DvcContent], names: Iterable[str], unread: Mapping[str, DvcContent]
) -> Iterator[tuple[str, Digests, bytes | Path]]:
    """Contents of stages that are missing elsewhere, but exist where their stage wrote them."""
    paths = [path for path in names if files[path].is_locked and files[path].md5 in unread]
    for path, digests, content in local_contents(
        source, paths, lambda sha256, data: Digests(sha256.hex(), md5_of(data), len(data))
    ):
        if files[path].is_named_by(digests, content):
            yield files[path].md5, digests, content


def _outputs(source: Path, targets: Sequence[str]) -> tuple[list[dvc_files.Output], list[str]]:
    """The outputs that DVC tracks, and those left out with their reasons."""
    outputs: list[dvc_files.Output] = []
    left_out: list[str] = []
    for path in targets or sorted(_dvc_files(source)):
        data = bytes_of(source, path)
        if data is None:
            raise ImportRefused(f"{source / path} can't be read: name a .dvc file, or a dvc.lock, of {source}.")
        if Path(path).name == LOCK:
            pipeline = bytes_of(source, str(Path(path).with_name(PIPELINE)))
            locked, skipped = dvc_files.locked(data, pipeline, Path(path).as_posix())
            outputs, left_out = outputs + locked, left_out + skipped
        else:
            outputs += dvc_files.outputs(data, Path(path).as_posix())
    if not outputs and not left_out:
        raise ImportRefused(f"{source} has no .dvc files, and no outputs in a dvc.lock: DVC tracks nothing there.")
    return outputs, left_out


def _dvc_files(source: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(source):
        folders[:] = [name for name in folders if name not in (".git", ".dvc")]
        inside = Path(folder).relative_to(source)
        yield from (str(inside / name) for name in files if name.endswith(".dvc") or name == LOCK)


def _files(outputs: Sequence[dvc_files.Output], contents: DvcContents, left_out: list[str]) -> dict[str, DvcContent]:
    """The files of outputs. A stage's directory without its listing is added to `left_out`."""
    files: dict[str, DvcContent] = {}
    for output in outputs:
        if not output.is_directory:
            inside = {output.path: DvcContent(output.md5, output.is_legacy, output.size_bytes, output.is_locked)}
        else:
            try:
                entries = dvc_files.entries(contents.listing(output), output)
            except ImportRefused as error:
                if not output.is_locked:
                    raise
                left_out.append(f"{output.path} of {output.source}: {error}")
                continue
            inside = {
                f"{output.path}/{path}": DvcContent(md5, output.is_legacy, None, output.is_locked) for path, md5 in entries
            }
        if twice := files.keys() & inside.keys():
            raise ImportRefused(
                f"{min(twice)} is tracked by {output.source} and by another file of DVC's: name the files to import."
            )
        files |= inside
    return files


@dataclass
class _Memory:
    """A cache of sha256 and size by md5; it only saves reading."""

    path: Path
    sha256: dict[str, tuple[str, int]] = field(init=False)

    def __post_init__(self) -> None:
        try:
            rows = pl.read_parquet(self.path, schema=KNOWN)
        except (OSError, PolarsError):
            rows = pl.DataFrame(schema=KNOWN)
        self.sha256 = {md5: (sha256, size) for md5, sha256, size in rows.iter_rows()}

    def write(self, md5s: set[str]) -> None:
        """Store the entries of these."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial_path = self.path.with_suffix(f".{os.getpid()}.part")
        rows = [(md5, *self.sha256[md5]) for md5 in sorted(md5s)]
        pl.DataFrame(rows, schema=KNOWN, orient="row").write_parquet(partial_path, compression="lz4")
        partial_path.replace(self.path)
