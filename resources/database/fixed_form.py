"""Digests of rows of the application's tables, whose columns are integers and texts that no session setting changes.

It wraps queries into statements; the queries are in the modules that use them.
"""

from collections.abc import Mapping, Sequence
from datetime import date

import polars as pl

from resources.database.contract import Database, Twin


def rows(query: Twin, columns: Mapping[str, str]) -> Twin:
    """A statement for the rows of a query. columns: its columns, each `bigint` or `text`."""
    hinted = ", ".join(f'{name} as "{name} [{kind}]"' for name, kind in columns.items())
    return Twin(
        postgres=f"select {', '.join(columns)} from (\n{query.postgres}\n) found",  # noqa: S608  names of ours
        sqlite=f"select {hinted} from (\n{query.sqlite}\n) found",  # noqa: S608
    )


def digests(query: Twin, columns: Mapping[str, str]) -> Twin:
    """A statement for a digest of the rows of each `day` (days since 1970), independent of their order."""
    names = ", ".join(columns)
    return Twin(
        # `found::text` has all columns; numbers and texts in it depend on no setting of the session
        postgres="select day::bigint as day, count(*)::text || ' ' || "  # noqa: S608
        f"sum(hashtextextended(found::text, 0)::numeric)::text as digest from (\n"
        f"select {names} from (\n{query.postgres}\n) asked) found group by day",
        # as a blob, so that a text that is no UTF-8 is hashed like any other
        sqlite="select day as \"day [bigint]\", count(*) || ' ' || "  # noqa: S608
        f"hash_sum(cast(json_array({names}) as blob)) as digest from (\n{query.sqlite}\n) found group by day",
    )


def day_digests(database: Database, statement: Twin, days: Sequence[date]) -> dict[date, str]:
    """The digests of these days (ascending), by a statement of `digests` that filters days from $1 to $2."""
    frame = database.read(statement, (days[0], days[-1]))
    return dict(frame.select(pl.col("day").cast(pl.Int32).cast(pl.Date), "digest").iter_rows())
