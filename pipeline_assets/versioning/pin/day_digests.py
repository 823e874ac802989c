"""Digests of the rows of a table's days at one version: from the ledger where it has them, else from the rows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from pipeline_assets.framework.declaration import DECLARATIONS, Declaration
from pipeline_assets.framework.digest import condense, rows_digest
from pipeline_assets.framework.validation import PART_ROWS
from pipeline_assets.versioning.pin.reference import TableVersion
from resources.database import ledger
from resources.database.contract import Database
from resources.lake.lake import Lake

COLUMNS = pl.Schema({"day": pl.Date, "rows": pl.Int64, "digest": pl.String})


@dataclass(frozen=True)
class Days:
    """Days of a table at a version, ascending, without empty days: day, rows, digest."""

    version: int
    days: pl.DataFrame

    @property
    def table(self) -> TableVersion:
        """The days as an entry of a reference; there must be at least one."""
        first, last = self.days["day"][0], self.days["day"][-1]
        return TableVersion(
            version=self.version, first_day=first, last_day=last, rows=int(self.days["rows"].sum()), digest=self.digest
        )

    @property
    def digest(self) -> str:
        """One digest over all days."""
        return digest_of_days(self.days.select("day", "digest").iter_rows())


def digest_of_days(days: Iterable[tuple[date, str]]) -> str:
    """One digest over ascending days, each with the digest of its rows."""
    return ledger.digest_of(f"{day} {digest}" for day, digest in days)


def newest(lake: Lake, database: Database, asset: str, first: date, last: date) -> Days:
    """The days of the newest version.

    A run may be writing: the version is read first and never changes. Where the ledger's newest entry of a day belongs to
    another version (begun and not recorded, or recorded since), the rows themselves are read.
    """
    if (table := lake.find(asset)) is None:
        return Days(-1, pl.DataFrame(schema=COLUMNS))
    existing_days = [date.fromisoformat(partition["day"]) for partition in table.partitions()]
    days = pl.DataFrame({"day": [day for day in existing_days if first <= day <= last]}, schema={"day": pl.Date}).sort("day")
    recorded = ledger.latest(database, [asset], first, last).filter(
        (pl.col("digest") != "") & (pl.col("delta_version") <= table.version())
    )
    digests = days.join(recorded.select(COLUMNS.names()), on="day", how="left")
    unrecorded_days = digests.filter(pl.col("digest").is_null())["day"].to_list()
    read_days = recounted(lake, asset, unrecorded_days, table.version())
    days = pl.concat([digests.filter(pl.col("digest").is_not_null()), read_days]).filter(pl.col("rows") > 0).sort("day")
    return Days(table.version(), days)


def recounted(lake: Lake, asset: str, days: Sequence[date], version: int) -> pl.DataFrame:
    """Days of a table at a version, digested from their rows: day, rows, digest. Bulk columns are read in parts."""
    declaration = DECLARATIONS[asset]
    digests = [(day, *_recount(lake.scan(asset, [day], version), declaration)) for day in days]
    return pl.DataFrame(digests, schema=COLUMNS, orient="row")


def recounted_selection(rows: pl.LazyFrame, declaration: Declaration) -> tuple[int, str]:
    """How many rows these are, and one digest over their days."""
    days = rows.select(pl.col("day").unique().sort()).collect(engine="streaming")["day"].to_list()
    digests = [(day, *_recount(rows.filter(pl.col("day") == day), declaration)) for day in days]
    return sum(count for _, count, _ in digests), digest_of_days((day, digest) for day, _, digest in digests)


def _recount(rows: pl.LazyFrame, declaration: Declaration) -> tuple[int, str]:
    parts: Iterable[pl.DataFrame] = rows.collect_batches(chunk_size=PART_ROWS) if declaration.bulk else [rows.collect()]
    frame = pl.concat([condense(part, declaration.bulk) for part in parts])
    return frame.height, rows_digest(frame, declaration.key, declaration.volatile)
