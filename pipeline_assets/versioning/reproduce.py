"""Building a pinned table again at its pinned commit: a scratch work tree, a process with that code, a comparison."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline_assets.errors import NotReproducible
from pipeline_assets.versioning.rebuilt import Rebuilt
from pipeline_assets.versioning.reference import Reference
from pipeline_assets.versioning.repository import Repository

ENTRY = "pipeline_assets/versioning/rebuild.py"


@dataclass(frozen=True)
class Reproduced:
    """What came of it. worktree: where the pinned code lies still, None if it was removed."""

    reference: Reference
    rebuilt: Rebuilt
    worktree: Path | None

    @property
    def is_same(self) -> bool:
        """Whether the rows built again, those in the lake and those that the reference names are all the same."""
        return self.rebuilt.digest == self.rebuilt.pinned_digest == self._named

    @property
    def is_intact(self) -> bool:
        """Whether the lake still has the rows that the reference names."""
        return self.rebuilt.pinned_digest == self._named

    @property
    def _named(self) -> str | None:
        return self.reference.table.digest if self.reference.table else None


def reproduce(repository: Repository, reference: Reference, home: Path, *, keep: bool = False) -> Reproduced:
    """Build a pinned table again at its commit with this process's interpreter and settings, and compare its rows.

    home: where the settings of running servers are. The work tree lies in a temporary folder and is removed, unless it is
    to be kept. Raises NotReproducible: no commit, one that is not here, code that can't do it, or that failed.
    """
    commit = checked_commit(repository, reference)
    with scratch(keep=keep) as folder, worktree(repository, commit, folder / "code", keep=keep) as code:
        named, result = folder / "reference.json", folder / "result.json"
        named.write_text(reference.dumps(), encoding="utf-8")
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-P", "-m", ENTRY.removesuffix(".py").replace("/", "."), str(named), str(result)],
            env={**os.environ, "PYTHONPATH": str(code), "PYTHONDONTWRITEBYTECODE": "1", "DARKROOM_HOME": str(home)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or not result.exists():
            said = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
            raise NotReproducible(f"The code at {commit[:12]} failed to build {reference.asset} again: {said[-1][:500]}")
        rebuilt = Rebuilt.model_validate_json(result.read_text(encoding="utf-8"))
        if rebuilt.refused:
            raise NotReproducible(rebuilt.refused)
        if Path(rebuilt.code) != code.resolve():
            raise NotReproducible(
                f"Python imported {rebuilt.code} instead of the code at {commit[:12]}: unset what puts it first."
            )
        return Reproduced(reference, rebuilt, code if keep else None)


def checked_commit(repository: Repository, reference: Reference) -> str:
    """The commit that made a reference. Raises NotReproducible for a folder, and if it is not here or not all the code."""
    commit = reference.code.commit
    if reference.asset is None:
        raise NotReproducible(
            f"{reference.name} is a folder's files, which nothing computed: `darkroom verify` says whether they are intact."
        )
    if commit is None:
        raise NotReproducible(f"{reference.name} was pinned where no commit was, so its code is not named anywhere.")
    if not reference.code.clean:
        raise NotReproducible(
            f"{reference.name} was pinned with uncommitted changes on top of {commit[:12]} (--allow-dirty): the code that "
            "made it is not in any commit. Commit, run and pin anew."
        )
    if not _has(repository, f"{commit}^{{commit}}"):
        raise NotReproducible(
            f"The commit {commit[:12]} is not in this repository: fetch it (`git fetch origin {commit}`, or `git fetch "
            "--unshallow` in a shallow clone)."
        )
    if not _has(repository, f"{commit}:{ENTRY}"):
        raise NotReproducible(
            f"The code at {commit[:12]} has no {ENTRY}: either it is older than `darkroom reproduce`, or the repository is "
            "not that of the pipeline's code. Pin inside a clone of it, so that a reference names the code."
        )
    return commit


def _has(repository: Repository, name: str) -> bool:
    try:
        repository.git("cat-file", "-e", name)
    except subprocess.CalledProcessError:
        return False
    return True


@contextmanager
def scratch(*, keep: bool) -> Iterator[Path]:
    """A temporary folder."""
    folder = Path(tempfile.mkdtemp(prefix="darkroom-reproduce-"))
    try:
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def worktree(repository: Repository, commit: str, folder: Path, *, keep: bool) -> Iterator[Path]:
    """A work tree of a commit, without its hooks being run. It is removed also after an error."""
    try:
        repository.git("-c", "core.hooksPath=/dev/null", "worktree", "add", "--quiet", "--detach", str(folder), commit)
    except subprocess.CalledProcessError as error:
        raise NotReproducible(f"git made no work tree of {commit[:12]}: {error.stderr.strip()[:300]}") from None
    try:
        yield folder
    finally:
        if not keep:
            repository.git("worktree", "remove", "--force", str(folder))
