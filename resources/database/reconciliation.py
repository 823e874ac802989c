"""Compares all versions in the uploads bucket with the ledger: enters missing ones, and records changes.

Listing and queue are quick, but can miss a version that was overwritten between two ticks, an event that was never sent, or
a deletion. This walk finds every version that exists while it passes. Each step is one transaction that also stores the
position, so that a killed walk continues there. A deletion removes no row of the ledger: it is a row of `object_fates`.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from datetime import date, timedelta
from itertools import groupby
from typing import Any

from resources.database import seen_objects
from resources.database.contract import Database, Transaction, Twin
from resources.database.rejects import keep_rejects, reject_of, why_unstorable
from resources.errors import AlreadyRunning, NotFound, ObjectError
from resources.objects import s3
from resources.objects.bucket_walk import ObjectVersion
from resources.objects.resource import Objects
from resources.objects.store import ObjectInfo, ObjectStore
from resources.objects.version_ids import HEADS_AT_ONCE

STEP_VERSIONS = 5_000
CANDIDATES = 1_000
RESUME_WITHIN = timedelta(hours=12)
DayOf = Callable[[ObjectInfo], date]


@dataclass(frozen=True)
class Totals:
    """The counts of a walk. listed: versions in the bucket; entered: versions that the ledger did not have.

    Changes of known versions: overwritten by a newer one; deleted, hidden behind a delete marker; gone, no longer in the
    bucket; restored, current again.
    """

    listed: int = 0
    entered: int = 0
    overwritten: int = 0
    deleted: int = 0
    gone: int = 0
    restored: int = 0

    def __str__(self) -> str:
        return (
            f"{self.listed:,} versions listed: {self.entered:,} entered the ledger, {self.overwritten:,} were overwritten, "
            f"{self.deleted:,} deleted, {self.gone:,} are gone for good, {self.restored:,} current again"
        )


@dataclass(frozen=True)
class _Walk:
    """A walk with its row of `reconciliations`. dry_run: only count."""

    database: Database
    uploads: Objects
    walk_id: int
    place: str | None
    dry_run: bool


def reconcile(
    database: Database,
    uploads: Objects,
    prefix: str,
    day_of: DayOf,
    *,
    dry_run: bool = False,
    step_versions: int = STEP_VERSIONS,
    tell: Callable[[Totals], object] = lambda totals: None,
) -> Totals:
    """Walk all versions below `prefix`, and update the ledger. A killed walk continues.

    dry_run: count, and change nothing. tell: called with the totals after each step. Raises AlreadyRunning if another
    process walks the same bucket; after an error of the store the walk can continue.
    """
    with database.lock(f"reconcile {uploads.bucket}") as is_mine:
        if not is_mine:
            raise AlreadyRunning(f"{uploads.bucket} is being reconciled already: wait until that is done.")
        walk = _open_walk(database, uploads, dry_run)
        for keys in _steps(_storable(walk, _versions(uploads, prefix, walk.place)), step_versions):
            tell(_take(walk, keys, day_of))
        return _finish(walk, tell)


def last_walk(database: Database, bucket: str) -> dict[str, Any] | None:
    """The end (finished_at) and counts of the last complete walk of the bucket; None if there was none."""
    rows = database.read(
        "select finished_at, listed, entered, overwritten, deleted, gone, restored from reconciliations "
        "where bucket = $1 and not is_dry_run and finished_at is not null order by reconciliation_id desc limit 1",
        (bucket,),
    )
    return rows.row(0, named=True) if rows.height else None


def _open_walk(database: Database, uploads: Objects, dry_run: bool) -> _Walk:
    """The last unfinished walk, if its listed versions are still stored; otherwise a new one."""
    with database.connect() as transaction:
        rows = transaction.rows(_STOPPED_WALK, (uploads.bucket, dry_run, RESUME_WITHIN))
        if not rows:
            transaction.execute(
                "delete from reconciled where reconciliation_id in "
                "(select reconciliation_id from reconciliations where bucket = %s)",
                (uploads.bucket,),
            )
            rows = transaction.rows(
                "insert into reconciliations (bucket, is_dry_run) values (%s, %s) returning reconciliation_id, place",
                (uploads.bucket, dry_run),
            )
        return _Walk(database, uploads, rows[0][0], rows[0][1], dry_run)


_STOPPED = """
select reconciliation_id, place from reconciliations w
where bucket = %s and is_dry_run = %s and finished_at is null and started_at > {since}
and exists (select 1 from reconciled r where r.reconciliation_id = w.reconciliation_id)
order by reconciliation_id desc limit 1
"""
_STOPPED_WALK = Twin(postgres=_STOPPED.format(since="now() - %s"), sqlite=_STOPPED.format(since="ago(%s)"))


def _versions(uploads: Objects, prefix: str, after: str | None) -> Iterator[ObjectVersion]:
    """All versions below a prefix, grouped by key, newest first. A folder has one version for each key."""
    access = uploads.store.s3
    if access is None:
        for info in uploads.store.list(prefix, start_after=after):
            yield ObjectVersion(info.key, "null", info.etag, info.size, info.last_modified, True, False)
        return
    yield from s3.list_versions(
        access.client, access.bucket, access.full(prefix), start_after=access.full(after) if after else None
    )


def _storable(walk: _Walk, versions: Iterator[ObjectVersion]) -> Iterator[ObjectVersion]:
    """The versions whose keys the ledger can store; the others become rejects."""
    for version in versions:
        reason = why_unstorable(version.key)
        if reason is None:
            yield version
        elif not walk.dry_run:
            keep_rejects(walk.database, f"listing of {walk.uploads.bucket}", [reject_of(version.key, reason)])


def _steps(versions: Iterator[ObjectVersion], size: int) -> Iterator[list[list[ObjectVersion]]]:
    """Keys with all their versions, in steps of about `size` versions."""
    step: list[list[ObjectVersion]] = []
    size_so_far = 0
    for _, of_key in groupby(versions, key=lambda version: version.key):
        step.append(list(of_key))
        size_so_far += len(step[-1])
        if size_so_far >= size:
            yield step
            step, size_so_far = [], 0
    if step:
        yield step


def _take(walk: _Walk, keys: Sequence[Sequence[ObjectVersion]], day_of: DayOf) -> Totals:
    """One step: enter missing versions, record changes, and store listed versions and position."""
    root = walk.uploads.store.s3.full("") if walk.uploads.store.s3 else ""
    objects: list[seen_objects.SeenObject] = []
    fates: list[tuple[str, str, str]] = []
    for versions in keys:
        latest = next((version for version in versions if version.is_latest), None)
        for version in versions:
            if version.is_delete_marker:
                continue
            row = _ledger_row(walk.uploads.bucket, version, root, day_of)
            objects.append(row)
            if latest is not None:
                hidden = "deleted" if latest.is_delete_marker else "overwritten"
                fates.append((row.key, row.version_id, "current" if version is latest else hidden))
    with walk.database.connect() as transaction:
        entered = len(seen_objects.add_in(transaction, objects))
        changed = _add_fates(transaction, walk.uploads.bucket, fates)
        if walk.dry_run:
            transaction.rollback()
    place = keys[-1][0].key.removeprefix(root)
    counts = {"listed": len(objects), "entered": entered, **changed}
    return _remember(walk, [(row.key, row.version_id) for row in objects], counts, place)


def _ledger_row(bucket: str, version: ObjectVersion, root: str, day_of: DayOf) -> seen_objects.SeenObject:
    key = version.key.removeprefix(root)
    info = ObjectInfo(key, version.size, version.etag, version.version_id, version.last_modified)
    return seen_objects.seen_object(bucket, info, day_of(info))


def _add_fates(transaction: Transaction, bucket: str, fates: Sequence[tuple[str, str, str]]) -> dict[str, int]:
    """Record the fates of versions that have changed. Returns the number of each, by the names of `Totals`."""
    if not fates:
        return {}
    added = transaction.insert(
        "with f (bucket, key, version_id, fate) as (values %s) insert into object_fates (bucket, key, version_id, fate) "
        "select f.* from f where f.fate <> coalesce((select o.fate from object_fates o where "
        "(o.bucket, o.key, o.version_id) = (f.bucket, f.key, f.version_id) order by o.fate_id desc limit 1), 'current') "
        "returning fate",
        sorted({(bucket, *fate) for fate in fates}),
    )
    names = ["restored" if fate == "current" else fate for (fate,) in added]
    return {fate: names.count(fate) for fate in set(names)}


def _remember(walk: _Walk, listed: Sequence[tuple[str, str]], counts: dict[str, int], place: str | None) -> Totals:
    """Write down what a step has done. Returns the walk's totals."""
    names = [field.name for field in fields(Totals)]
    sums = ", ".join(f"{name} = {name} + %s" for name in names)
    with walk.database.connect() as transaction:
        transaction.insert(
            "insert into reconciled (reconciliation_id, key, version_id) values %s on conflict do nothing",
            [(walk.walk_id, *version) for version in listed],
        )
        (totals,) = transaction.rows(
            f"update reconciliations set place = coalesce(%s, place), {sums} "  # noqa: S608  constants of this file
            f"where reconciliation_id = %s returning {', '.join(names)}",
            (place, *(counts.get(name, 0) for name in names), walk.walk_id),
        )
        return Totals(*totals)


def _finish(walk: _Walk, tell: Callable[[Totals], object]) -> Totals:
    """Check the versions of the ledger that the walk has not listed, and finish the walk."""
    after = ("", "")
    while candidates := _not_met(walk, after):
        after = candidates[-1]
        with ThreadPoolExecutor(HEADS_AT_ONCE) as pool:
            is_present = list(pool.map(lambda version: _is_there(walk.uploads.store, *version), candidates))
        missing = [
            (*version, "gone") for version, still_there in zip(candidates, is_present, strict=True) if not still_there
        ]
        with walk.database.connect() as transaction:
            changed = _add_fates(transaction, walk.uploads.bucket, missing)
            if walk.dry_run:
                transaction.rollback()
        tell(_remember(walk, [], changed, None))
    totals = _remember(walk, [], {}, None)
    with walk.database.connect() as transaction:
        transaction.execute("delete from reconciled where reconciliation_id = %s", (walk.walk_id,))
        transaction.execute(
            "update reconciliations set finished_at = clock_timestamp() where reconciliation_id = %s", (walk.walk_id,)
        )
    return totals


def _not_met(walk: _Walk, after: tuple[str, str]) -> list[tuple[str, str]]:
    """Versions that were in the ledger before the walk began and that it has not listed, by key."""
    return [
        (key, version_id)
        for key, version_id in walk.database.rows(_NOT_MET, (walk.walk_id, walk.uploads.bucket, *after, CANDIDATES))
    ]


_NOT_MET = """
select o.key, o.version_id from objects o
join reconciliations w on w.reconciliation_id = %s
left join reconciled r on (r.reconciliation_id, r.key, r.version_id) = (w.reconciliation_id, o.key, o.version_id)
where o.bucket = %s and o.seen_at < w.started_at and (o.key, o.version_id) > (%s, %s) and r.key is null
and 'gone' <> coalesce((
    select f.fate from object_fates f
    where (f.bucket, f.key, f.version_id) = (o.bucket, o.key, o.version_id) order by f.fate_id desc limit 1
), 'current')
order by o.key, o.version_id limit %s
"""


def _is_there(store: ObjectStore, key: str, version_id: str) -> bool:
    """Whether the store still has this version. One that can't be read, but may exist, does not count as gone."""
    try:
        store.head(key, version_id=version_id)
    except NotFound:
        return False
    except ObjectError:
        return True
    return True
