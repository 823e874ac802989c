"""Verifies that a data set is intact: every file has its pinned bytes in a store, every table its pinned rows."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import polars as pl
from deltalake.exceptions import DeltaError
from polars.exceptions import PolarsError

from pipeline_assets.framework.digest import condense, rows_digest
from pipeline_assets.runtime.progress import track
from pipeline_assets.versioning.checkout.fetching import RANGE_BYTES, ranges, read_large
from pipeline_assets.versioning.pin.contents import Pinned
from pipeline_assets.versioning.pin.presence import check_presence, objects_of
from resources.database import ledger
from resources.errors import NotFound, ObjectError, TableMissing

PART_ROWS = 4_096
"""Rows with bulk columns in memory at once."""
NAMED = 1_000
"""Limit of listed faults; all are counted."""
RESTORE = "Restore the object from a backup or another version of it; this data set is incomplete without it."
PIN_AGAIN = "Pin a current version instead, or restore the table's files from a backup."


@dataclass(frozen=True)
class Fault:
    """One fault. what: a path of the manifest, or `table NAME`."""

    what: str
    key: str
    fault: str
    remedy: str


@dataclass
class Verdict:
    """The result of a verification. faults: the first thousand of `faulty` in all."""

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
        """Whether there is no fault."""
        return self.faulty == 0

    def add(self, fault: Fault) -> None:
        """Count a fault, and list it up to the limit."""
        self.faulty += 1
        if len(self.faults) < NAMED:
            self.faults.append(fault)

    def plain(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {"ok": self.ok, **asdict(self)}


@dataclass(frozen=True)
class Rules:
    """How a table's rows are digested, from its declaration."""

    columns: tuple[str, ...]
    key: tuple[str, ...]
    volatile: tuple[str, ...]
    bulk: tuple[str, ...]


def verify(pinned: Pinned, rules: dict[str, Rules], *, quick: bool, tell: Callable[[str], object] = print) -> Verdict:
    """Read all files and rows (quick: check each object's size, and read the rows), and report faults.

    rules: by table asset. Raises ManifestBroken and StoreUnavailable, when the state of the files is unknown.
    """
    verdict = Verdict(pinned.reference.name, pinned.reference.identity, quick)
    files = pinned.files
    steps = _sizes(pinned, files, verdict, tell) if quick else _contents(pinned, files, verdict, tell)
    for _ in steps:
        pass
    for name in track(pinned.reference.tables, len(pinned.reference.tables), "rows", "tables", tell):
        _table(pinned, name, rules.get(name), verdict)
    if pinned.reference.asset in rules and verdict.ok:
        _selection(pinned, rules[pinned.reference.asset], verdict)
    return verdict


def _sizes(pinned: Pinned, files: pl.DataFrame, verdict: Verdict, tell: Callable[[str], object]) -> Iterator[None]:
    """Check for every object that it exists with the size that its files need."""
    objects = objects_of(files)
    for row, error in track(check_presence(objects, pinned.stores), objects.height, "verify", "objects", tell):
        verdict.files += row["files"]
        verdict.bytes += row["bytes"]
        if error:
            suffix = f" (and {row['files'] - 1:,} other files in the same object)" if row["files"] > 1 else ""
            verdict.add(Fault(row["path"], row["key"], _fault_text(error) + suffix, RESTORE))
        yield


def _contents(pinned: Pinned, files: pl.DataFrame, verdict: Verdict, tell: Callable[[str], object]) -> Iterator[None]:
    """Read every content once, and hash it."""
    contents = files.unique(["sha256", "store", "key", "version_id", "offset"], keep="first", maintain_order=True)
    repeated = files.height - contents.height
    is_small = pl.col("size_bytes") < RANGE_BYTES
    small, large = contents.filter(is_small), contents.filter(~is_small)
    for row, data in track(pinned.read(small), small.height, "verify", "contents", tell):
        _judge(row, data if isinstance(data, ObjectError) else None, verdict)
        yield
    total = sum(map(ranges, large["size_bytes"]))
    outcomes = read_large(pinned.stores, large.iter_rows(named=True), others=pinned.others_of)
    for large_row, outcome in track(outcomes, total, "verify large files", "ranges of 8 MB", tell):
        if outcome is not False:
            _judge(large_row, outcome if isinstance(outcome, ObjectError) else None, verdict)
        yield
    verdict.files += repeated
    verdict.bytes = pinned.reference.manifest.bytes


def _judge(row: Mapping[str, Any], error: ObjectError | None, verdict: Verdict) -> None:
    verdict.files += 1
    if error:
        verdict.add(Fault(row["path"], row["key"], _fault_text(error), RESTORE))


def _fault_text(error: ObjectError) -> str:
    if isinstance(error, NotFound):
        return "the object is gone"
    return str(error).split(". The stored object")[0].rstrip(".")


def _table(pinned: Pinned, name: str, rules: Rules | None, verdict: Verdict) -> None:
    """Compare the digest of a table's rows with the pinned one."""
    table = pinned.reference.tables[name]
    what, key = f"table {name}", pinned.lake.uri(name)
    if rules is None:
        fault = "this code has no such asset, so its rows can't be digested"
        verdict.add(Fault(what, key, fault, "Verify with the code of the pinned commit."))
        return
    try:
        with pinned.lake.reached():
            days, rows = _digests(pinned.rows(name), rules)
    except (TableMissing, DeltaError, PolarsError, OSError, ValueError) as error:
        verdict.add(
            Fault(what, key, f"version {table.version} can't be read: {str(error).splitlines()[0][:300]}", PIN_AGAIN)
        )
        return
    verdict.tables[name] = rows
    if rows != table.rows:
        fault = f"version {table.version} has {rows:,} rows in the pinned days, where {table.rows:,} were pinned"
        verdict.add(Fault(what, key, fault, PIN_AGAIN))
    elif ledger.digest_of(days) != table.digest:
        fault = f"the rows of version {table.version} differ from the pinned ones"
        verdict.add(Fault(what, key, fault, f"{PIN_AGAIN} If the schema has changed since, verify with the pinned commit."))


def _selection(pinned: Pinned, rules: Rules, verdict: Verdict) -> None:
    """Compare the rows that the condition selects now with those that it selected."""
    selection = pinned.reference.selection
    if selection is None:
        return
    with pinned.lake.reached():
        days, rows = _digests(pinned.rows(), rules)
    if rows != selection.rows or ledger.digest_of(days) != selection.digest:
        fault = f"it selects {rows:,} rows, which are not the {selection.rows:,} that were pinned"
        verdict.add(
            Fault("the condition", selection.where[:200], fault, "Use the code and the Polars of the pinned commit.")
        )


def _digests(rows: pl.LazyFrame, rules: Rules) -> tuple[list[str], int]:
    """Each day of these rows with its digest, as `day_digests.digest_of_days` joins them; and the row count."""
    days = rows.select(pl.col("day").unique().sort()).collect(engine="streaming")["day"].to_list()
    names = [column for column in rules.columns if column in rows.collect_schema().names()]
    digests, count = [], 0
    for day in days:
        day_rows = rows.filter(pl.col("day") == day).select(names)
        parts = day_rows.collect_batches(chunk_size=PART_ROWS) if rules.bulk else [day_rows.collect()]
        frame = pl.concat([condense(part, rules.bulk) for part in parts])
        digests.append(f"{day} {rows_digest(frame, rules.key, rules.volatile)}")
        count += frame.height
    return digests, count
