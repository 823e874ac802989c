"""A LazyFrame whose rows are made one batch after another, so that a table need not fit in memory.

What lives here: the bridge from a generator of frames to a LazyFrame. What does not: what the batches hold.
"""

from collections.abc import Callable, Iterator

import polars as pl
from polars.io.plugins import register_io_source


def in_batches(batches: Callable[[], Iterator[pl.DataFrame]], schema: pl.Schema) -> pl.LazyFrame:
    """A LazyFrame of all rows of `batches()`, in their order; nothing is computed before it is collected or sunk.

    batches: called anew for each execution; its frames have the columns and types of `schema`.  Who sinks the LazyFrame
    holds a few batches at a time; a batch is not asked for until there is room for it.
    """

    def source(
        with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, _batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        left = n_rows
        for batch in batches():
            wanted = batch if predicate is None else batch.filter(predicate)
            wanted = wanted if left is None else wanted.head(left)
            left = left if left is None else left - wanted.height
            yield wanted if with_columns is None else wanted.select(with_columns)
            if left == 0:
                return

    return register_io_source(source, schema=schema, validate_schema=True)
