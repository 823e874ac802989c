"""The output of readers of other formats: batches of rows with their files, and rejected items."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import polars as pl

from pipeline_assets.errors import ImportRefused
from pipeline_assets.runtime import strict_json
from pipeline_assets.versioning.formats.column_types import type_of

BATCH_ROWS = 1_024
BATCH_BYTES = 32 * 1024**2
MAX_FILE_BYTES = 320 * 1024**2
"""A larger record or member is rejected, and not read."""
MAX_DESCRIPTION_BYTES = 64 * 1024**2
MAX_COLUMNS = 10_000
DESCRIPTION = "_darkroom.json"
"""Readers of whole folders (pyarrow, Spark) ignore names that begin with an underscore."""
BYTES_COLUMNS = ("bytes", "image/encoded", "image", "image_raw", "jpg", "png")
"""Columns in which other tools store a file's bytes; the first one that holds bytes is used."""


LABELS = "labels_json"
"""A row's labels of its file, as a JSON object; if files become uploads, they become annotations."""


@dataclass(frozen=True)
class Reading:
    """How to read a source. bytes_column: the column whose values are files, if it is none of BYTES_COLUMNS."""

    bytes_column: str | None = None


@dataclass(frozen=True)
class File:
    """A file's bytes. path: its name in the source, not yet checked; row: its row in the batch."""

    data: bytes
    path: str | None = None
    row: int | None = None


@dataclass(frozen=True)
class Batch:
    """Rows of one shard, without bytes. A row's `path` and `sha256` name its first file.

    files: None if the source has no files at all, so that its rows need not name any.
    """

    source: str
    rows: pl.DataFrame
    files: Sequence[File] | None = None


@dataclass(frozen=True)
class Rejected:
    """An unreadable item. source: shard and place in it; reason: a short machine name; count: of its rows, where known."""

    source: str
    reason: str
    detail: str
    count: int = 1

    def __post_init__(self) -> None:
        for name in ("source", "detail"):  # names in a source may not be Unicode, which tables require
            text = getattr(self, name).encode("utf-8", "backslashreplace").decode()
            object.__setattr__(self, name, text)


@dataclass(frozen=True)
class Misfit:
    """A row that fits in no frame, by its index, and the error."""

    row: int
    error: Exception


def frames_around(
    rows: int, build: Callable[[int, int], pl.DataFrame], faults: tuple[type[Exception], ...]
) -> Iterator[pl.DataFrame | Misfit]:
    """Frames of all rows except those that raise one of these faults. build: the frame of a range of rows.

    Ranges that raise are halved until each misfit is alone, so that no other row is lost.
    """
    parts = [(0, rows)] if rows else []
    while parts:
        start, end = parts.pop()
        try:
            frame = build(start, end)
        except faults as error:
            middle = (start + end) // 2
            if middle == start:
                yield Misfit(start, error)
            else:
                parts += [(middle, end), (start, middle)]
            continue
        yield frame


def rows_a_batch(row_bytes: int) -> int:
    """Number of rows to read at once, from the approximate bytes of a row."""
    return max(1, min(BATCH_ROWS, BATCH_BYTES // max(row_bytes, 1)))


def shards(source: Path, suffixes: Sequence[str]) -> list[Path]:
    """The file itself, or a folder's regular files with one of these suffixes, by name; links are skipped.

    Raises ImportRefused if there are none.
    """
    if source.is_file():
        return [source]
    files = [
        path
        for path in sorted(source.rglob("*"))
        if path.name.endswith(tuple(suffixes))
        and not path.name.startswith(".")
        and path.is_file()
        and not path.is_symlink()
        and path.resolve().is_relative_to(source.resolve())
    ]
    if not files:
        raise ImportRefused(f"{source} is neither a file nor a folder with files that end in {' or '.join(suffixes)}.")
    return files


def described_types(source: Path) -> pl.Schema | None:
    """The column types that an export of Darkroom wrote beside its shards; None if there is no such file.

    Raises ImportRefused if that file is invalid.
    """
    path = (source if source.is_dir() else source.parent) / DESCRIPTION
    if path.is_symlink() or not path.is_file():
        return None
    try:
        if path.stat().st_size > MAX_DESCRIPTION_BYTES:
            raise ValueError("it is too large")
        columns = strict_json.loads(path.read_bytes())["columns"]
        if len(columns) > MAX_COLUMNS:
            raise ValueError(f"{len(columns):,} columns")
        if any("\0" in name for name in columns):
            raise ValueError("the name of a column has the character NUL")
        return pl.Schema({str(name): type_of(text) for name, text in columns.items()})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ImportRefused(
            f"{path} is no description of columns ({str(error)[:100]}). Move it away to infer types from the shards."
        ) from None


Reader = Callable[[Path, Reading], Iterator[Batch | Rejected]]


def with_empty_batch(reader: Reader) -> Reader:
    """A reader that yields an empty batch for an export without rows, so that its columns are kept."""

    @wraps(reader)
    def batches(source: Path, reading: Reading) -> Iterator[Batch | Rejected]:
        is_empty = True
        for item in reader(source, reading):
            is_empty = False
            yield item
        types = described_types(source) if is_empty else None
        if types is not None:
            plain = {name: dtype for name, dtype in types.items() if dtype != pl.Binary}
            yield Batch(DESCRIPTION, pl.DataFrame(schema=plain), None if len(plain) == len(types) else ())

    return batches


def batches_of(source: str, frame: pl.DataFrame, reading: Reading) -> Iterator[Batch | Rejected]:
    """A shard's rows, with the column of files separated from them.

    Raises ImportRefused if the requested column is missing, or holds no bytes.
    """
    name = _bytes_column(frame.schema, reading)
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


def _bytes_column(schema: pl.Schema, reading: Reading) -> str | None:
    candidates = [name for name, dtype in schema.items() if dtype == pl.Binary or _has_bytes(dtype)]
    if reading.bytes_column is None:
        return next((name for name in BYTES_COLUMNS if name in candidates), None)
    if reading.bytes_column not in candidates:
        raise ImportRefused(
            f"There is no column {reading.bytes_column} of bytes. Columns of bytes: {', '.join(candidates) or 'none'}."
        )
    return reading.bytes_column


def _has_bytes(dtype: Any) -> bool:
    return isinstance(dtype, pl.Struct) and any(f.name == "bytes" and f.dtype == pl.Binary for f in dtype.fields)
