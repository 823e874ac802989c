"""A data set's history: each version of its reference in git, and what it changed. Reads git only."""

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise

from pydantic import BaseModel, ConfigDict

from pipeline_assets.errors import ReferenceUnreadable
from pipeline_assets.versioning.pin.reference import Reference
from pipeline_assets.versioning.pin.repository import FOLDER, Repository

_FORMAT = "--format=%x01%H%x00%an <%ae>%x00%cI%x00%s"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Version(_Part):
    """One version. commit: None for the uncommitted one of the work tree. reference: None where `fault` says why."""

    commit: str | None
    author: str
    at: datetime
    subject: str
    reference: Reference | None
    identity: str | None
    fault: str = ""
    changes: list[str] = []


class History(_Part):
    """Versions, newest first. is_cut: the repository is a shallow clone, so older versions may be missing."""

    name: str
    versions: list[Version]
    is_cut: bool


def history(repository: Repository, name: str) -> History:
    """All versions of datasets/NAME.json in the history of HEAD, and that of the work tree if it differs.

    name: NAME, or REVISION:NAME for the history of another revision. Raises ReferenceUnreadable if there is no version.
    """
    revision, _, plain = name.rpartition(":")
    path = repository.path(plain)
    committed = list(_committed(repository, revision or "HEAD", f"{FOLDER}/{path.name}"))
    versions = committed if revision else [*_uncommitted(repository, plain, committed), *committed]
    if not versions:
        names = ", ".join(repository.names()) or "none yet: make one with `darkroom pin NAME`"
        raise ReferenceUnreadable(f"No commit of {revision or 'HEAD'} has datasets/{path.name}. Data sets here: {names}.")
    described = [
        newer.model_copy(update={"changes": changes(older.reference, newer.reference)})
        for newer, older in pairwise(versions)
    ]
    is_cut = repository.git("rev-parse", "--is-shallow-repository").strip() == "true"
    return History(name=plain, versions=[*described, versions[-1]], is_cut=is_cut)


def _committed(repository: Repository, revision: str, path: str) -> Iterator[Version]:
    if revision.startswith("-"):
        raise ReferenceUnreadable(f"{revision!r} is no commit, branch or tag.")
    try:
        log = repository.git("log", _FORMAT, "--end-of-options", revision, "--", path)
    except subprocess.CalledProcessError as error:
        if revision == "HEAD":
            return  # no commit yet
        raise ReferenceUnreadable(f"git knows no {revision}: {error.stderr.strip()}") from None
    for line in filter(None, log.split("\x01")):
        commit, author, at, subject = line.strip("\n").split("\x00")
        facts = {"commit": commit, "author": author, "at": datetime.fromisoformat(at), "subject": subject}
        yield _version(repository, f"{commit}:{path}", facts)


def _version(repository: Repository, object_name: str, facts: dict[str, object]) -> Version:
    try:
        text = repository.git("show", object_name)
    except subprocess.CalledProcessError:
        return Version.model_validate({**facts, "reference": None, "identity": None, "fault": "removed"})
    except UnicodeDecodeError:
        return Version.model_validate({**facts, "reference": None, "identity": None, "fault": f"{object_name} is not text"})
    try:
        reference = Reference.loads(text, object_name)
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


def changes(older: Reference | None, newer: Reference | None) -> list[str]:
    """Short descriptions of what changed between two versions; none if either can't be read."""
    if older is None or newer is None:
        return []
    descriptions = []
    if older.asset != newer.asset:
        descriptions.append(f"{newer.asset or 'a folder'} instead of {older.asset or 'a folder'}")
    elif older.table and newer.table and older.table.digest != newer.table.digest:
        descriptions.append(
            f"rows {newer.table.rows - older.table.rows:+,}" if newer.table.rows != older.table.rows else "rows"
        )
    if older.selection != newer.selection:
        descriptions.append(f"selected rows {(newer.rows or 0) - (older.rows or 0):+,}")
    if older.manifest.digest != newer.manifest.digest:
        descriptions.append(f"files {newer.manifest.files - older.manifest.files:+,}")
        descriptions.append(f"{(newer.manifest.bytes - older.manifest.bytes) / 1e6:+,.1f} MB")
    changed_inputs = [
        name
        for name in newer.tables
        if name != newer.asset and (name not in older.tables or older.tables[name].digest != newer.tables[name].digest)
    ]
    descriptions += [f"inputs {', '.join(changed_inputs)}"] if changed_inputs else []
    descriptions += ["code"] if older.code != newer.code else []
    descriptions += ["models"] if older.models != newer.models else []
    return descriptions or ["nothing but the label"]
