"""Part of a data set: the rows for which a condition holds, some of their columns, and the files that they name.

A condition is an expression of SQL over the columns of one table. It is parsed as an expression alone: it can't name another
table, hold a subquery, or call a function that reads files.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import polars as pl
from polars.exceptions import PolarsError

from pipeline_assets.errors import BadSelection
from pipeline_assets.versioning.contents import Pinned
from pipeline_assets.versioning.manifest import CONTENT_COLUMNS
from pipeline_assets.versioning.target import is_of_room

FILE_PATH = "file_path"
"""The column that a checkout adds: where in TARGET the row's file is."""
FOLDER_COLUMNS = ("path", "size_bytes")


@dataclass(frozen=True)
class Selection:
    """files: rows of the manifest, None if none are wanted. rows: a table's rows with `file_path`, None as well.

    made_from: says what the rows are; equal text, equal rows.
    """

    files: pl.DataFrame | None
    rows: pl.LazyFrame | None
    rows_path: str
    made_from: str


def select(
    pinned: Pinned,
    where: str | None = None,
    columns: Sequence[str] = (),
    *,
    with_files: bool = True,
    with_rows: bool = True,
) -> Selection:
    """What of a data set is wanted. Raises BadSelection, and what the stores raise.

    A folder has no rows: there `where` is a condition on `path` and `size_bytes`.
    """
    asset = pinned.reference.asset
    if asset is None:
        if columns:
            raise BadSelection(f"{pinned.reference.name} is a folder: it has files, and no columns to choose.")
        files = pinned.files
        if where is not None:
            with fitting(where):
                files = files.filter(condition(files.lazy(), where, FOLDER_COLUMNS))
        return Selection(files if with_files else None, None, "", "")
    rows = pinned.rows()
    names = rows.collect_schema().names()
    rows = rows.filter(condition(rows, where, names)) if where is not None else rows
    missing = [name for name in columns if name not in names]
    if missing:
        raise BadSelection(f"{asset} has no column {missing[0]}. It has: {', '.join(names)}.")
    contents = [name for name in CONTENT_COLUMNS if name in names]
    with fitting(where):
        files = _named_by(pinned, rows, contents) if where is not None and with_files else pinned.files
    facts = [pinned.reference.tables[asset].model_dump(mode="json"), asset, pinned.reference.manifest.digest, where, columns]
    return Selection(
        files=files if with_files else None,
        rows=_with_paths(rows, pinned.files, contents, columns or names) if with_rows else None,
        rows_path=f"rows-{asset}.parquet",
        made_from=hashlib.sha256(json.dumps(facts).encode()).hexdigest(),
    )


@contextmanager
def fitting(where: str | None) -> Iterator[None]:
    """Raise BadSelection for what polars raises while rows are read: with a condition, it is the condition that fails."""
    try:
        yield
    except PolarsError as error:
        if where is None or is_of_room(error):
            raise
        raise BadSelection(f"The condition {where!r} fails on these rows: {_first_line(error)}") from None


def condition(rows: pl.LazyFrame, where: str, allowed: Sequence[str]) -> pl.Expr:
    """The condition that a text of SQL is. Raises BadSelection for what is none on these columns."""
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


def _named_by(pinned: Pinned, rows: pl.LazyFrame, contents: Sequence[str]) -> pl.DataFrame:
    """The files that any of these columns names."""
    named = [rows.select(pl.col(name).alias("named").unique()) for name in contents]
    if not named:
        return pinned.files.clear()
    with pinned.lake.reached():
        found = pl.concat(named).drop_nulls().unique().collect(engine="streaming")["named"]
    return pinned.files.filter(pl.col("sha256").is_in(found.str.decode("hex").implode()))


def _with_paths(rows: pl.LazyFrame, files: pl.DataFrame, contents: Sequence[str], columns: Sequence[str]) -> pl.LazyFrame:
    added = FILE_PATH
    while added in columns:
        added += "_"
    if not contents:
        return rows.select(*columns, pl.lit(None, pl.String).alias(added))
    paths = files.lazy().select(pl.col("sha256").bin.encode("hex").alias(contents[0]), pl.col("path").alias(added))
    joined = rows.join(paths.unique(contents[0], keep="first"), on=contents[0], how="left", maintain_order="left")
    return joined.select(*columns, added)
