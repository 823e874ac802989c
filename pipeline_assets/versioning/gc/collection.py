"""The clean-up: finds and removes the objects of the lake that `roots` does not keep.

Only `objects/sha256/` and the data files of `tables/` are candidates: never logs of tables, events or uploads. It can be
killed at any moment: what it removes is unreachable, and the next call finds the rest. References go before their targets:
rows of the results' index before their chunks; the note that an old version is dropped before the version's files.
`resources/objects/removal_marks.py` makes it safe beside writers.
"""

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import IO, Any

from pipeline_assets.runtime.progress import track
from pipeline_assets.versioning.gc.roots import Roots, Sources, digest_of, find_roots
from pipeline_assets.versioning.gc.table_files import LOG, TableFiles, read_log
from pipeline_assets.versioning.pin.repository import Repository
from resources.database.contract import Database
from resources.errors import AlreadyRunning, NotFound
from resources.lake.lake import Lake
from resources.lake.removed_versions import RemovedVersions
from resources.objects.removal import Stored, delete_removal_lists, holdings, remove, remove_contents
from resources.objects.store import ObjectStore

LOCK = "darkroom gc"
CONTENTS = "sha256/"
CONTENT, COPY = "contents that nothing names", "old versions of contents"
FILE, STRAY, HIDDEN = "files of dropped table versions", "files of no table version", "old versions of table files"
BATCH = 1_000

Tell = Callable[[str], object]


@dataclass
class Tally:
    """A number of objects, and their bytes."""

    objects: int = 0
    bytes: int = 0

    def add(self, item: Stored) -> None:
        """Count an object."""
        self.objects += 1
        self.bytes += item.size


@dataclass(frozen=True)
class Place:
    """What to clean up, and the rules. objects: the store of contents; files: the store of the whole lake."""

    lake: Lake
    files: ObjectStore
    objects: ObjectStore
    objects_url: str
    database: Database
    repositories: tuple[Repository, ...]
    grace: timedelta = timedelta(hours=24)
    keep_last: int = 1
    forgotten: tuple[str, ...] = ()


@dataclass
class Plan:
    """Objects to remove, by kind, one per line of `lines`, and those that stay. older_than: younger objects stay."""

    older_than: datetime
    lines: IO[str]
    doomed: dict[str, Tally] = field(default_factory=dict)
    kept: dict[str, Tally] = field(default_factory=dict)
    dropped: dict[str, RemovedVersions] = field(default_factory=dict)
    roots: Roots = field(default_factory=Roots)

    @property
    def total(self) -> Tally:
        """All objects to remove."""
        return Tally(sum(t.objects for t in self.doomed.values()), sum(t.bytes for t in self.doomed.values()))

    def keep(self, kind: str, item: Stored) -> None:
        """Count an object that stays."""
        self.kept.setdefault(kind, Tally()).add(item)

    def doom(self, kind: str, store: str, item: Stored) -> None:
        """Add an object to remove."""
        self.doomed.setdefault(kind, Tally()).add(item)
        self.lines.write(json.dumps({"kind": kind, "store": store, **_plain(item)}) + "\n")

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.lines.seek(0)
        return (json.loads(line) for line in self.lines)


def _plain(item: Stored) -> dict[str, Any]:
    return {
        "key": item.key,
        "version_id": item.version_id,
        "size_bytes": item.size,
        "last_modified": item.last_modified.isoformat(),
    }


def _stored(line: dict[str, Any]) -> Stored:
    moment = datetime.fromisoformat(line["last_modified"])
    return Stored(line["key"], line["size_bytes"], moment, None, line["version_id"])


@contextmanager
def exclusive(database: Database) -> Iterator[None]:
    """Lock out other clean-ups for a block. Raises AlreadyRunning."""
    with database.lock(LOCK) as is_mine:
        if not is_mine:
            raise AlreadyRunning("Another `darkroom gc` runs on this database: let it finish.")
        yield


@contextmanager
def plan_collection(place: Place, now: datetime | None = None, tell: Tell = lambda _: None) -> Iterator[Plan]:
    """Plan a clean-up; nothing is changed. Raises as `roots.find_roots`."""
    moment = now or datetime.now(UTC)  # before anything is read: see resources/objects/removal_marks.py
    older_than = moment - place.grace
    with tempfile.TemporaryFile("w+", encoding="utf-8") as lines:
        plan = Plan(older_than, lines)
        objects_by_table = _tables(place.files)
        tables = {name: read_log(name, parts[0], place.files, place.lake) for name, parts in objects_by_table.items()}
        sources = Sources(
            place.repositories,
            place.lake,
            place.files,
            place.objects,
            place.objects_url,
            place.database,
            tables,
            place.keep_last,
            older_than,
        )
        plan.roots = find_roots(sources, place.forgotten, tell)
        for name, table in tables.items():
            _classify_table_files(table, objects_by_table[name][1], plan)
        for kind, item in _classified_contents(place.objects, plan):
            if kind is None:
                plan.keep("contents", item)
            else:
                plan.doom(kind, "objects", item)
        yield plan


def _tables(files: ObjectStore) -> dict[str, tuple[list[Stored], list[Stored]]]:
    """The log and the data files of each table. Folders without a log are no tables and are ignored."""
    tables: dict[str, tuple[list[Stored], list[Stored]]] = {}
    for item in holdings(files, "tables/"):
        name, _, path = item.key.removeprefix("tables/").partition("/")
        logs, data = tables.setdefault(name, ([], []))
        if path.startswith(LOG):
            logs.append(item)
        elif path.endswith(".parquet") and not any(part.startswith("_") for part in path.split("/")):
            data.append(item)
    return {name: (logs, data) for name, (logs, data) in tables.items() if logs}


def _classify_table_files(table: TableFiles, data: Sequence[Stored], plan: Plan) -> None:
    needed, listed = plan.roots.needed(table), {file.path for file in table.files}
    remaining = set()
    for item in data:
        path = item.key.removeprefix(f"tables/{table.name}/")
        is_there = item.is_latest and not item.is_marker
        if path in needed or item.last_modified >= plan.older_than:
            plan.keep("table files", item)
            remaining |= {path} if is_there else set()
        else:
            plan.doom((FILE if path in listed else STRAY) if is_there else HIDDEN, "lake", item)
    dropped = listed - remaining
    if dropped:
        plan.dropped[table.name] = RemovedVersions.of(table.spans(dropped))


def _classified_contents(store: ObjectStore, plan: Plan) -> Iterator[tuple[str | None, Stored]]:
    """Everything below `sha256/` with its kind of removal; None for objects that stay.

    S3 lists in pages; a folder's listing is in memory, so it is taken in 256 parts.
    """
    parts = [CONTENTS] if store.s3 else [f"{CONTENTS}{first:02x}/" for first in range(256)]
    items = (item for part in parts for item in holdings(store, part))
    for key, versions in groupby(items, key=lambda item: item.key):
        digest, same_key = digest_of(key), list(versions)
        current = next((item for item in same_key if item.is_latest), None)
        is_reached = digest is None or digest in plan.roots.contents
        for item in same_key:
            yield _kind(item, current, is_reached, plan.older_than), item


def _kind(item: Stored, current: Stored | None, is_reached: bool, older_than: datetime) -> str | None:
    if item.last_modified >= older_than:
        return None
    if not is_reached:
        return CONTENT if item is current and not item.is_marker else COPY
    # An old version with the same bytes is not needed; other bytes may serve to restore a damaged object.
    is_same = current is not None and not current.is_marker and (item.etag, item.size) == (current.etag, current.size)
    return COPY if item is not current and (is_same or (item.is_marker and current is not None)) else None


def carry_out(plan: Plan, place: Place, tell: Tell) -> Tally:
    """Remove the planned objects, except those rewritten since. Returns what was removed. Call within `exclusive`."""
    removed = Tally()
    delete_removal_lists(place.objects)
    for kind in place.forgotten:
        place.database.execute("delete from results where kind = %s", (kind,))
    for name, dropped in plan.dropped.items():
        _note(place.files, RemovedVersions.key(name), dropped.dumps())
    lines = track(plan, plan.total.objects, "Cleaning up", "objects", tell)
    for (store, _), group in groupby(lines, key=lambda line: (line["store"], line["key"].rpartition("/")[0])):
        for batch in _batches(group):
            items = [_stored(line) for line in batch]
            if store == "objects":
                removed_items = remove_contents(place.objects, items, plan.older_than)
            else:
                remove(place.files, items)
                removed_items = items
            for item in removed_items:
                removed.add(item)
    return removed


def _batches(lines: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for line in lines:
        batch.append(line)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _note(files: ObjectStore, key: str, data: bytes) -> None:
    try:
        if files.get(key) == data:
            return
    except NotFound:
        pass
    files.put(key, data)
