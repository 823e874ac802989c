"""A DVC repository as a data set: its `.dvc` files, and their contents from its cache or remote."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from pipeline_assets.errors import ImportRefused
from pipeline_assets.versioning.formats import dvc_files
from pipeline_assets.versioning.formats.dvc_contents import DvcContents, Wanted
from pipeline_assets.versioning.formats.dvc_remote import remote_of
from pipeline_assets.versioning.formats.intake import Intake, below, refuse_missing
from pipeline_assets.versioning.pins import PinnedFolder
from resources.object_store import ObjectStore

KNOWN = pl.Schema({"md5": pl.String, "sha256": pl.String, "size_bytes": pl.Int64})


def import_(
    source: Path,
    objects: ObjectStore,
    before: pl.DataFrame,
    memory: Path,
    *,
    targets: Sequence[str] = (),
    folder: str = "",
    remote: str = "",
    access: Mapping[str, Any] | None = None,
) -> PinnedFolder:
    """Bring what a DVC repository's `.dvc` files name into the store. `dvc.lock` is not read.

    source: the folder of `.dvc/`, at the revision that is wanted. targets: `.dvc` files; all of them if empty. folder: only
    what lies below it, without it in the paths. remote: instead of the repository's own; access: as for `dvc.export`.
    Contents come from the local cache, else from the remote. Each is read once, to learn its sha256, and its md5 is held
    against its name; `memory` remembers both, so that contents that `before` has are not read at all the next time.
    Raises ImportRefused for broken files, unsafe paths, and contents that are missing or damaged.
    """
    source = source.absolute()
    if not (source / ".dvc").is_dir():
        raise ImportRefused(f"{source} has no .dvc folder: name the top of a DVC repository.")
    access = access or {}
    config = dvc_files.Config(source / ".dvc")
    found_remote = remote_of(config, remote, access.get("endpoint") or "")
    contents = DvcContents(config.cache, found_remote, access)
    wanted = _files(_outputs(source, targets), contents)
    names = below(wanted, folder, str(source))
    known = _Memory(memory)
    intake = Intake(objects, before)
    missing = {wanted[path].md5: wanted[path] for path in names}
    missing = {md5: file for md5, file in missing.items() if not intake.has(known.sha256.get(md5, ("", 0))[0])}
    for md5, digests, content in contents.read(missing):
        known.sha256[md5] = (digests.sha256, digests.size_bytes)
        intake.take(digests, content)
        del missing[md5]
    lost = [f"{path}{contents.told(wanted[path].md5)}" for path in names if wanted[path].md5 in missing]
    refuse_missing(lost, len(names), f"Run `dvc fetch` in {source} first, or name the remote.")
    made = intake.close((name, *known.sha256[wanted[path].md5]) for path, name in names.items())
    known.write({wanted[path].md5 for path in names})
    return made


def _outputs(source: Path, targets: Sequence[str]) -> list[dvc_files.Output]:
    found = []
    for path in targets or sorted(_dvc_files(source)):
        try:
            data = (source / path).read_bytes()
        except OSError as error:
            raise ImportRefused(f"{source / path} can't be read ({error.strerror}): name a .dvc file of {source}.") from None
        found += dvc_files.outputs(data, Path(path).as_posix())
    if not found:
        raise ImportRefused(f"{source} has no .dvc files, so DVC tracks nothing there (dvc.lock is not read).")
    return found


def _dvc_files(source: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(source):
        folders[:] = [name for name in folders if name not in (".git", ".dvc")]
        inside = Path(folder).relative_to(source)
        yield from (str(inside / name) for name in files if name.endswith(".dvc"))


def _files(outputs: Sequence[dvc_files.Output], contents: DvcContents) -> dict[str, Wanted]:
    found: dict[str, Wanted] = {}
    for output in outputs:
        if not output.is_directory:
            inside = {output.path: Wanted(output.md5, output.is_legacy, output.size_bytes)}
        else:
            listed = dvc_files.entries(contents.listing(output), output)
            inside = {f"{output.path}/{path}": Wanted(md5, output.is_legacy, None) for path, md5 in listed}
        if twice := found.keys() & inside.keys():
            raise ImportRefused(
                f"{min(twice)} is tracked by {output.source} and by another .dvc file: name the files to import."
            )
        found |= inside
    return found


@dataclass
class _Memory:
    """What is known of contents by their md5: sha256 and size. It only saves reading."""

    path: Path
    sha256: dict[str, tuple[str, int]] = field(init=False)

    def __post_init__(self) -> None:
        try:
            known = pl.read_parquet(self.path, schema=KNOWN)
        except (OSError, PolarsError):
            known = pl.DataFrame(schema=KNOWN)
        self.sha256 = {md5: (sha256, size) for md5, sha256, size in known.iter_rows()}

    def write(self, wanted: set[str]) -> None:
        """Remember these."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix(f".{os.getpid()}.part")
        rows = [(md5, *self.sha256[md5]) for md5 in sorted(wanted)]
        pl.DataFrame(rows, schema=KNOWN, orient="row").write_parquet(beside, compression="lz4")
        beside.replace(self.path)
