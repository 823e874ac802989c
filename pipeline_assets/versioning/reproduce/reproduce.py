"""Rebuilds a pinned table at its pinned commit: a scratch work tree, a process with that code, a comparison."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline_assets.errors import NotReproducible
from pipeline_assets.versioning.pin.reference import Reference
from pipeline_assets.versioning.pin.repository import Repository
from pipeline_assets.versioning.reproduce.rebuilt import Rebuilt
from resources.settings import with_former_name

ENTRY = "pipeline_assets/versioning/rebuild.py"
HANDED_ON = frozenset(
    {"HOME", "USER", "LOGNAME", "PATH", "TMPDIR", "LANG", "TZ", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONHASHSEED"}
    | {
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "AWS_CA_BUNDLE",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "no_proxy",
    }
)
HANDED_ON_BY_PREFIX = (
    *("DARKROOM_", "PG", "LC_", "XDG_", "OMP_", "MKL_", "KMP_", "OPENBLAS_", "RAYON_", "POLARS_", "MALLOC_"),
    *("TORCH", "CUDA", "CUBLAS_", "NVIDIA_"),
)
NEVER_HANDED_ON = frozenset({"DARKROOM_ALERT_WEBHOOK", "DARKROOM_DAGSTER_POSTGRES_URL"})
"""Settings that building a table does not need."""


@dataclass(frozen=True)
class Reproduced:
    """The result. worktree: the work tree of the pinned code, None if it was removed."""

    reference: Reference
    rebuilt: Rebuilt
    worktree: Path | None

    @property
    def is_same(self) -> bool:
        """Whether the rebuilt rows, those in the lake and those that the reference names are all equal."""
        return self.rebuilt.digest == self.rebuilt.pinned_digest == self._expected

    @property
    def is_intact(self) -> bool:
        """Whether the lake still has the rows that the reference names."""
        return self.rebuilt.pinned_digest == self._expected

    @property
    def _expected(self) -> str | None:
        return self.reference.table.digest if self.reference.table else None


def reproduce(
    repository: Repository,
    reference: Reference,
    home: Path,
    *,
    allowed: str = "",
    keep: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> Reproduced:
    """Rebuild a pinned table at its commit with this process's interpreter and settings, and compare its rows.

    home: the folder with the settings of running servers. allowed: as for `checked_commit`. tell: gets a line about the
    code before it runs. The work tree lies in a temporary folder and is removed unless `keep`. Raises NotReproducible for
    no commit, a commit that is missing or not trusted, and code that can't rebuild or fails.
    """
    commit = checked_commit(repository, reference, allowed)
    tell(_announcement(repository, commit))
    with scratch(keep=keep) as folder, worktree(repository, commit, folder / "code", keep=keep) as code:
        reference_path, result_path = folder / "reference.json", folder / "result.json"
        reference_path.write_text(reference.dumps(), encoding="utf-8")
        overrides = {"PYTHONPATH": str(code), "PYTHONDONTWRITEBYTECODE": "1", "DARKROOM_HOME": str(home)}
        process = subprocess.run(  # noqa: S603
            [sys.executable, "-P", "-m", ENTRY.removesuffix(".py").replace("/", "."), str(reference_path), str(result_path)],
            env={**handed_on(os.environ), **overrides},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode or not result_path.exists():
            lines = process.stderr.strip().splitlines() or [f"it ended with {process.returncode}"]
            raise NotReproducible(f"The code at {commit[:12]} failed to build {reference.asset} again: {lines[-1][:500]}")
        rebuilt = Rebuilt.model_validate_json(result_path.read_text(encoding="utf-8"))
        if rebuilt.refused:
            raise NotReproducible(rebuilt.refused)
        if Path(rebuilt.code) != code.resolve():
            raise NotReproducible(
                f"Python imported {rebuilt.code} instead of the code at {commit[:12]}: unset what puts it first."
            )
        return Reproduced(reference, rebuilt, code if keep else None)


def checked_commit(repository: Repository, reference: Reference, allowed: str = "") -> str:
    """The commit of a reference. allowed: the full hash of a commit that may run although no main line contains it.

    Raises NotReproducible for a folder, and for a commit that is missing, had uncommitted changes, or is not trusted.
    """
    commit = reference.code.commit
    if reference.asset is None:
        raise NotReproducible(
            f"{reference.name} is a folder, which no code computed: `darkroom verify` says whether its files are intact."
        )
    if commit is None:
        raise NotReproducible(f"{reference.name} was pinned outside a commit, so its code is unknown.")
    if not reference.code.clean:
        raise NotReproducible(
            f"{reference.name} was pinned with uncommitted changes on top of {commit[:12]} (--allow-dirty): the code that "
            "made it is not in any commit. Commit, run and pin again."
        )
    if not _is_here(repository, commit):
        raise NotReproducible(
            f"The commit {commit[:12]} is not in this repository: fetch it (`git fetch origin {commit}`, or `git fetch "
            "--unshallow` in a shallow clone)."
        )
    if allowed not in ("", commit):
        raise NotReproducible(f"{reference.name} names the commit {commit}, but --commit names {allowed}.")
    if not allowed and not repository.main_line_with(commit):
        raise NotReproducible(
            f"Neither HEAD nor the main branch has the commit {commit}, so perhaps nobody reviewed its code, which would "
            f"run with your settings. See `git show {commit}` and its ancestors; if you trust them: --commit {commit}"
        )
    if not repository.has(f"{commit}:{ENTRY}"):
        raise NotReproducible(
            f"The code at {commit[:12]} has no {ENTRY}: either it is older than `darkroom reproduce`, or this is not the "
            "repository of the pipeline's code. Pin inside a clone of it, so that a reference names the code."
        )
    return commit


def handed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment variables for the pinned code: Darkroom's settings, and those of numerics and the system.

    AWS variables are included only if the lake or the uploads are on S3 and Darkroom has no key of its own there.
    """
    urls = (environment.get(f"DARKROOM_{name}_URL") or "s3://" for name in ("LAKE", "UPLOADS"))
    signs_as_aws = any(url.startswith("s3://") for url in urls) and not environment.get("DARKROOM_S3_ACCESS_KEY")
    prefixes = (*HANDED_ON_BY_PREFIX, "AWS_") if signs_as_aws else HANDED_ON_BY_PREFIX
    return {
        name: value
        for name, value in with_former_name(environment).items()
        if (name in HANDED_ON or name.startswith(prefixes)) and name not in NEVER_HANDED_ON
    }


def _is_here(repository: Repository, commit: str) -> bool:
    try:
        # A branch name may look like a hash.
        return repository.git("rev-parse", "--verify", "--end-of-options", f"{commit}^{{commit}}").strip() == commit
    except subprocess.CalledProcessError:
        return False


def _announcement(repository: Repository, commit: str) -> str:
    facts = repository.git("show", "--no-patch", "--format=%H by %an <%ae>, %cs: %s", "--end-of-options", commit).strip()
    line = repository.main_line_with(commit)
    return f"Running the code of {facts} ({f'{line} has it' if line else 'neither HEAD nor the main branch has it'})"


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
    """A work tree of a commit; no hooks run. It is removed after an error too."""
    try:
        repository.git("worktree", "add", "--quiet", "--detach", str(folder), commit)
    except subprocess.CalledProcessError as error:
        raise NotReproducible(f"git made no work tree of {commit[:12]}: {error.stderr.strip()[:300]}") from None
    try:
        yield folder
    finally:
        if not keep:
            repository.git("worktree", "remove", "--force", str(folder))
