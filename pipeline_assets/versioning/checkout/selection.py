"""Selects part of a data set: the rows for which a condition holds, some of their columns, and the files they name.

A condition is an SQL expression over the columns of one table. Only expressions are parsed: no other tables, no
subqueries, no functions that read files.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from pipeline_assets.errors import BadSelection
from pipeline_assets.versioning.pin.condition import condition, condition_errors
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
    selected = pinned.reference.selection
    facts = [pinned.reference.tables[asset].model_dump(mode="json"), asset, pinned.reference.manifest.digest, where, columns]
    facts += [selected.model_dump(mode="json")] if selected else []
    return Selection(
        files=files if with_files else None,
        rows=_with_paths(rows, pinned.files, contents, columns or names) if with_rows else None,
        rows_path=f"rows-{asset}.parquet",
        made_from=hashlib.sha256(json.dumps(facts).encode()).hexdigest(),
    )


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
