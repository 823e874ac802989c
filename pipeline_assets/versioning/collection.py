"""The clean-up: what the lake holds beside what `roots` keeps, and the removal of the rest.

Only `objects/sha256/` and the data files of `tables/` are ever looked at for removal: not logs of tables, not events, not
uploads. It can be killed at any moment: what it removes is reached by nothing, and the next call finds the rest. The order
is that of who names whom: rows of the results' index before their chunks; the note that an old version is gone before
the version's files. How it goes beside writers is in `resources/condemned.py`.
"""

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import IO, Any

from pipeline_assets.progress import track
from pipeline_assets.versioning.repository import Repository
from pipeline_assets.versioning.roots import Roots, Sources, digest_of, find_roots
from pipeline_assets.versioning.table_files import LOG, TableFiles, read_log
from resources.database import Database
from resources.dropped import Dropped
from resources.errors import AlreadyRunning, NotFound
from resources.lake import Lake
from resources.object_store import ObjectStore
from resources.removal import Stored, forget_condemned, holdings, remove, remove_contents

LOCK = "darkroom gc"
CONTENTS = "sha256/"
CONTENT, COPY = "contents that nothing names", "old versions of contents"
FILE, STRAY, HIDDEN = "files of dropped table versions", "files of no table version", "old versions of table files"
BATCH = 1_000

Tell = Callable[[str], object]


@dataclass
class Tally:
    """How many objects, and their bytes."""

    objects: int = 0
    bytes: int = 0

    def add(self, item: Stored) -> None:
        """Count one."""
        self.objects += 1
        self.bytes += item.size


@dataclass(frozen=True)
class Place:
    """What is cleaned up, and with which rules. objects: the store of contents; files: the whole lake, by key."""

    lake: Lake
    files: ObjectStore
    objects: ObjectStore
    objects_url: str
    postgres: Database
    repositories: tuple[Repository, ...]
    grace: timedelta = timedelta(hours=24)
    keep_last: int = 1
    forgotten: tuple[str, ...] = ()


@dataclass
class Plan:
    """What is to go, by kind, each object a line of `lines`; and what stays. older_than: nothing younger goes."""

    older_than: datetime
    lines: IO[str]
    doomed: dict[str, Tally] = field(default_factory=dict)
    kept: dict[str, Tally] = field(default_factory=dict)
    dropped: dict[str, Dropped] = field(default_factory=dict)
    roots: Roots = field(default_factory=Roots)

    @property
    def total(self) -> Tally:
        """All that is to go."""
        return Tally(sum(t.objects for t in self.doomed.values()), sum(t.bytes for t in self.doomed.values()))

    def keep(self, kind: str, item: Stored) -> None:
        """Count what stays."""
        self.kept.setdefault(kind, Tally()).add(item)

    def doom(self, kind: str, store: str, item: Stored) -> None:
        """Enter what is to go."""
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
def alone(postgres: Database) -> Iterator[None]:
    """Be the only clean-up for the length of a block. Raises AlreadyRunning."""
    with postgres.lock(LOCK) as is_mine:
        if not is_mine:
            raise AlreadyRunning("Another `darkroom gc` is at work on this database: let it finish.")
        yield


@contextmanager
def planned(place: Place, now: datetime | None = None, tell: Tell = lambda _: None) -> Iterator[Plan]:
    """What is to go and what stays, as of now. Nothing is changed. Raises as `roots.find_roots`."""
    moment = now or datetime.now(UTC)  # before anything is read: see resources/condemned.py
    older_than = moment - place.grace
    with tempfile.TemporaryFile("w+", encoding="utf-8") as lines:
        plan = Plan(older_than, lines)
        listed = _tables(place.files)
        tables = {name: read_log(name, found[0], place.files, place.lake) for name, found in listed.items()}
        sources = Sources(
            place.repositories,
            place.lake,
            place.files,
            place.objects,
            place.objects_url,
            place.postgres,
            tables,
            place.keep_last,
            older_than,
        )
        plan.roots = find_roots(sources, place.forgotten, tell)
        for name, table in tables.items():
            _judge_table(table, listed[name][1], plan)
        for kind, item in _judged_contents(place.objects, plan):
            if kind is None:
                plan.keep("contents", item)
            else:
                plan.doom(kind, "objects", item)
        yield plan


def _tables(files: ObjectStore) -> dict[str, tuple[list[Stored], list[Stored]]]:
    """What lies in each table: its log, and its data files. What has no log is no table, and is left."""
    found: dict[str, tuple[list[Stored], list[Stored]]] = {}
    for item in holdings(files, "tables/"):
        name, _, path = item.key.removeprefix("tables/").partition("/")
        logs, data = found.setdefault(name, ([], []))
        if path.startswith(LOG):
            logs.append(item)
        elif path.endswith(".parquet") and not any(part.startswith("_") for part in path.split("/")):
            data.append(item)
    return {name: (logs, data) for name, (logs, data) in found.items() if logs}


def _judge_table(table: TableFiles, data: Sequence[Stored], plan: Plan) -> None:
    needed, known = plan.roots.needed(table), {file.path for file in table.files}
    left = set()
    for item in data:
        path = item.key.removeprefix(f"tables/{table.name}/")
        is_there = item.is_latest and not item.is_marker
        if path in needed or item.last_modified >= plan.older_than:
            plan.keep("table files", item)
            left |= {path} if is_there else set()
        else:
            plan.doom((FILE if path in known else STRAY) if is_there else HIDDEN, "lake", item)
    gone = known - left
    if gone:
        plan.dropped[table.name] = Dropped.of(table.spans(gone))


def _judged_contents(store: ObjectStore, plan: Plan) -> Iterator[tuple[str | None, Stored]]:
    """Everything below `sha256/` with the kind as which it goes; None for what stays.

    S3 lists page by page; a folder's listing is held whole, so it is taken in 256 parts.
    """
    parts = [CONTENTS] if store.s3 else [f"{CONTENTS}{first:02x}/" for first in range(256)]
    found = (item for part in parts for item in holdings(store, part))
    for key, versions in groupby(found, key=lambda item: item.key):
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
    # Of what is reached, the same bytes once more are not needed; others may be what a damaged object is restored from.
    is_same = current is not None and not current.is_marker and (item.etag, item.size) == (current.etag, current.size)
    return COPY if item is not current and (is_same or (item.is_marker and current is not None)) else None


def carry_out(plan: Plan, place: Place, tell: Tell) -> Tally:
    """Remove what was planned, but for what has become younger since. Returns what was removed. Within `alone`."""
    removed = Tally()
    forget_condemned(place.objects)
    for kind in place.forgotten:
        place.postgres.execute("delete from results where kind = %s", (kind,))
    for name, dropped in plan.dropped.items():
        _note(place.files, Dropped.key(name), dropped.dumps())
    lines = track(plan, plan.total.objects, "Cleaning up", "objects", tell)
    for (store, _), group in groupby(lines, key=lambda line: (line["store"], line["key"].rpartition("/")[0])):
        for batch in _batches(group):
            doomed = [_stored(line) for line in batch]
            if store == "objects":
                gone = remove_contents(place.objects, doomed, plan.older_than)
            else:
                remove(place.files, doomed)
                gone = doomed
            for item in gone:
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
