"""What readers of other formats hand on: batches of rows with their files, and what had to be kept aside."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from pipeline_assets.errors import ImportRefused
from pipeline_assets.versioning.formats.column_types import type_of

BATCH_ROWS = 1_024
BATCH_BYTES = 32 * 1024**2
MAX_FILE_BYTES = 320 * 1024**2
"""A record or member above this is kept aside, and not read."""
MAX_DESCRIPTION_BYTES = 64 * 1024**2
DESCRIPTION = "_darkroom.json"
"""Readers of whole folders (pyarrow, Spark) pass over names that begin so."""
BYTES_COLUMNS = ("bytes", "image/encoded", "image", "image_raw", "jpg", "png")
"""Where other tools put a file's bytes: the first of these that holds bytes is taken."""


LABELS = "labels_json"
"""A row's JSON object of what is marked in its file: where files become uploads, these become annotations."""


@dataclass(frozen=True)
class Reading:
    """How to read a source. bytes_column: whose values are files, where it is none of BYTES_COLUMNS."""

    bytes_column: str | None = None


@dataclass(frozen=True)
class File:
    """A file's bytes. path: what the source calls it, not yet checked; row: the row of the batch that it belongs to."""

    data: bytes
    path: str | None = None
    row: int | None = None


@dataclass(frozen=True)
class Batch:
    """Rows of one shard, without bytes. Of a row's files the first is the one that its `path` and `sha256` name.

    files: None where the source has none at all, so that its rows need not name any.
    """

    source: str
    rows: pl.DataFrame
    files: Sequence[File] | None = None


@dataclass(frozen=True)
class Rejected:
    """One thing that could not be read. source: shard, and where in it; reason: a short machine name."""

    source: str
    reason: str
    detail: str


def rows_a_batch(row_bytes: int) -> int:
    """How many rows to read at once, where a row has about so many bytes."""
    return max(1, min(BATCH_ROWS, BATCH_BYTES // max(row_bytes, 1)))


def shards(source: Path, suffixes: Sequence[str]) -> list[Path]:
    """The file itself, or a folder's regular files with one of these endings, by name; links are left.

    Raises ImportRefused if there are none.
    """
    if source.is_file():
        return [source]
    found = [
        path
        for path in sorted(source.rglob("*"))
        if path.name.endswith(tuple(suffixes))
        and not path.name.startswith(".")
        and path.is_file()
        and not path.is_symlink()
        and path.resolve().is_relative_to(source.resolve())
    ]
    if not found:
        raise ImportRefused(f"{source} is no file, and no folder with files that end in {' or '.join(suffixes)}.")
    return found


def described_types(source: Path) -> pl.Schema | None:
    """The types of columns that an export of Darkroom wrote down beside its shards; None where it has no such file.

    Raises ImportRefused if that file makes no sense.
    """
    path = (source if source.is_dir() else source.parent) / DESCRIPTION
    if path.is_symlink() or not path.is_file():
        return None
    try:
        if path.stat().st_size > MAX_DESCRIPTION_BYTES:
            raise ValueError("it is too large")
        columns = json.loads(path.read_bytes())["columns"]
        return pl.Schema({str(name): type_of(text) for name, text in columns.items()})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ImportRefused(
            f"{path} is no description of columns ({str(error)[:100]}). Move it away to go by what the shards say."
        ) from None


def batches_of(source: str, frame: pl.DataFrame, asked: Reading) -> Iterator[Batch | Rejected]:
    """A shard's rows with the column that holds files taken out.

    Raises ImportRefused if the column that is asked for is not there, or holds no bytes.
    """
    name = _bytes_column(frame.schema, asked)
    if name is None:
        yield Batch(source, frame)
        return
    column = frame[name]
    if isinstance(column.dtype, pl.Struct):  # as the `datasets` library stores an image
        column = column.struct.field("bytes")
    rows = frame.drop(name)
    paths = rows["path"].to_list() if rows.schema.get("path") == pl.String else [None] * rows.height
    files = [File(data, paths[row], row) for row, data in enumerate(column) if data is not None]
    yield Batch(source, rows, files)


def _bytes_column(schema: pl.Schema, asked: Reading) -> str | None:
    found = [name for name, dtype in schema.items() if dtype == pl.Binary or _has_bytes(dtype)]
    if asked.bytes_column is None:
        return next((name for name in BYTES_COLUMNS if name in found), None)
    if asked.bytes_column not in found:
        raise ImportRefused(
            f"There is no column {asked.bytes_column} of bytes. Those that are: {', '.join(found) or 'none'}."
        )
    return asked.bytes_column


def _has_bytes(dtype: Any) -> bool:
    return isinstance(dtype, pl.Struct) and any(f.name == "bytes" and f.dtype == pl.Binary for f in dtype.fields)
