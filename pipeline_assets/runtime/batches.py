"""A LazyFrame from a generator of batches, for tables that do not fit in memory."""

from collections.abc import Callable, Iterator

import polars as pl
from polars.io.plugins import register_io_source


def in_batches(batches: Callable[[], Iterator[pl.DataFrame]], schema: pl.Schema) -> pl.LazyFrame:
    """A LazyFrame of all rows of `batches()`, in their order; it computes nothing before it is collected or sunk.

    batches: called once for each execution; its frames have the columns and types of `schema`. A sink keeps a few batches
    in memory at a time.
    """

    def source(
        with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, _batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        rows_left = n_rows
        for batch in batches():
            rows = batch if predicate is None else batch.filter(predicate)
            rows = rows if rows_left is None else rows.head(rows_left)
            rows_left = rows_left if rows_left is None else rows_left - rows.height
            yield rows if with_columns is None else rows.select(with_columns)
            if rows_left == 0:
                return

    return register_io_source(source, schema=schema, validate_schema=True)
