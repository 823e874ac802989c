"""The functions behind `pin`, `diff`, `log` and `reproduce`, from settings, repository, stores and lake."""

import hashlib
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from pipeline_assets.errors import NotComparable, PinRefused
from pipeline_assets.runtime.terminal import Terminal
from pipeline_assets.runtime.visible import one_line
from pipeline_assets.versioning.diff.comparison import Comparison
from pipeline_assets.versioning.pin.contents import Pinned
from pipeline_assets.versioning.pin.history import History, history
from pipeline_assets.versioning.pin.pins import NO_FILES, Label, reference, store_folder
from pipeline_assets.versioning.pin.reference import Reference
from pipeline_assets.versioning.pin.repository import Repository
from pipeline_assets.versioning.reproduce.reproduce import Reproduced, reproduce
from resources.objects.store import objects_url, open_store
from resources.settings import Settings

if TYPE_CHECKING:
    from pipeline_assets.versioning.pin.lineage import TableOrigin


def opened(settings: Settings, reference: Reference) -> Pinned:
    """A data set with its lake and stores, ready to read."""
    stores = {name: open_store(settings, url) for name, url in _urls(settings).items()}
    if reference.asset is None:
        return Pinned(reference, None, stores)
    from resources.lake.lake import open_lake

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
    where: str | None = None,
) -> Reference:
    """Pin a table's rows and write the reference into the repository. Raises as `pin_table`, and NotARepository."""
    import pipeline_assets.catalog  # noqa: F401  declares the assets
    from pipeline_assets.versioning.pin.table_pins import Pinnable, pin_table
    from resources.assembly import resolve

    repository = Repository.around(Path.cwd())
    label = labelled(repository, name, message, is_dirty_allowed=is_dirty_allowed)
    resources = resolve(settings)
    parts = Pinnable(resources["lake"], resources["database"], resources["uploads"], resources["objects"])
    first, last = days or (None, None)
    pinned = pin_table(label, asset, first, last, parts, is_stale_allowed=is_stale_allowed, where=where)
    repository.write(pinned)
    return pinned


def pin_night(settings: Settings, name: str, night: date, message: str) -> Reference:
    """Pin the training set of a night and the model trained on it. Raises PinRefused and NotARepository."""
    from resources.lake.lake import open_lake

    repository = Repository.around(Path.cwd())
    repository.path(name)
    lake = open_lake(settings)
    of_night = pl.col("day") == night
    pins = lake.scan("training_pin").filter(of_night).collect()
    if pins.is_empty():
        raise PinRefused(
            f"No training set was pinned in the night of {night}: `darkroom show training_pin` lists the nights."
        )
    pinned = Reference.loads(pins["reference_json"][0], f"the pin of {night}")
    models_of_night = lake.scan("popularity_model").filter(of_night, pl.col("pin_identity") == pins["identity"][0]).collect()
    models = {} if models_of_night.is_empty() else {"popularity_model": models_of_night["weights_sha256"].item()}
    pinned = pinned.model_copy(
        update={"name": name, "message": message or pinned.message, "models": pinned.models | models}
        | {"created_by": repository.author}
    )
    repository.write(pinned)
    return pinned


def pin_folder(
    settings: Settings, name: str, folder: Path, message: str, *, is_dirty_allowed: bool, console: Terminal
) -> Reference:
    """Copy a folder's files into the store, pin them, and write the reference. Raises as `pin_asset`."""
    repository = Repository.around(Path.cwd())
    label = labelled(repository, name, message, is_dirty_allowed=is_dirty_allowed)
    url = objects_url(settings)
    objects = open_store(settings, url)
    previous = repository.find(name)
    is_here = previous is not None and previous.stores.get("objects") == url
    previous_files = opened(settings, previous).files if previous and is_here else NO_FILES
    root = folder.resolve()
    memory = settings.home / "cache" / "folders" / f"{hashlib.sha256(str(root).encode()).hexdigest()[:32]}.parquet"
    uploaded = store_folder(root, objects, previous_files, memory)
    if uploaded.left_out:
        first = one_line(uploaded.left_out[0])
        console.print(f"Left out: {len(uploaded.left_out):,} links and other special files ({first} ...)")
    console.print(f"Read {uploaded.read:,} files; {uploaded.new:,} new contents, {uploaded.new_bytes / 1e6:,.1f} MB sent.")
    pinned = reference(label, uploaded.files, objects, {"objects": url})
    repository.write(pinned)
    return pinned


def compared(settings: Settings, a: str, b: str, asset: str | None, examples: int) -> Comparison:
    """What differs between the data sets A and B, each NAME or REVISION:NAME. Raises ReferenceUnreadable, NotComparable."""
    from pipeline_assets.catalog import DECLARATIONS
    from pipeline_assets.framework.declaration import Declaration
    from pipeline_assets.versioning.diff import diff

    def declared(name: str) -> Declaration:
        if name not in DECLARATIONS:
            raise NotComparable(f"This code has no asset {name}, so the key of its rows is unknown: check out older code.")
        return DECLARATIONS[name]

    repository = Repository.around(Path.cwd())
    sides = [(side, opened(settings, repository.read(side))) for side in (a, b)]
    return diff.compare(sides[0], sides[1], repository, declared, asset, examples)


def logged(settings: Settings, name: str) -> tuple[History, list["TableOrigin"]]:
    """A data set's history, and the lineage of its newest version that can be read. Raises ReferenceUnreadable."""
    from pipeline_assets.catalog import DECLARATIONS
    from pipeline_assets.versioning.pin.lineage import lineage
    from resources.assembly import resolve

    log = history(Repository.around(Path.cwd()), name)
    newest = next((version.reference for version in log.versions if version.reference), None)
    return log, lineage(newest, resolve(settings)["database"], DECLARATIONS) if newest else []


def reproduced(settings: Settings, name: str, allowed: str, *, keep: bool, console: Terminal) -> Reproduced:
    """A pinned table built again and compared. Raises ReferenceUnreadable and NotReproducible."""
    repository = Repository.around(Path.cwd())
    reference = repository.read(name)

    def tell(line: str) -> None:
        console.print(one_line(f"Building {reference.asset} of {name} again. {line}"))

    return reproduce(repository, reference, settings.home, allowed=allowed, keep=keep, tell=tell)


def labelled(repository: Repository, name: str, message: str, *, is_dirty_allowed: bool) -> Label:
    """The label of a new reference. Raises ReferenceUnreadable for an invalid name, PinRefused for uncommitted code."""
    repository.path(name)  # fails before the work for an invalid name
    if not repository.code.clean and not is_dirty_allowed:
        state = "no commit yet" if repository.code.commit is None else "changes that are not committed"
        raise PinRefused(
            f"The code in {repository.root} has {state}, so no commit names the code that made this data. Commit first, or "
            "pin with --allow-dirty: the reference then says so."
        )
    return Label(name, repository.code, repository.author, message[:1000])
