"""Conditions on rows: an SQL expression over the columns of one table, as `--where` takes it.

Only expressions are parsed: no other tables, no subqueries, no functions that read files.
"""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import polars as pl
from polars.exceptions import PolarsError

from pipeline_assets.errors import BadSelection


@contextmanager
def condition_errors(where: str | None) -> Iterator[None]:
    """Turn errors of polars while rows are read into BadSelection: with a condition, the condition fails."""
    try:
        yield
    except PolarsError as error:
        if where is None or is_disk_full(error):
            raise
        raise BadSelection(f"The condition {where!r} fails on these rows: {_first_line(error)}") from None


def condition(rows: pl.LazyFrame, where: str, allowed: Sequence[str]) -> pl.Expr:
    """Parse a condition. Raises BadSelection for text that is no condition on these columns."""
    try:
        expression = pl.sql_expr(where)
        schema = rows.select(allowed).select(expression).collect_schema()
    except PolarsError as error:
        raise BadSelection(
            f"{where!r} is no condition on these rows: {_first_line(error)}. Columns: {', '.join(allowed)}. Texts are "
            "written in single quotes: \"likes > 10 and split = 'train'\"."
        ) from None
    if list(schema.dtypes()) != [pl.Boolean]:
        raise BadSelection(f'{where!r} is not true or false of a row: compare something, as in "likes > 10".')
    return expression


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0].split("; valid columns")[0][:300].rstrip(".")


def is_disk_full(error: Exception) -> bool:
    """Whether an error of polars, which has no errno, means a full disk."""
    return os.strerror(errno.ENOSPC) in str(error)
