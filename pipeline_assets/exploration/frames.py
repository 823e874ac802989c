"""Rows of a table for other tools: Polars, pandas, Dask, DuckDB, torch, Arrow, and Parquet files for what reads those.

    from pipeline_assets.exploration.frames import rows

    train = rows("training_table", days=("2026-01-01", "2026-01-31"), where="split = 'train'")
    train.polars()      train.pandas()      train.dask()      train.duckdb()      train.torch()

All of them read one version of the table. Nothing is read before it is asked for. Polars and torch come with Darkroom; for
the others install pandas, dask or duckdb.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable

from pipeline_assets.errors import BadSelection
from pipeline_assets.versioning.pin.condition import condition
from resources.errors import TableMissing
from resources.lake.lake import Lake, open_lake
from resources.settings import load_settings

if TYPE_CHECKING:
    from pipeline_assets.exploration.torch_rows import TorchRows

BATCH_ROWS = 1024


@dataclass(frozen=True)
class Rows:
    """Rows of one version of a table, by day. It pickles as their place, so that each worker reads its own.

    days: those that the table has of the range, ascending. options: how the lake's bucket is reached; they hold secrets.
    """

    uri: str
    version: int
    days: tuple[date, ...]
    where: str | None
    columns: tuple[str, ...] | None
    options: Mapping[str, str] = field(repr=False)

    def of(self, days: Sequence[date]) -> "Rows":
        """The same of these days alone."""
        return Rows(self.uri, self.version, tuple(days), self.where, self.columns, self.options)

    def polars(self) -> pl.LazyFrame:
        """A lazy frame; only files of the days are opened, and only columns that are used are read."""
        frame = pl.scan_delta(self.uri, version=self.version, storage_options=dict(self.options) or None)
        names = frame.collect_schema().names()
        frame = frame.filter(pl.col("day").is_in(pl.Series(self.days, dtype=pl.Date).implode()))
        if self.where is not None:
            frame = frame.filter(condition(frame, self.where, names))
        if self.columns is None:
            return frame
        if missing := [name for name in self.columns if name not in names]:
            raise BadSelection(f"{self.uri} has no column {missing[0]}. It has: {', '.join(names)}.")
        return frame.select(self.columns)

    def arrow(self) -> pa.Table:
        """An Arrow table; cuDF takes it with `cudf.DataFrame.from_arrow`."""
        return self.polars().collect(engine="streaming").to_arrow()

    def pandas(self) -> Any:
        """A pandas frame of Arrow's types: whole numbers with nulls stay whole, arrays arrays, and times keep their zone."""
        return _as_pandas(self.polars().collect(engine="streaming"))

    def dask(self) -> Any:
        """A Dask frame: a partition a day, which its worker reads when it computes. Types as in `pandas`."""
        import dask
        import dask.dataframe as dd

        schema = self.polars().collect_schema()
        meta = _as_pandas(pl.DataFrame(schema=schema))
        from_map: Any = dd.from_map
        # Otherwise Dask has another type of text than a worker's frame.
        with dask.config.set({"dataframe.convert-string": False}):
            return from_map(_day_of, list(self.days) or [date.min], rows=self, meta=meta)

    def duckdb(self, connection: Any = None) -> Any:
        """A DuckDB relation over the table's files; DuckDB reads those columns and row groups that a query needs.

        connection: of duckdb, by default its own of the process. DuckDB evaluates `where`, in its own SQL.
        """
        import duckdb

        table = DeltaTable(self.uri, version=self.version, storage_options=dict(self.options))
        # deltalake takes partitions as text; without one it would take all.
        days = [str(day) for day in self.days] or [str(date.min)]
        relation = (connection or duckdb).from_arrow(table.to_pyarrow_dataset(file_pruning_predicate=[("day", "in", days)]))
        if self.where is not None:
            relation = relation.filter(self.where)
        return relation if self.columns is None else relation.project(", ".join(map(_quoted, self.columns)))

    def torch(self, batch_rows: int = BATCH_ROWS) -> "TorchRows":
        """An iterable data set of batches: tensors by column, of numbers, truths and lists of numbers of one length."""
        from pipeline_assets.exploration.torch_rows import TorchRows

        return TorchRows(self, batch_rows)

    def parquet(self, folder: Path) -> list[Path]:
        """Write a Parquet file a day to a folder, for cuDF, Spark and others that read Parquet. Returns the files."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for day in self.days:
            paths.append(folder / f"{day}.parquet")
            self.of([day]).polars().sink_parquet(paths[-1])
        return paths


def rows(
    table: str,
    days: tuple[date | str, date | str] | None = None,
    where: str | None = None,
    columns: Sequence[str] | None = None,
    *,
    version: int | None = None,
    lake: Lake | None = None,
) -> Rows:
    """Rows of a table. Raises TableMissing, BadSelection for a wrong condition or column.

    days: first and last, both included. where: an SQL expression over the columns, as the commands take it. version: of the
    Delta table, by default the newest. lake: by default that of the settings; embedded servers must run (`darkroom up`).
    """
    lake = lake or open_lake(load_settings())
    found = lake.table(table, version)
    first, last = (_day(day) for day in days) if days else (date.min, date.max)
    present = sorted({date.fromisoformat(partition["day"]) for partition in found.partitions()})
    some = Rows(
        uri=lake.uri(table),
        version=found.version(),
        days=tuple(day for day in present if first <= day <= last),
        where=where,
        columns=tuple(columns) if columns is not None else None,
        options=lake.storage_options,
    )
    some.polars()  # a wrong condition fails here, and not in a worker
    return some


def tables(lake: Lake | None = None) -> list[str]:
    """The names of the lake's tables, sorted."""
    lake = lake or open_lake(load_settings())
    names = sorted(folder.rstrip("/").rpartition("/")[2] for folder in lake.store.folders("tables/"))
    return [name for name in names if lake.exists(name)]


def newest_night(table: str) -> date:
    """The newest night of a table that was computed, which may have no rows: then the newest of its rows are older ones.

    Raises TableMissing if none was.
    """
    from resources.assembly import resolve
    from resources.database.ledger import newest_day

    parts = resolve(load_settings())
    parts["lake"].table(table)
    night = newest_day(parts["database"], table)
    if night is None:
        raise TableMissing(f"No night of {table} is computed. Materialize the asset {table} first.")
    return night


def _day(day: date | str) -> date:
    return day if isinstance(day, date) else date.fromisoformat(day)


def _day_of(day: date, rows: Rows) -> Any:
    return rows.of([day]).pandas()


def _as_pandas(rows: pl.DataFrame) -> Any:
    return rows.to_pandas(use_pyarrow_extension_array=True)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
