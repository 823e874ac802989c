"""A pinned data set as batches of rows with their files' bytes, for all exporters.

Batches are equal in every run, of bounded size, and ordered: days ascending, rows of a day as stored, a folder's files by
path.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import polars as pl

from pipeline_assets.errors import ExportRefused
from pipeline_assets.versioning.checkout.selection import FOLDER_COLUMNS
from pipeline_assets.versioning.pin.condition import condition, condition_errors
from pipeline_assets.versioning.pin.contents import Pinned
from pipeline_assets.versioning.pin.manifest import CONTENT_COLUMNS
from pipeline_assets.versioning.pin.reference import TableVersion
from resources.errors import ObjectError

BATCH_ROWS = 1_024
BATCH_BYTES = 32 * 1024**2
"""Limit of the files of a batch. A larger file is alone in its batch."""
MAX_FILE_BYTES = 256 * 1024**2
"""Limit of a file in a row."""
PATH, BYTES = "path", "bytes"
"""Columns added to a table's rows: the name and content of their file, null for rows without a file."""


@dataclass(frozen=True)
class ExportOptions:
    """What to export, and the size of shards. columns: None for all. where: a condition in SQL."""

    columns: Sequence[str] | None = None
    days: tuple[date, date] | None = None
    with_bytes: bool = True
    rows_per_shard: int | None = None
    shard_bytes: int = 256 * 1024**2
    where: str | None = None


@dataclass(frozen=True)
class Records:
    """The rows to export. Each iteration reads them again."""

    pinned: Pinned
    options: ExportOptions

    @cached_property
    def schema(self) -> pl.Schema:
        """The schema of every batch; `bytes` is last, if included. Raises ExportRefused for unknown columns."""
        if invalid := [name for name in self._columns if "\0" in name]:
            raise ExportRefused(
                f"No format holds the column {invalid[0]!r}: its name has the character NUL. Leave it out (--columns)."
            )
        schema = pl.Schema([(name, self._stored[name]) for name in self._columns])
        if not self._has_bytes:
            return schema
        return pl.Schema([*schema.items(), *((PATH, pl.String()) for _ in range(PATH not in schema)), (BYTES, pl.Binary())])

    @cached_property
    def rows(self) -> int:
        """The number of rows."""
        table = self.pinned.reference.table
        if table is None:
            return self._files.height
        if self.options.days is None and self.options.where is None:
            return self.pinned.reference.rows or 0
        with condition_errors(self.options.where):
            return int(self.selected.select(pl.len()).collect().item())

    @cached_property
    def selected(self) -> pl.LazyFrame:
        """The table's selected rows, with all columns. Raises BadSelection."""
        days, where = self.options.days, self.options.where
        rows = self.pinned.rows()
        rows = rows if where is None else rows.filter(condition(rows, where, self._stored.names()))
        return rows if days is None else rows.filter(pl.col("day").is_between(*days))

    @cached_property
    def _files(self) -> pl.DataFrame:
        """A folder's selected files. Raises BadSelection."""
        files, where = self.pinned.files, self.options.where
        if where is None:
            return files
        with condition_errors(where):
            return files.filter(condition(files.lazy(), where, FOLDER_COLUMNS))

    def __iter__(self) -> Iterator[pl.DataFrame]:
        """The batches. Raises ObjectError for a file whose bytes are missing or damaged."""
        for batch in self._split(self._row_batches()):
            yield batch.select(self.schema.names())

    @cached_property
    def _table(self) -> TableVersion | None:
        return self.pinned.reference.table

    @cached_property
    def _stored(self) -> pl.Schema:
        if self._table is None:
            if self.options.days:
                raise ExportRefused(f"{self.pinned.reference.name} is a folder, and has no days: leave --days out.")
            return _folder_rows(self.pinned.files.head(0)).schema
        return self.pinned.rows().collect_schema()

    @cached_property
    def _columns(self) -> list[str]:
        if self.options.columns is None:
            return self._stored.names()
        unknown = [name for name in self.options.columns if name not in self._stored]
        if unknown:
            raise ExportRefused(
                f"{self.pinned.reference.name} has no column {unknown[0]}. It has: {', '.join(self._stored.names())}."
            )
        return list(dict.fromkeys(self.options.columns))

    @cached_property
    def _content(self) -> str | None:
        return next((name for name in CONTENT_COLUMNS if name in self._stored), None)

    @cached_property
    def _has_bytes(self) -> bool:
        """Whether rows include bytes: these are requested, and the rows name contents."""
        if self._content is None or not self.options.with_bytes:
            return False
        if BYTES in self._stored or (self._table and PATH in self._stored):
            raise ExportRefused(f"The table has a column {PATH} or {BYTES} of its own: export it with --no-bytes.")
        return True

    def _row_batches(self) -> Iterator[pl.DataFrame]:
        if self._table is None:
            for files in self._files.iter_slices(BATCH_ROWS):
                yield _folder_rows(files)
            return
        columns = list(dict.fromkeys([*self._columns, *([self._content] if self._has_bytes and self._content else [])]))
        days = self.selected.select(pl.col("day").unique().sort()).collect()["day"]
        for day in days:
            rows = self.selected.filter(pl.col("day") == day).select(columns)
            yield from rows.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True)

    def _split(self, batches: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        if not self._has_bytes:
            yield from batches
            return
        files = self.pinned.files
        places = dict(zip(files["sha256"], range(files.height), strict=True))
        sizes = files["size_bytes"].to_numpy()
        for batch in batches:
            hexes = batch[self._content or ""]
            places_of_rows = [None if text is None else places.get(bytes.fromhex(text)) for text in hexes]
            weights = [0 if at is None else int(sizes[at]) for at in places_of_rows]
            if max(weights, default=0) > MAX_FILE_BYTES:
                raise ExportRefused(
                    f"A file of {max(weights):,} bytes is too large for a row: get the files with `darkroom checkout`."
                )
            for start, end in _spans(weights, min(BATCH_BYTES, self.options.shard_bytes)):
                yield self._with_bytes(batch[start:end], places_of_rows[start:end])

    def _with_bytes(self, batch: pl.DataFrame, places: Sequence[int | None]) -> pl.DataFrame:
        files = self.pinned.files[sorted({at for at in places if at is not None})]
        data: dict[bytes, bytes] = {}
        for row, content in self.pinned.read(files):
            if isinstance(content, ObjectError):
                raise content
            data[row["sha256"]] = content
        hashes = [None if at is None else self.pinned.files["sha256"][at] for at in places]
        paths = [None if at is None else self.pinned.files["path"][at] for at in places]
        added = [pl.Series(BYTES, [None if sha256 is None else data[sha256] for sha256 in hashes], pl.Binary)]
        if self._table is not None:
            added.append(pl.Series(PATH, paths, pl.String))
        return batch.with_columns(added)


def cost(frame: pl.DataFrame) -> int:
    """Approximate bytes of the rows. It depends on the values only, so that shards are equal in every run."""
    return sum(_cost(column) for column in frame)


def _cost(column: pl.Series) -> int:
    if column.dtype == pl.String:
        return int(column.str.len_bytes().sum() or 0)
    if column.dtype == pl.Binary:
        return int(column.bin.size().sum() or 0)
    if isinstance(column.dtype, pl.List):
        return 8 * len(column) + _cost(column.explode(empty_as_null=False, keep_nulls=False))
    return len(column) * column.head(0).to_numpy().dtype.itemsize


def _folder_rows(files: pl.DataFrame) -> pl.DataFrame:
    return files.select(PATH, pl.col("sha256").bin.encode("hex"), "size_bytes")


def _spans(weights: Sequence[int], limit: int) -> Iterator[tuple[int, int]]:
    """Ranges of a batch whose files stay within the limit, except for a single larger file."""
    start, span_bytes = 0, 0
    for at, weight in enumerate(weights):
        if at > start and span_bytes + weight > limit:
            yield start, at
            start, span_bytes = at, 0
        span_bytes += weight
    if weights:
        yield start, len(weights)
