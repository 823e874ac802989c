"""What must stay: everything named by a reference, by the newest materializations, or by a row of a kept table.

This is the one list of roots; `collection` removes everything else. Names are followed until nothing new appears: a pin
names a version of `popularity_model`, whose rows name weights and further versions. In every table, a column's name
determines what its values are:

    *_sha256           a content in the store `objects` (model weights, manifests)
    reference_json     a whole reference, as in git
    *_versions_json    {table: Delta version}
    table_version      a Delta version of training_table, as staged_training_set has it
"""

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

import polars as pl

from pipeline_assets.errors import CleanUpRefused, ManifestBroken
from pipeline_assets.versioning.gc.table_files import TableFiles
from pipeline_assets.versioning.pin.contents import Pinned
from pipeline_assets.versioning.pin.reference import Reference
from pipeline_assets.versioning.pin.repository import Repository
from resources.database.contract import Database
from resources.errors import NotFound, ObjectError
from resources.lake.lake import Lake
from resources.objects.store import ObjectStore, content_key

STAGED_FROM = "training_table"
VARIANTS = "variants/"
"""Prefix of the kinds of results whose rows name contents."""


@dataclass
class Roots:
    """What is kept. contents: sha256 as 32 bytes. versions: whole versions by table. days: {version: days} by table."""

    contents: set[bytes] = field(default_factory=set)
    versions: dict[str, set[int]] = field(default_factory=dict)
    days: dict[str, dict[int, set[date]]] = field(default_factory=dict)
    references: int = 0
    notes: list[str] = field(default_factory=list)

    def add_version(self, table: str, version: int) -> None:
        """Keep a version of a table whole."""
        self.versions.setdefault(table, set()).add(version)

    def needed(self, table: TableFiles) -> set[str]:
        """The files of a table that its kept versions and days need."""
        return table.needed(self.versions.get(table.name, ()), self.days.get(table.name, {}))


@dataclass(frozen=True)
class Sources:
    """Where roots are found. tables: every table of the lake. moment: versions that were the newest since then are kept."""

    repositories: tuple[Repository, ...]
    lake: Lake
    lake_files: ObjectStore
    objects: ObjectStore
    objects_url: str
    database: Database
    tables: Mapping[str, TableFiles]
    keep_last: int
    moment: datetime


def find_roots(of: Sources, forgotten: Iterable[str] = (), tell: Callable[[str], object] = lambda _: None) -> Roots:
    """Find everything that must stay. forgotten: kinds of results to remove.

    Raises ReferenceUnreadable, ManifestBroken or CleanUpRefused if a root can't be read, and StoreUnavailable: then nothing
    may be deleted.
    """
    roots = Roots()
    visited: set[str] = set()
    for repository in of.repositories:
        for reference in all_references(repository):
            _follow(reference, roots, of, visited)
    tell(f"Pins: {roots.references:,}, of repositories: {len(of.repositories)}")
    _from_ledger(roots, of)
    for table in of.tables.values():
        for version in table.since(of.moment):
            roots.add_version(table.name, version)
    _from_results(roots, of, visited, list(forgotten))
    _from_rows(roots, of, visited)
    return roots


def all_references(repository: Repository) -> Iterator[Reference]:
    """The references of all history and of every work tree of a repository. Raises CleanUpRefused for a shallow clone."""
    if repository.git("rev-parse", "--is-shallow-repository").strip() == "true":
        raise CleanUpRefused(
            f"{repository.root} is a shallow clone, so older commits may hold pins that are not here: run `git fetch "
            "--unshallow` first. Nothing was deleted."
        )
    yield from repository.all_references()
    for work_tree in repository.work_trees():
        yield from (work_tree.read(name) for name in work_tree.names())


def _follow(reference: Reference, roots: Roots, of: Sources, visited: set[str]) -> None:
    """Keep what a reference names, and what its manifest names."""
    for name, table in reference.tables.items():
        roots.add_version(name, table.version)
    manifest_sha256 = reference.manifest.sha256
    if manifest_sha256 in visited:
        return
    visited.add(manifest_sha256)
    roots.references += 1
    roots.contents.add(bytes.fromhex(manifest_sha256))
    try:
        files = Pinned(reference, of.lake, {"objects": of.objects}).files
    except ManifestBroken as error:
        is_elsewhere = reference.stores.get("objects") != of.objects_url
        if is_elsewhere and not of.objects.exists(content_key(manifest_sha256)):
            roots.notes.append(f"{reference.name} was pinned into {reference.stores.get('objects')}: it keeps nothing here.")
            return
        raise ManifestBroken(
            f"{error} What {reference.name} of {reference.created_at:%Y-%m-%d} keeps is unknown, so nothing was deleted: "
            "restore it, or remove the reference from every branch."
        ) from None
    keys = files.filter(pl.col("store") == "objects")["key"].unique()
    roots.contents.update(digest for key in keys if (digest := digest_of(key)))


def digest_of(key: str) -> bytes | None:
    """The sha256 that a content's key names; None for another key."""
    kind, _, hex_parts = key.partition("/")
    text = hex_parts.replace("/", "", 1)
    try:
        return bytes.fromhex(text) if kind == "sha256" and len(text) == 64 else None
    except ValueError:
        return None


def _from_ledger(roots: Roots, of: Sources) -> None:
    """Keep what the newest materializations of each asset and day committed."""
    rows = of.database.rows(
        "select asset, day, delta_version from (select asset, day, delta_version, row_number() over "
        "(partition by asset, day order by id desc) as nth from materializations where digest <> '') m where nth <= %s",
        (of.keep_last,),
    )
    if not rows and of.tables:
        raise CleanUpRefused(
            f"The lake {of.lake.url} has {len(of.tables)} tables, but this database lists no materialization: does it "
            "belong to another project? Check DARKROOM_DATABASE_URL and DARKROOM_LAKE_URL. Nothing was deleted."
        )
    for asset, day, version in rows:
        roots.days.setdefault(asset, {}).setdefault(version, set()).add(day)


def _from_results(roots: Roots, of: Sources, visited: set[str], forgotten: list[str]) -> None:
    """Keep the chunks of indexed results, and the variants that rows of some chunks name."""
    chunks = of.database.read("select distinct kind, chunk from results").filter(~pl.col("kind").is_in(list(forgotten)))
    roots.contents.update(bytes.fromhex(chunk) for chunk in chunks["chunk"])
    variant_chunks = chunks.filter(pl.col("kind").str.starts_with(VARIANTS))["chunk"].unique()
    for chunk, data in of.objects.get_many(variant_chunks, key=content_key):
        if isinstance(data, NotFound):
            roots.notes.append(f"The kept results {chunk} are already missing; a run that needs them computes them again.")
        elif isinstance(data, ObjectError):
            raise data
        else:
            _from_frame(pl.read_ipc(io.BytesIO(data)), f"The kept results {chunk}", roots, of, visited)


def _from_rows(roots: Roots, of: Sources, visited: set[str]) -> None:
    """Keep what rows of kept files name, until nothing new appears."""
    read_paths: dict[str, set[str]] = {name: set() for name in of.tables}
    while True:
        unread_paths = {
            table.name: unread
            for table in of.tables.values()
            if _naming_columns(table.columns) and (unread := roots.needed(table) - read_paths[table.name])
        }
        if not unread_paths:
            return
        for name, paths in unread_paths.items():
            read_paths[name] |= paths
            keys = [f"tables/{name}/{path}" for path in sorted(paths)]
            for key, data in of.lake_files.get_many(keys, key=lambda key: key):
                if isinstance(data, NotFound):
                    roots.notes.append(f"{key} is already missing, though a kept version needs it.")
                elif isinstance(data, ObjectError):
                    raise data
                else:
                    _from_file(data, key, roots, of, visited)


def _naming_columns(columns: Iterable[str]) -> list[str]:
    """Columns whose values name something to keep."""
    return [
        name
        for name in columns
        if name.endswith(("_sha256", "_versions_json")) or name == "reference_json" or name == "table_version"
    ]


def _from_file(data: bytes, source: str, roots: Roots, of: Sources, visited: set[str]) -> None:
    columns = _naming_columns(pl.read_parquet_schema(io.BytesIO(data)))
    if columns:
        _from_frame(pl.read_parquet(io.BytesIO(data), columns=columns), source, roots, of, visited)


def _from_frame(rows: pl.DataFrame, source: str, roots: Roots, of: Sources, visited: set[str]) -> None:
    for name in _naming_columns(rows.columns):
        for value in rows[name].drop_nulls().unique():
            try:
                _from_value(name, value, roots, of, visited)
            except (ValueError, TypeError) as error:
                raise CleanUpRefused(
                    f"{source} has {str(value)[:100]!r} in the column {name}, which is no valid name there "
                    f"({error}): nothing was deleted."
                ) from None


def _from_value(column: str, value: str | int, roots: Roots, of: Sources, visited: set[str]) -> None:
    if column == "table_version":
        roots.add_version(STAGED_FROM, int(value))
    elif column == "reference_json":
        _follow(Reference.loads(str(value), "a row of a pinned set"), roots, of, visited)
    elif column.endswith("_versions_json"):
        for table, version in json.loads(str(value)).items():
            roots.add_version(table, int(version))
    else:
        roots.contents.add(bytes.fromhex(str(value)))
