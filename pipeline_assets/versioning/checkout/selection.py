"""Selects part of a data set: the rows for which a condition holds, some of their columns, and the files they name.

A condition is an SQL expression over the columns of one table. Only expressions are parsed: no other tables, no
subqueries, no functions that read files.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import polars as pl
from polars.exceptions import PolarsError

from pipeline_assets.errors import BadSelection
from pipeline_assets.versioning.checkout.target import is_disk_full
from pipeline_assets.versioning.pin.contents import Pinned
from pipeline_assets.versioning.pin.manifest import CONTENT_COLUMNS

FILE_PATH = "file_path"
"""The column that a checkout adds: the path of the row's file in TARGET."""
FOLDER_COLUMNS = ("path", "size_bytes")


@dataclass(frozen=True)
class Selection:
    """files: rows of the manifest, None without files. rows: a table's rows with `file_path`, None without rows.

    made_from: identifies the rows; equal text means equal rows.
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
    """Select part of a data set. Raises BadSelection, and what the stores raise.

    Repeated columns count once. For a folder, which has no rows, `where` is a condition on `path` and `size_bytes`.
    """
    asset = pinned.reference.asset
    if asset is None:
        if columns:
            raise BadSelection(f"{pinned.reference.name} is a folder: it has files, and no columns to choose.")
        files = pinned.files
        if where is not None:
            with condition_errors(where):
                files = files.filter(condition(files.lazy(), where, FOLDER_COLUMNS))
        return Selection(files if with_files else None, None, "", "")
    rows = pinned.rows()
    names = rows.collect_schema().names()
    columns = tuple(dict.fromkeys(columns))
    rows = rows.filter(condition(rows, where, names)) if where is not None else rows
    missing = [name for name in columns if name not in names]
    if missing:
        raise BadSelection(f"{asset} has no column {missing[0]}. It has: {', '.join(names)}.")
    contents = [name for name in CONTENT_COLUMNS if name in names]
    with condition_errors(where):
        files = _files_of(pinned, rows, contents) if where is not None and with_files else pinned.files
    facts = [pinned.reference.tables[asset].model_dump(mode="json"), asset, pinned.reference.manifest.digest, where, columns]
    return Selection(
        files=files if with_files else None,
        rows=_with_paths(rows, pinned.files, contents, columns or names) if with_rows else None,
        rows_path=f"rows-{asset}.parquet",
        made_from=hashlib.sha256(json.dumps(facts).encode()).hexdigest(),
    )


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


def _files_of(pinned: Pinned, rows: pl.LazyFrame, contents: Sequence[str]) -> pl.DataFrame:
    """The files that any of these columns name."""
    hash_columns = [rows.select(pl.col(name).alias("named").unique()) for name in contents]
    if not hash_columns:
        return pinned.files.clear()
    with pinned.lake.reached():
        hashes = pl.concat(hash_columns).drop_nulls().unique().collect(engine="streaming")["named"]
    return pinned.files.filter(pl.col("sha256").is_in(hashes.str.decode("hex").implode()))


def _with_paths(rows: pl.LazyFrame, files: pl.DataFrame, contents: Sequence[str], columns: Sequence[str]) -> pl.LazyFrame:
    path_column = FILE_PATH
    while path_column in columns:
        path_column += "_"
    if not contents:
        return rows.select(*columns, pl.lit(None, pl.String).alias(path_column))
    paths = files.lazy().select(pl.col("sha256").bin.encode("hex").alias(contents[0]), pl.col("path").alias(path_column))
    joined = rows.join(paths.unique(contents[0], keep="first"), on=contents[0], how="left", maintain_order="left")
    return joined.select(*columns, path_column)
