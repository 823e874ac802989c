"""What the commands of versions do, put together from settings, repository, stores and lake."""

import hashlib
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from rich.console import Console

from pipeline_assets.errors import NotComparable, PinRefused
from pipeline_assets.versioning.comparison import Comparison
from pipeline_assets.versioning.contents import Pinned
from pipeline_assets.versioning.history import History, history
from pipeline_assets.versioning.pins import NO_FILES, Label, reference, store_folder
from pipeline_assets.versioning.reference import Reference
from pipeline_assets.versioning.repository import Repository
from pipeline_assets.versioning.reproduce import Reproduced, checked_commit, reproduce
from resources.object_store import objects_url, open_store
from resources.settings import Settings

if TYPE_CHECKING:
    from pipeline_assets.versioning.lineage import TableOrigin


def opened(settings: Settings, reference: Reference) -> Pinned:
    """A data set with its lake and stores, ready to be read."""
    stores = {name: open_store(settings, url) for name, url in _urls(settings).items()}
    if reference.asset is None:
        return Pinned(reference, None, stores)
    from resources.lake import open_lake

    return Pinned(reference, open_lake(settings), stores)


def _urls(settings: Settings) -> dict[str, str]:
    return {"uploads": settings.uploads_url, "objects": objects_url(settings)}


def pin_asset(
    settings: Settings,
    name: str,
    asset: str,
    days: tuple[date, date] | None,
    message: str,
    *,
    is_dirty_allowed: bool,
    is_stale_allowed: bool,
) -> Reference:
    """Pin a table's rows and write the reference into the repository. Raises PinRefused and NotARepository."""
    import pipeline_assets.catalog  # noqa: F401  declares the assets
    from pipeline_assets.versioning.table_pins import Pinnable, pin_table
    from resources.assembly import resolve

    repository = Repository.around(Path.cwd())
    label = labelled(repository, name, message, is_dirty_allowed=is_dirty_allowed)
    found = resolve(settings)
    parts = Pinnable(found["lake"], found["postgres"], found["uploads"], found["objects"])
    first, last = days or (None, None)
    made = pin_table(label, asset, first, last, parts, is_stale_allowed=is_stale_allowed)
    repository.write(made)
    return made


def pin_night(settings: Settings, name: str, night: date, message: str) -> Reference:
    """Name what the model of a night was trained on, and the model itself. Raises PinRefused and NotARepository."""
    from resources.lake import open_lake

    repository = Repository.around(Path.cwd())
    repository.path(name)
    lake = open_lake(settings)
    of_night = pl.col("day") == night
    pins = lake.scan("training_pin").filter(of_night).collect()
    if pins.is_empty():
        raise PinRefused(
            f"No training set was pinned in the night of {night}: `darkroom show training_pin` lists the nights."
        )
    made = Reference.loads(pins["reference_json"][0], f"the pin of {night}")
    trained = lake.scan("popularity_model").filter(of_night, pl.col("pin_identity") == pins["identity"][0]).collect()
    models = {} if trained.is_empty() else {"popularity_model": trained["weights_sha256"].item()}
    made = made.model_copy(
        update={"name": name, "message": message or made.message, "models": made.models | models}
        | {"created_by": repository.author}
    )
    repository.write(made)
    return made


def pin_folder(
    settings: Settings, name: str, folder: Path, message: str, *, is_dirty_allowed: bool, console: Console
) -> Reference:
    """Bring a folder's files into the store, pin them, and write the reference. Raises as `pin_asset`."""
    repository = Repository.around(Path.cwd())
    label = labelled(repository, name, message, is_dirty_allowed=is_dirty_allowed)
    url = objects_url(settings)
    objects = open_store(settings, url)
    before = repository.find(name)
    is_here = before is not None and before.stores.get("objects") == url
    known = opened(settings, before).files if before and is_here else NO_FILES
    root = folder.resolve()
    memory = settings.home / "cache" / "folders" / f"{hashlib.sha256(str(root).encode()).hexdigest()[:32]}.parquet"
    stored = store_folder(root, objects, known, memory)
    if stored.left_out:
        console.print(f"Left out: {len(stored.left_out):,} links and others that are no files ({stored.left_out[0]} ...)")
    console.print(f"Read {stored.read:,} files; {stored.new:,} new contents, {stored.new_bytes / 1e6:,.1f} MB sent.")
    made = reference(label, stored.files, objects, {"objects": url})
    repository.write(made)
    return made


def compared(settings: Settings, a: str, b: str, asset: str | None, examples: int) -> Comparison:
    """What differs between the data sets A and B, each NAME or REVISION:NAME. Raises ReferenceUnreadable, NotComparable."""
    from pipeline_assets.catalog import DECLARATIONS
    from pipeline_assets.table_asset import Declaration
    from pipeline_assets.versioning import diff

    def declared(name: str) -> Declaration:
        if name not in DECLARATIONS:
            raise NotComparable(f"{name} is no asset of this code, which so can't tell its rows' key: check out older code.")
        return DECLARATIONS[name]

    repository = Repository.around(Path.cwd())
    sides = [(told, opened(settings, repository.read(told))) for told in (a, b)]
    return diff.compare(sides[0], sides[1], repository, declared, asset, examples)


def logged(settings: Settings, name: str) -> tuple[History, list["TableOrigin"]]:
    """A data set's history, and the lineage of its newest version that can be read. Raises ReferenceUnreadable."""
    from pipeline_assets.catalog import DECLARATIONS
    from pipeline_assets.versioning.lineage import lineage
    from resources.assembly import resolve

    found = history(Repository.around(Path.cwd()), name)
    newest = next((version.reference for version in found.versions if version.reference), None)
    return found, lineage(newest, resolve(settings)["postgres"], DECLARATIONS) if newest else []


def reproduced(settings: Settings, name: str, *, keep: bool, console: Console) -> Reproduced:
    """A pinned table built again and compared. Raises ReferenceUnreadable and NotReproducible."""
    repository = Repository.around(Path.cwd())
    reference = repository.read(name)
    commit = checked_commit(repository, reference)
    console.print(f"Building {reference.asset} of {name} again with the code of {commit[:12]} ...")
    return reproduce(repository, reference, settings.home, keep=keep)


def labelled(repository: Repository, name: str, message: str, *, is_dirty_allowed: bool) -> Label:
    """What a new reference says of itself. Raises ReferenceUnreadable for no name, PinRefused for uncommitted code."""
    repository.path(name)  # an impossible name is said before the work, not after it
    if not repository.code.clean and not is_dirty_allowed:
        told = "no commit yet" if repository.code.commit is None else "changes that are not committed"
        raise PinRefused(
            f"The code in {repository.root} has {told}, so no commit would name what made this data. Commit first, or "
            "pin with --allow-dirty: the reference then says so."
        )
    return Label(name, repository.code, repository.author, message[:1000])
