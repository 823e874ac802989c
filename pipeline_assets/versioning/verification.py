"""Whether a data set can be got back: every file in its store with the bytes that were pinned, every table with its rows."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import polars as pl
from deltalake.exceptions import DeltaError
from polars.exceptions import PolarsError

from pipeline_assets.cores import ahead
from pipeline_assets.progress import track
from pipeline_assets.versioning.contents import Pinned
from pipeline_assets.versioning.digest import condense, rows_digest
from pipeline_assets.versioning.fetching import RANGE_BYTES, ranges, read_large
from resources import ledger
from resources.errors import CorruptObject, NotFound, ObjectError, TableMissing

ASKERS = 16
PART_ROWS = 4_096
"""Rows with bulk columns that are held at once."""
NAMED = 1_000
"""So many faults are named; all are counted."""
RESTORE = "Restore the object from a backup or another version of it; what this data set names can't be had without it."
PIN_AGAIN = "Pin a current version instead, or restore the table's files from a backup."


@dataclass(frozen=True)
class Fault:
    """One thing amiss. what: a path of the manifest, or `table NAME`."""

    what: str
    key: str
    fault: str
    remedy: str


@dataclass
class Verdict:
    """What a verification found. faults: the first thousand, of `faulty` in all."""

    name: str
    identity: str
    quick: bool
    files: int = 0
    bytes: int = 0
    tables: dict[str, int] = field(default_factory=dict)
    faulty: int = 0
    faults: list[Fault] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is amiss."""
        return self.faulty == 0

    def add(self, fault: Fault) -> None:
        """Count a fault, and keep it if there are not too many."""
        self.faulty += 1
        if len(self.faults) < NAMED:
            self.faults.append(fault)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {"ok": self.ok, **asdict(self)}


@dataclass(frozen=True)
class Rules:
    """How a table's rows are digested: as `table_asset.Declaration` says."""

    columns: tuple[str, ...]
    key: tuple[str, ...]
    volatile: tuple[str, ...]
    bulk: tuple[str, ...]


def verify(pinned: Pinned, rules: dict[str, Rules], *, quick: bool, tell: Callable[[str], object] = print) -> Verdict:
    """Read all files and rows (quick: ask for each object's size, and read the rows), and say what is amiss.

    rules: of every table asset. Raises ManifestBroken and StoreUnavailable: nothing can be said of the files then.
    """
    found = Verdict(pinned.reference.name, pinned.reference.identity, quick)
    files = pinned.files
    steps = _sizes(pinned, files, found, tell) if quick else _contents(pinned, files, found, tell)
    for _ in steps:
        pass
    for name in track(pinned.reference.tables, len(pinned.reference.tables), "rows", "tables", tell):
        _table(pinned, name, rules.get(name), found)
    return found


def _sizes(pinned: Pinned, files: pl.DataFrame, found: Verdict, tell: Callable[[str], object]) -> Iterator[None]:
    """Ask for every object once: is it there, and as large as the files in it need?"""
    objects = files.group_by("store", "key", "version_id", maintain_order=True).agg(
        pl.col("path").first(),
        files=pl.len(),
        bytes=pl.col("size_bytes").sum(),
        end=(pl.col("offset").fill_null(0) + pl.col("size_bytes")).max(),
        is_whole=pl.col("offset").is_null().any(),
    )

    def ask(row: dict[str, Any]) -> tuple[dict[str, Any], ObjectError | None]:
        try:
            size = pinned.stores[row["store"]].head(row["key"], version_id=row["version_id"]).size
        except ObjectError as error:
            return row, error
        if size < row["end"] or (row["is_whole"] and size != row["end"]):
            return row, CorruptObject(row["key"], f"{row['key']} has {size:,} bytes, where {row['end']:,} were pinned.")
        return row, None

    with ThreadPoolExecutor(ASKERS, "head") as pool:
        asked = ahead(pool, ask, objects.iter_rows(named=True), 4 * ASKERS)
        for row, error in track(asked, objects.height, "verify", "objects", tell):
            found.files += row["files"]
            found.bytes += row["bytes"]
            if error:
                more = f" (and {row['files'] - 1:,} other files in the same object)" if row["files"] > 1 else ""
                found.add(Fault(row["path"], row["key"], _told(error) + more, RESTORE))
            yield


def _contents(pinned: Pinned, files: pl.DataFrame, found: Verdict, tell: Callable[[str], object]) -> Iterator[None]:
    """Read every content once, and hash it."""
    contents = files.unique(["sha256", "store", "key", "version_id", "offset"], keep="first", maintain_order=True)
    repeated = files.height - contents.height
    is_small = pl.col("size_bytes") < RANGE_BYTES
    small, large = contents.filter(is_small), contents.filter(~is_small)
    for row, data in track(pinned.read(small), small.height, "verify", "contents", tell):
        _judge(row, data if isinstance(data, ObjectError) else None, found)
        yield
    total = sum(map(ranges, large["size_bytes"]))
    read = read_large(pinned.stores, large.iter_rows(named=True))
    for one, outcome in track(read, total, "verify large files", "ranges of 8 MB", tell):
        if outcome is not False:
            _judge(one, outcome if isinstance(outcome, ObjectError) else None, found)
        yield
    found.files += repeated
    found.bytes = pinned.reference.manifest.bytes


def _judge(row: Mapping[str, Any], error: ObjectError | None, found: Verdict) -> None:
    found.files += 1
    if error:
        found.add(Fault(row["path"], row["key"], _told(error), RESTORE))


def _told(error: ObjectError) -> str:
    if isinstance(error, NotFound):
        return "the object is gone"
    return str(error).split(". The stored object")[0].rstrip(".")


def _table(pinned: Pinned, name: str, rules: Rules | None, found: Verdict) -> None:
    """Compare the digest of a table's rows with the pinned one."""
    table = pinned.reference.tables[name]
    what, key = f"table {name}", pinned.lake.uri(name)
    if rules is None:
        told = "this code has no such asset, so its rows can't be digested"
        found.add(Fault(what, key, told, "Verify with the code of the pinned commit."))
        return
    try:
        with pinned.lake.reached():
            days, rows = _digests(pinned, name, rules)
    except (TableMissing, DeltaError, PolarsError, OSError, ValueError) as error:
        found.add(Fault(what, key, f"version {table.version} can't be read: {str(error).splitlines()[0][:300]}", PIN_AGAIN))
        return
    found.tables[name] = rows
    if rows != table.rows:
        told = f"version {table.version} has {rows:,} rows in the pinned days, where {table.rows:,} were pinned"
        found.add(Fault(what, key, told, PIN_AGAIN))
    elif ledger.digest_of(days) != table.digest:
        told = f"the rows of version {table.version} are others than those that were pinned"
        found.add(Fault(what, key, told, f"{PIN_AGAIN} If the schema has changed since, verify with the pinned commit."))


def _digests(pinned: Pinned, name: str, rules: Rules) -> tuple[list[str], int]:
    """Each day of the pinned span with its rows' digest, as `table_pins.digest_of_days` joins them; and how many rows."""
    rows = pinned.rows(name)
    days = rows.select(pl.col("day").unique().sort()).collect(engine="streaming")["day"].to_list()
    names = [column for column in rules.columns if column in rows.collect_schema().names()]
    digests, count = [], 0
    for day in days:
        one = rows.filter(pl.col("day") == day).select(names)
        parts = one.collect_batches(chunk_size=PART_ROWS) if rules.bulk else [one.collect()]
        frame = pl.concat([condense(part, rules.bulk) for part in parts])
        digests.append(f"{day} {rows_digest(frame, rules.key, rules.volatile)}")
        count += frame.height
    return digests, count
