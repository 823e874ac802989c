"""The manifest: every file of a data set, sorted by path, as one Parquet object. Its rows, its bytes, its rules."""

import io
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from polars.exceptions import PolarsError
from pyarrow import ArrowException

from pipeline_assets.errors import ManifestBroken
from pipeline_assets.versioning.digest import rows_digest

STORES = ("uploads", "objects")
SCHEMA = pl.Schema(
    {
        "path": pl.String,
        "sha256": pl.Binary,
        "size_bytes": pl.Int64,
        "store": pl.String,
        "key": pl.String,
        "version_id": pl.String,
        "offset": pl.Int64,
    }
)
"""path: relative, `/` between parts, unique. sha256: 32 bytes. store: whose object `key` is. version_id: the object's
version; null where the bucket keeps none. offset: where in the object the file's bytes begin; null if it is the whole."""

CONTENT_COLUMNS = UPLOADED, WEIGHTS, VARIANT = "sha256", "weights_sha256", "content_sha256"
"""Columns of tables whose values name files, as hex: of uploads, of models' weights and of variants in Darkroom's store."""

MAX_PATH_BYTES = 1_024
MAX_PART_BYTES = 255
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. -]*(/[A-Za-z0-9_][A-Za-z0-9_. -]*)*")
"""What nearly all paths are: none of these has a fault, unless it is too long."""
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f]")
_ROW_GROUP = 131_072
_PART_ROWS = 32_768


def path_fault(path: str) -> str | None:
    """Why a path can't be a file's of a data set; None if it can.

    It must lead to a place below the folder that it is resolved in, on any system: relative, without `.` and `..`,
    backslashes, drive letters and control characters.
    """
    if len(path) <= MAX_PART_BYTES and _PLAIN.fullmatch(path):
        return None
    if not path or len(path.encode("utf-8", "surrogatepass")) > MAX_PATH_BYTES:
        return f"it has no characters, or more than {MAX_PATH_BYTES} bytes"
    if _FORBIDDEN.search(path) or "\\" in path or any("\ud800" <= c <= "\udfff" for c in path):
        return "it has a control character, a backslash or bytes that are not UTF-8"
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts) or PurePosixPath(path).is_absolute():
        return "it is absolute, or has an empty part, . or .."
    if re.match(r"[A-Za-z]:", path) or any(len(part.encode()) > MAX_PART_BYTES for part in parts):
        return f"it begins with a drive letter, or a part of it has more than {MAX_PART_BYTES} bytes"
    return None


def encode(files: pl.DataFrame) -> bytes:
    """The rows as Parquet, sorted by path. Equal rows give equal bytes under one version of polars.

    Raises ManifestBroken as `check`.
    """
    ordered = files.select(SCHEMA.names()).sort("path")
    check(ordered, "the new manifest")
    sink = io.BytesIO()
    ordered.write_parquet(sink, compression="zstd", compression_level=3, row_group_size=_ROW_GROUP)
    return sink.getvalue()


def decode(data: bytes, source: str, files: int | None = None) -> pl.DataFrame:
    """The rows of an encoded manifest. files: how many the reference counts.

    Raises ManifestBroken for bytes that are none, for more rows than are counted (before they are read), and as `check`.
    """
    try:
        file = _open(io.BytesIO(data), source, files)
        # By pyarrow, with all values checked: the reader of polars panics at some damaged files.
        table = file.read()
        table.validate(full=True)
        names = table.column_names
        # Anew, without what a file may say of its columns beside names and types.
        found = pl.DataFrame(pl.from_arrow(pa.Table.from_arrays(table.columns, names=names)))
    except (PolarsError, ArrowException, OSError, ValueError) as error:
        raise ManifestBroken(f"{source} can't be read: {str(error)[:200]}") from None
    if found.schema != SCHEMA:
        raise ManifestBroken(f"{source} has the columns {dict(found.schema)}, not those of a manifest.")
    check(found, source)
    return found


def contents(path: Path, source: str, files: int) -> Iterator[pl.DataFrame]:
    """The rows of an encoded manifest in a file, some at a time, by path: path, sha256, size_bytes. For looking only.

    Raises ManifestBroken for bytes that are none, for another number of rows, and for paths that do not ascend.
    """
    last = ""
    try:
        opened = _open(path, source, files)
        for batch in opened.iter_batches(_PART_ROWS, columns=["path", "sha256", "size_bytes"]):
            part = pl.DataFrame(batch).cast({name: SCHEMA[name] for name in ("path", "sha256", "size_bytes")})
            if part.height and not (part["path"].is_sorted() and last <= part["path"][0]):
                raise ManifestBroken(f"{source} has paths that are not sorted.")
            last = part["path"][-1] if part.height else last
            yield part
    except (PolarsError, ArrowException, OSError, ValueError) as error:
        raise ManifestBroken(f"{source} can't be read: {str(error)[:200]}") from None


def _open(data: BinaryIO | Path, source: str, files: int | None) -> pq.ParquetFile:
    # Not mapped, and a column's pages bit by bit: what is read once would count as memory for long.
    opened = pq.ParquetFile(data, pre_buffer=False, buffer_size=1024**2)
    facts = opened.metadata
    if files is not None and facts.num_rows != files:
        raise ManifestBroken(f"{source} lists {facts.num_rows:,} files where its reference counts {files:,}.")
    # A column's pages say how large they are, so that a bomb is seen before it is unpacked.
    unpacked = sum(facts.row_group(n).total_byte_size for n in range(facts.num_row_groups))
    if unpacked > 4_096 * max(facts.num_rows, 64):
        raise ManifestBroken(f"{source} would unpack to {unpacked:,} bytes for {facts.num_rows:,} files.")
    return opened


def check(files: pl.DataFrame, source: str) -> None:
    """Raise ManifestBroken unless every row keeps the rules of SCHEMA and the paths are sorted, unique and safe."""
    required = ["path", "sha256", "size_bytes", "store", "key"]
    if files.select(pl.any_horizontal(pl.col(required).is_null()).any()).item():
        raise ManifestBroken(f"{source} has rows without {', '.join(required)}.")
    wrong = files.filter(
        (pl.col("sha256").bin.size() != 32)
        | (pl.col("size_bytes") < 0)
        | ~pl.col("store").is_in(list(STORES))
        | (pl.col("offset") < 0)
        | (pl.col("key").str.len_bytes() == 0)
    )
    if wrong.height:
        raise ManifestBroken(f"{source} has {wrong.height:,} rows with impossible values, first {wrong['path'][0]!r}.")
    paths = files["path"]
    for path in paths.filter(_suspicious(paths)):
        fault = path_fault(path)
        if fault:
            raise ManifestBroken(f"{source} names the path {path[:200]!r}: {fault}. Nothing of it is written.")
    if not (paths.is_sorted() and paths.n_unique() == len(paths)):
        raise ManifestBroken(f"{source} has paths that are not sorted, or one that is there twice.")
    clash = paths.filter(paths.is_in(_folders(paths).implode()))
    if len(clash):
        raise ManifestBroken(f"{source} has {clash[0]!r} both as a file and as a folder.")


def digest(files: pl.DataFrame) -> str:
    """Of what the files are: paths and contents, not where they lie. Same files, same digest, on any store."""
    return rows_digest(
        files.select("path", pl.col("sha256").bin.encode("hex"), "size_bytes"),
        key=["path"],
    )


def _suspicious(paths: pl.Series) -> pl.Series:
    """Paths that plain rules can't clear: these are quick for millions, and what they leave goes through `path_fault`."""
    return (
        paths.str.contains(r"[^ -~]|\\|//|^/|/$|^$|(^|/)\.{1,2}(/|$)|^[A-Za-z]:") | (paths.str.len_bytes() > MAX_PART_BYTES)
    ).alias("suspicious")


def _folders(paths: pl.Series) -> pl.Series:
    """Every folder that a path lies in."""
    found, rest = [], paths
    while len(rest):
        rest = rest.filter(rest.str.contains("/", literal=True)).str.replace("/[^/]*$", "").unique()
        found.append(rest)
    return pl.concat(found) if found else paths
