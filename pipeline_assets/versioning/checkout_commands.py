"""What `checkout`, `verify` and `cache` do, put together from settings, repository, stores and lake."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from pipeline_assets.versioning import checkout, commands
from pipeline_assets.versioning.content_cache import ContentCache
from pipeline_assets.versioning.contents import Pinned
from pipeline_assets.versioning.repository import Repository
from pipeline_assets.versioning.selection import Selection, select
from resources.settings import Settings

if TYPE_CHECKING:
    from pipeline_assets.versioning.verification import Rules, Verdict


@dataclass(frozen=True)
class Wish:
    """What of which data set is wanted. name: NAME or REVISION:NAME."""

    name: str
    where: str | None
    columns: tuple[str, ...]
    with_files: bool
    with_rows: bool


def check_out(
    settings: Settings, wish: Wish, target: Path, *, link: str, use_cache: bool, force: bool, console: Console
) -> None:
    """Check out and say what was done. Raises as `checkout.checkout`."""
    pinned, selection = _selected(settings, wish)
    done = checkout.checkout(
        pinned,
        target,
        selection,
        where=wish.where,
        link=link,
        cache=cache_of(settings) if use_cache else None,
        force=force,
        tell=console.print,
    )
    if link not in ("auto", done.link) and use_cache and done.written:
        console.print(f"The filesystem has no {link} links between the cache and {target}: files were made by {done.link}.")
    if done.damaged:
        console.print(f"{done.damaged:,} contents in the cache were damaged, and were fetched again.")
    if done.left:
        console.print(f"Left, as changed since: {len(done.left):,} files ({escape(done.left[0])} ...).")
    how = {"hard": "read-only hard links to the cache", "reflink": "clones of the cache", "copy": "files of their own"}
    console.print(
        f"{done.written:,} files written ({done.written_bytes / 1e6:,.1f} MB: {done.from_cache:,} contents from the cache, "
        f"{done.fetched:,} fetched with {done.fetched_bytes / 1e6:,.1f} MB), {done.kept:,} kept, {done.removed:,} removed."
    )
    if done.fetched or done.from_cache:
        console.print(f"They are {how[done.link]}.")
    if done.rows:
        console.print(f"Rows: {target / done.rows}, each with its file's place in the column file_path.")


def rehearse(settings: Settings, wish: Wish, target: Path, *, force: bool, console: Console) -> None:
    """Say what `check_out` would do. Raises as it does."""
    pinned, selection = _selected(settings, wish)
    todo = checkout.rehearse(pinned, target, selection, force=force)
    size = int(todo.put["size_bytes"].sum())
    console.print(
        f"Would write {todo.put.height:,} files ({size / 1e6:,.1f} MB beside rows), keep {todo.keep.height:,}, and remove "
        f"{len(todo.remove):,}."
    )


def verified(settings: Settings, name: str, *, quick: bool, tell: Callable[[str], object]) -> "Verdict":
    """Verify a data set. Raises as `verification.verify`."""
    from pipeline_assets.versioning.verification import verify  # with the ledger, whose Dagster takes a second to load

    pinned = _opened(settings, name)
    return verify(pinned, _rules() if pinned.reference.tables else {}, quick=quick, tell=tell)


def cache_of(settings: Settings) -> ContentCache:
    """The contents that checkouts share."""
    return ContentCache(settings.home / "cache" / "contents")


def _opened(settings: Settings, name: str) -> Pinned:
    return commands.opened(settings, Repository.around(Path.cwd()).read(name))


def _selected(settings: Settings, wish: Wish) -> tuple[Pinned, Selection]:
    pinned = _opened(settings, wish.name)
    found = select(pinned, wish.where, wish.columns, with_files=wish.with_files, with_rows=wish.with_rows)
    return pinned, found


def _rules() -> "dict[str, Rules]":
    from pipeline_assets.catalog import DECLARATIONS
    from pipeline_assets.versioning.verification import Rules

    return {
        name: Rules(tuple(asset.schema.columns()), tuple(asset.key), tuple(asset.volatile), tuple(asset.bulk))
        for name, asset in DECLARATIONS.items()
    }
