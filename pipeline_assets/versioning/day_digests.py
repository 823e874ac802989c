"""Digests of the rows of a table's days at one of its versions: from the ledger where it knows, else from the rows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from pipeline_assets.table_asset import DECLARATIONS, Declaration
from pipeline_assets.validation import PART_ROWS
from pipeline_assets.versioning.digest import condense, rows_digest
from pipeline_assets.versioning.reference import TableVersion
from resources import ledger
from resources.database import Database
from resources.lake import Lake

COLUMNS = pl.Schema({"day": pl.Date, "rows": pl.Int64, "digest": pl.String})


@dataclass(frozen=True)
class Days:
    """Days of a table at a version, ascending, those without rows left out: day, rows, digest."""

    version: int
    days: pl.DataFrame

    @property
    def table(self) -> TableVersion:
        """What a reference says of them; there must be one."""
        first, last = self.days["day"][0], self.days["day"][-1]
        return TableVersion(
            version=self.version, first_day=first, last_day=last, rows=int(self.days["rows"].sum()), digest=self.digest
        )

    @property
    def digest(self) -> str:
        """One digest over all days."""
        return digest_of_days(self.days.select("day", "digest").iter_rows())


def digest_of_days(days: Iterable[tuple[date, str]]) -> str:
    """One digest over days, ascending, each with the digest of its rows."""
    return ledger.digest_of(f"{day} {digest}" for day, digest in days)


def newest(lake: Lake, postgres: Database, asset: str, first: date, last: date) -> Days:
    """The days of the newest version.

    A run may be writing: the version is read first and never changes, and where the ledger's newest entry of a day is
    not of it (begun and not recorded, or recorded since), the rows themselves are read.
    """
    if not lake.exists(asset):
        return Days(-1, pl.DataFrame(schema=COLUMNS))
    table = lake.table(asset)
    there = [date.fromisoformat(partition["day"]) for partition in table.partitions()]
    wanted = pl.DataFrame({"day": [day for day in there if first <= day <= last]}, schema={"day": pl.Date}).sort("day")
    known = ledger.latest(postgres, [asset], first, last).filter(
        (pl.col("digest") != "") & (pl.col("delta_version") <= table.version())
    )
    found = wanted.join(known.select(COLUMNS.names()), on="day", how="left")
    unknown = found.filter(pl.col("digest").is_null())["day"].to_list()
    counted = recounted(lake, asset, unknown, table.version())
    days = pl.concat([found.filter(pl.col("digest").is_not_null()), counted]).filter(pl.col("rows") > 0).sort("day")
    return Days(table.version(), days)


def recounted(lake: Lake, asset: str, days: Sequence[date], version: int) -> pl.DataFrame:
    """Days of a table at a version as their rows say: day, rows, digest. Bulk columns are held a part at a time."""
    declaration = DECLARATIONS[asset]
    found = [(day, *_recount(lake.scan(asset, [day], version), declaration)) for day in days]
    return pl.DataFrame(found, schema=COLUMNS, orient="row")


def _recount(rows: pl.LazyFrame, declaration: Declaration) -> tuple[int, str]:
    parts: Iterable[pl.DataFrame] = rows.collect_batches(chunk_size=PART_ROWS) if declaration.bulk else [rows.collect()]
    whole = pl.concat([condense(part, declaration.bulk) for part in parts])
    return whole.height, rows_digest(whole, declaration.key, declaration.volatile)
