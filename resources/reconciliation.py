"""A walk through all versions of the uploads bucket, beside the ledger: what was missed enters, what changed is recorded.

Listing and queue are quick, and each may miss something: a version that was overwritten between two ticks, an event that
was never sent, an object that was deleted. The walk misses nothing that is there when it comes by. It goes in steps, each
in one transaction with its place, so that a killed walk goes on where it was. A deletion removes no row of the ledger: it
is a fact of its own, in `object_fates`.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from datetime import date, timedelta
from itertools import groupby
from typing import Any

from resources import ledger, s3
from resources.bucket_walk import ObjectVersion
from resources.database import Database, Transaction, Twin
from resources.errors import AlreadyRunning, NotFound, ObjectError
from resources.object_store import ObjectInfo, ObjectStore
from resources.objects import Objects
from resources.version_ids import HEADS_AT_ONCE

STEP_VERSIONS = 5_000
CANDIDATES = 1_000
RESUME_WITHIN = timedelta(hours=12)
DayOf = Callable[[ObjectInfo], date]


@dataclass(frozen=True)
class Totals:
    """What a walk has found so far. listed: versions; the others: versions that the ledger did not have, or knew otherwise.

    overwritten: there is a newer one; deleted: hidden behind a delete marker; gone: not in the bucket any more;
    restored: current again.
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
    """One row of `reconciliations`, and whether what it finds is only counted."""

    postgres: Database
    uploads: Objects
    walk_id: int
    place: str | None
    dry_run: bool


def reconcile(
    postgres: Database,
    uploads: Objects,
    prefix: str,
    day_of: DayOf,
    *,
    dry_run: bool = False,
    step_versions: int = STEP_VERSIONS,
    tell: Callable[[Totals], object] = lambda totals: None,
) -> Totals:
    """Walk all versions below `prefix`, and bring the ledger to what is there. A walk that was killed goes on.

    dry_run: count, and change nothing. tell: gets the totals after each step. Raises AlreadyRunning if another process
    walks the same bucket; errors of the store leave the walk where it is.
    """
    with postgres.lock(f"reconcile {uploads.bucket}") as is_mine:
        if not is_mine:
            raise AlreadyRunning(f"{uploads.bucket} is being reconciled already: wait until that is done.")
        walk = _open_walk(postgres, uploads, dry_run)
        for keys in _steps(_versions(uploads, prefix, walk.place), step_versions):
            tell(_take(walk, keys, day_of))
        return _finish(walk, tell)


def last_walk(postgres: Database, bucket: str) -> dict[str, Any] | None:
    """When the bucket was last walked to the end (finished_at), and what was found; none if it never was."""
    rows = postgres.read(
        "select finished_at, listed, entered, overwritten, deleted, gone, restored from reconciliations "
        "where bucket = $1 and not is_dry_run and finished_at is not null order by reconciliation_id desc limit 1",
        (bucket,),
    )
    return rows.row(0, named=True) if rows.height else None


def _open_walk(postgres: Database, uploads: Objects, dry_run: bool) -> _Walk:
    """The walk that was killed, if what it has listed is still known; else a new one."""
    with postgres.connect() as transaction:
        found = transaction.rows(_STOPPED_WALK, (uploads.bucket, dry_run, RESUME_WITHIN))
        if not found:
            transaction.execute(
                "delete from reconciled where reconciliation_id in "
                "(select reconciliation_id from reconciliations where bucket = %s)",
                (uploads.bucket,),
            )
            found = transaction.rows(
                "insert into reconciliations (bucket, is_dry_run) values (%s, %s) returning reconciliation_id, place",
                (uploads.bucket, dry_run),
            )
        return _Walk(postgres, uploads, found[0][0], found[0][1], dry_run)


_STOPPED = """
select reconciliation_id, place from reconciliations w
where bucket = %s and is_dry_run = %s and finished_at is null and started_at > {since}
and exists (select 1 from reconciled r where r.reconciliation_id = w.reconciliation_id)
order by reconciliation_id desc limit 1
"""
_STOPPED_WALK = Twin(postgres=_STOPPED.format(since="now() - %s"), sqlite=_STOPPED.format(since="ago(%s)"))


def _versions(uploads: Objects, prefix: str, after: str | None) -> Iterator[ObjectVersion]:
    """All versions below a prefix, those of a key together, newest first. A folder has one of each key."""
    access = uploads.store.s3
    if access is None:
        for info in uploads.store.list(prefix, start_after=after):
            yield ObjectVersion(info.key, "null", info.etag, info.size, info.last_modified, True, False)
        return
    yield from s3.list_versions(
        access.client, access.bucket, access.full(prefix), start_after=access.full(after) if after else None
    )


def _steps(versions: Iterator[ObjectVersion], size: int) -> Iterator[list[list[ObjectVersion]]]:
    """Whole keys, each with all its versions, in steps of about so many versions."""
    step: list[list[ObjectVersion]] = []
    held = 0
    for _, of_key in groupby(versions, key=lambda version: version.key):
        step.append(list(of_key))
        held += len(step[-1])
        if held >= size:
            yield step
            step, held = [], 0
    if step:
        yield step


def _take(walk: _Walk, keys: Sequence[Sequence[ObjectVersion]], day_of: DayOf) -> Totals:
    """One step: enter what is missing, record what has changed, remember what was listed and how far the walk is."""
    root = walk.uploads.store.s3.full("") if walk.uploads.store.s3 else ""
    seen: list[ledger.SeenObject] = []
    fates: list[tuple[str, str, str]] = []
    for versions in keys:
        latest = next((version for version in versions if version.is_latest), None)
        for version in versions:
            if version.is_delete_marker:
                continue
            row = _ledger_row(walk.uploads.bucket, version, root, day_of)
            seen.append(row)
            if latest is not None:
                hidden = "deleted" if latest.is_delete_marker else "overwritten"
                fates.append((row.key, row.version_id, "current" if version is latest else hidden))
    with walk.postgres.connect() as transaction:
        entered = len(ledger.add_in(transaction, seen))
        changed = _add_fates(transaction, walk.uploads.bucket, fates)
        if walk.dry_run:
            transaction.rollback()
    place = keys[-1][0].key.removeprefix(root)
    counts = {"listed": len(seen), "entered": entered, **changed}
    return _remember(walk, [(row.key, row.version_id) for row in seen], counts, place)


def _ledger_row(bucket: str, version: ObjectVersion, root: str, day_of: DayOf) -> ledger.SeenObject:
    key = version.key.removeprefix(root)
    info = ObjectInfo(key, version.size, version.etag, version.version_id, version.last_modified)
    return ledger.seen_object(bucket, info, day_of(info))


def _add_fates(transaction: Transaction, bucket: str, fates: Sequence[tuple[str, str, str]]) -> dict[str, int]:
    """Record what became of versions where that is news. Returns how many of each, by the names of `Totals`."""
    if not fates:
        return {}
    added = transaction.insert(
        "with f (bucket, key, version_id, fate) as (values %s) insert into object_fates (bucket, key, version_id, fate) "
        "select f.* from f where f.fate <> coalesce((select o.fate from object_fates o where "
        "(o.bucket, o.key, o.version_id) = (f.bucket, f.key, f.version_id) order by o.fate_id desc limit 1), 'current') "
        "returning fate",
        sorted({(bucket, *fate) for fate in fates}),
    )
    told = ["restored" if fate == "current" else fate for (fate,) in added]
    return {fate: told.count(fate) for fate in set(told)}


def _remember(walk: _Walk, listed: Sequence[tuple[str, str]], counts: dict[str, int], place: str | None) -> Totals:
    """Write down what a step has done. Returns the walk's totals."""
    names = [field.name for field in fields(Totals)]
    sums = ", ".join(f"{name} = {name} + %s" for name in names)
    with walk.postgres.connect() as transaction:
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
    """Look for what the ledger has and the walk did not meet, and close the walk."""
    after = ("", "")
    while candidates := _not_met(walk, after):
        after = candidates[-1]
        with ThreadPoolExecutor(HEADS_AT_ONCE) as pool:
            there = list(pool.map(lambda found: _is_there(walk.uploads.store, *found), candidates))
        gone = [(*found, "gone") for found, is_there in zip(candidates, there, strict=True) if not is_there]
        with walk.postgres.connect() as transaction:
            changed = _add_fates(transaction, walk.uploads.bucket, gone)
            if walk.dry_run:
                transaction.rollback()
        tell(_remember(walk, [], changed, None))
    totals = _remember(walk, [], {}, None)
    with walk.postgres.connect() as transaction:
        transaction.execute("delete from reconciled where reconciliation_id = %s", (walk.walk_id,))
        transaction.execute(
            "update reconciliations set finished_at = clock_timestamp() where reconciliation_id = %s", (walk.walk_id,)
        )
    return totals


def _not_met(walk: _Walk, after: tuple[str, str]) -> list[tuple[str, str]]:
    """Versions that the ledger had before the walk began, and that the walk has not listed, by key."""
    return [
        (key, version_id)
        for key, version_id in walk.postgres.rows(_NOT_MET, (walk.walk_id, walk.uploads.bucket, *after, CANDIDATES))
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
    """Whether the store still has this version. One that it will not tell of is not taken for gone."""
    wanted = ledger.readable_version(version_id)
    try:
        info = store.head(key, version_id=wanted)
    except NotFound:
        return False
    except ObjectError:
        return True
    return wanted is not None or f"etag-{info.etag}" == version_id
