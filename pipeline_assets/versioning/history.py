"""A data set's history: each version of its reference in git, and what it changed. From references alone: nothing is read
but git.
"""

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise

from pydantic import BaseModel, ConfigDict

from pipeline_assets.errors import ReferenceUnreadable
from pipeline_assets.versioning.reference import Reference
from pipeline_assets.versioning.repository import FOLDER, Repository

_FORMAT = "--format=%x01%H%x00%an <%ae>%x00%cI%x00%s"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Version(_Part):
    """One version. commit: None for what the work tree has and no commit does. reference: None where `fault` says why."""

    commit: str | None
    author: str
    at: datetime
    subject: str
    reference: Reference | None
    identity: str | None
    fault: str = ""
    changes: list[str] = []


class History(_Part):
    """Newest first. is_cut: the repository is a shallow clone, and there may be older ones."""

    name: str
    versions: list[Version]
    is_cut: bool


def history(repository: Repository, name: str) -> History:
    """All versions of datasets/NAME.json that lead to HEAD, and that of the work tree if it is another.

    name: NAME, or REVISION:NAME for what led to another commit. Raises ReferenceUnreadable where there is none at all.
    """
    revision, _, plain = name.rpartition(":")
    path = repository.path(plain)
    committed = list(_committed(repository, revision or "HEAD", f"{FOLDER}/{path.name}"))
    found = committed if revision else [*_uncommitted(repository, plain, committed), *committed]
    if not found:
        there = ", ".join(repository.names()) or "none yet: make one with `darkroom pin NAME`"
        raise ReferenceUnreadable(f"No commit of {revision or 'HEAD'} has datasets/{path.name}. Data sets here: {there}.")
    told = [
        newer.model_copy(update={"changes": changes(older.reference, newer.reference)}) for newer, older in pairwise(found)
    ]
    is_cut = repository.git("rev-parse", "--is-shallow-repository").strip() == "true"
    return History(name=plain, versions=[*told, found[-1]], is_cut=is_cut)


def _committed(repository: Repository, revision: str, path: str) -> Iterator[Version]:
    if revision.startswith("-"):
        raise ReferenceUnreadable(f"{revision!r} is no commit, branch or tag.")
    try:
        listed = repository.git("log", _FORMAT, "--end-of-options", revision, "--", path)
    except subprocess.CalledProcessError as error:
        if revision == "HEAD":
            return  # no commit yet
        raise ReferenceUnreadable(f"git knows no {revision}: {error.stderr.strip()}") from None
    for line in filter(None, listed.split("\x01")):
        commit, author, at, subject = line.strip("\n").split("\x00")
        facts = {"commit": commit, "author": author, "at": datetime.fromisoformat(at), "subject": subject}
        yield _version(repository, f"{commit}:{path}", facts)


def _version(repository: Repository, named: str, facts: dict[str, object]) -> Version:
    try:
        text = repository.git("show", named)
    except subprocess.CalledProcessError:
        return Version.model_validate({**facts, "reference": None, "identity": None, "fault": "removed"})
    except UnicodeDecodeError:
        return Version.model_validate({**facts, "reference": None, "identity": None, "fault": f"{named} is not text"})
    try:
        reference = Reference.loads(text, named)
    except ReferenceUnreadable as error:
        return Version.model_validate({**facts, "reference": None, "identity": None, "fault": str(error)})
    return Version.model_validate({**facts, "reference": reference, "identity": reference.identity})


def _uncommitted(repository: Repository, name: str, committed: list[Version]) -> list[Version]:
    reference = repository.find(name)
    if reference is None or (committed and committed[0].reference == reference):
        return []
    return [
        Version(
            commit=None,
            author=reference.created_by,
            at=reference.created_at.astimezone(UTC),
            subject=reference.message,
            reference=reference,
            identity=reference.identity,
        )
    ]


def changes(before: Reference | None, after: Reference | None) -> list[str]:
    """What one version has changed of another, each in a few words; nothing where one of them can't be read."""
    if before is None or after is None:
        return []
    found = []
    if before.asset != after.asset:
        found.append(f"{after.asset or 'a folder'} instead of {before.asset or 'a folder'}")
    elif before.table and after.table and before.table.digest != after.table.digest:
        found.append(f"rows {after.table.rows - before.table.rows:+,}" if after.table.rows != before.table.rows else "rows")
    if before.manifest.digest != after.manifest.digest:
        found.append(f"files {after.manifest.files - before.manifest.files:+,}")
        found.append(f"{(after.manifest.bytes - before.manifest.bytes) / 1e6:+,.1f} MB")
    moved = [
        name
        for name in after.tables
        if name != after.asset and (name not in before.tables or before.tables[name].digest != after.tables[name].digest)
    ]
    found += [f"inputs {', '.join(moved)}"] if moved else []
    found += ["code"] if before.code != after.code else []
    found += ["models"] if before.models != after.models else []
    return found or ["nothing but the label"]
