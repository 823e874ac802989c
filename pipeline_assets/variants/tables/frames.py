"""Writes a table as bytes, and reads one from untrusted bytes.

Parquet as polars writes it: zstd at level 3, row groups of 131,072 rows, no statistics. Values under nulls are not
in it, so that a deleted cell is gone; equal frames have equal bytes, for one version of polars.
"""

import io
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_assets.errors import UnfitParent
from pipeline_assets.runtime.blobs import bytes_of, size_of

MEDIA_TYPE = "application/vnd.apache.parquet"
ENCODING = "parquet, lossless"
MAX_BYTES = 1 << 30
MAX_UNCOMPRESSED_BYTES = 4 << 30
MAX_CELLS = 200_000_000
"""Runs of equal values cost a file nothing and memory much, so cells are bounded beside bytes."""


def write_table(frame: pl.DataFrame) -> bytes:
    """The frame as bytes, equal for equal frames."""
    buffer = io.BytesIO()
    frame.rechunk().write_parquet(buffer, compression="zstd", compression_level=3, statistics=False, row_group_size=131_072)
    return buffer.getvalue()


def read_table(data: bytes | Path) -> pl.DataFrame:
    """A frame from Parquet by any writer.  Raises UnfitParent for other bytes and for tables that are too large or empty."""
    size = size_of(data)
    if size > MAX_BYTES:
        raise UnfitParent("too_large", f"{size:,} bytes, and a table has {MAX_BYTES:,} at most")
    content = bytes_of(data)
    try:
        _check_size(pq.read_metadata(pa.BufferReader(content)))
        frame = pl.read_parquet(content)
    except (pa.ArrowException, pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        raise UnfitParent("undecodable", f"no Parquet: {str(error)[:200]}") from error
    if patterns := [name for name in frame.columns if name == "*" or (name.startswith("^") and name.endswith("$"))]:
        raise UnfitParent("unsupported_columns", f"polars takes the name {patterns[0]!r} for a pattern of names")
    if frame.is_empty():
        raise UnfitParent("empty", f"{frame.height} rows of {frame.width} columns")
    return frame


def _check_size(about: pq.FileMetaData) -> None:
    groups = [about.row_group(number) for number in range(about.num_row_groups)]
    unpacked = sum(group.total_byte_size for group in groups)
    cells = max(
        about.num_rows * about.num_columns,
        sum(group.column(column).num_values for group in groups for column in range(about.num_columns)),
    )
    if unpacked > MAX_UNCOMPRESSED_BYTES or cells > MAX_CELLS:
        raise UnfitParent("too_large", f"{cells:,} cells in {unpacked:,} bytes, and a table has {MAX_CELLS:,} at most")
