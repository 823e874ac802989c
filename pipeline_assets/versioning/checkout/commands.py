"""The functions behind `checkout`, `verify` and `cache`, from settings, repository, stores and lake."""

import fcntl
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline_assets.runtime.terminal import Terminal
from pipeline_assets.runtime.visible import one_line
from pipeline_assets.versioning.checkout import checkout, register
from pipeline_assets.versioning.checkout.content_cache import ContentCache
from pipeline_assets.versioning.checkout.selection import Selection, select
from pipeline_assets.versioning.pin import commands
from pipeline_assets.versioning.pin.contents import Pinned
from pipeline_assets.versioning.pin.repository import Repository
from resources.settings import Settings

if TYPE_CHECKING:
    from pipeline_assets.versioning.pin.verification import Rules, Verdict


SECRET_BYTES = 32


@dataclass(frozen=True)
class CheckoutRequest:
    """The data set and the part of it to check out. name: NAME or REVISION:NAME."""

    name: str
    where: str | None
    columns: tuple[str, ...]
    with_files: bool
    with_rows: bool


def check_out(
    settings: Settings, request: CheckoutRequest, target: Path, *, link: str, use_cache: bool, force: bool, console: Terminal
) -> None:
    """Check out and print a report. Raises as `checkout.checkout`."""
    pinned, selection = _selected(settings, request)
    register.enter(settings.home, target, pinned.reference.name, pinned.reference.identity, datetime.now(UTC))
    report = checkout.checkout(
        pinned,
        target,
        selection,
        secret=_secret(settings),
        where=request.where,
        link=link,
        cache=cache_of(settings) if use_cache else None,
        force=force,
        tell=console.print,
    )
    if link not in ("auto", report.link) and use_cache and report.written:
        console.print(f"The filesystem has no {link} links between the cache and {target}: used {report.link}.")
    if report.damaged:
        console.print(f"{report.damaged:,} damaged contents of the cache were fetched again.")
    if report.left:
        console.print(f"Left, as they were changed: {len(report.left):,} files ({one_line(report.left[0])} ...).")
    link_texts = {
        "hard": "read-only hard links to the cache",
        "reflink": "clones of the cache",
        "copy": "files of their own",
    }
    console.print(
        f"{report.written:,} files written ({report.written_bytes / 1e6:,.1f} MB: {report.from_cache:,} contents from the "
        f"cache, {report.fetched:,} fetched with {report.fetched_bytes / 1e6:,.1f} MB), {report.kept:,} kept, "
        f"{report.removed:,} removed."
    )
    if report.fetched or report.from_cache:
        console.print(f"They are {link_texts[report.link]}.")
    if report.rows:
        console.print(f"Rows: {target / report.rows}, each with its file's path in the column file_path.")


def rehearse(settings: Settings, request: CheckoutRequest, target: Path, *, force: bool, console: Terminal) -> None:
    """Print what `check_out` would do, with each file that it would replace or remove. Raises as `check_out`."""
    pinned, selection = _selected(settings, request)
    steps = checkout.rehearse(pinned, target, selection, secret=_secret(settings), force=force)
    for verb, paths in (("replace", steps.put.filter("replace")["path"]), ("remove", steps.remove)):
        for path in paths:
            console.print(one_line(f"Would {verb} {target / path}"))
    size = int(steps.put["size_bytes"].sum())
    console.print(
        f"Would write {steps.put.height:,} files ({size / 1e6:,.1f} MB without rows), keep {steps.keep.height:,}, and "
        f"remove {len(steps.remove):,}."
    )


def verified(settings: Settings, name: str, *, quick: bool, tell: Callable[[str], object]) -> "Verdict":
    """Verify a data set. Raises as `verification.verify`."""
    from pipeline_assets.versioning.pin.verification import verify  # imports Dagster, which takes a second

    pinned = _opened(settings, name)
    return verify(pinned, _rules() if pinned.reference.tables else {}, quick=quick, tell=tell)


def cache_of(settings: Settings) -> ContentCache:
    """The cache of contents that checkouts share."""
    return ContentCache(settings.home / "cache" / "contents")


def _secret(settings: Settings) -> bytes:
    """The secret that seals the records of checkouts, created once per HOME."""
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(settings.home / "checkout.key", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        secret = file.read()
        if len(secret) != 2 * SECRET_BYTES:  # new, or truncated by a full disk
            secret = secrets.token_hex(SECRET_BYTES).encode()
            file.seek(0)
            file.truncate()
            file.write(secret)
    return secret


def _opened(settings: Settings, name: str) -> Pinned:
    return commands.opened(settings, Repository.around(Path.cwd()).read(name))


def _selected(settings: Settings, request: CheckoutRequest) -> tuple[Pinned, Selection]:
    pinned = _opened(settings, request.name)
    selection = select(pinned, request.where, request.columns, with_files=request.with_files, with_rows=request.with_rows)
    return pinned, selection


def _rules() -> "dict[str, Rules]":
    from pipeline_assets.catalog import DECLARATIONS
    from pipeline_assets.versioning.pin.verification import Rules

    return {
        name: Rules(tuple(asset.schema.columns()), tuple(asset.key), tuple(asset.volatile), tuple(asset.bulk))
        for name, asset in DECLARATIONS.items()
    }
