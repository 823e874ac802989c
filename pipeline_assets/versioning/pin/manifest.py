"""The manifest: every file of a data set, sorted by path, as one Parquet object. Its schema, encoding and checks."""

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
from pipeline_assets.framework.digest import rows_digest

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
"""path: relative, `/` between parts, unique. sha256: 32 bytes. store: the store of the object `key`. version_id: of the
object; null where the bucket has no versions. offset: of the file's first byte in the object; null for a whole object."""

CONTENT_COLUMNS = UPLOADED, WEIGHTS, VARIANT = "sha256", "weights_sha256", "content_sha256"
"""Table columns that name files by hex sha256: uploads, model weights, and variants in Darkroom's store."""

MAX_PATH_BYTES = 1_024
MAX_PART_BYTES = 255
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. -]*(/[A-Za-z0-9_][A-Za-z0-9_. -]*)*")
"""Matches nearly all paths; a match is valid unless it is too long."""
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f]")
_NOT_ON_WINDOWS = re.compile(r'[<>:"|?*]|[. ]$')
_DEVICE = re.compile(r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9\u00b9\u00b2\u00b3]) *([.].*)?", re.IGNORECASE)
"""Names of devices on Windows, with any extension. Source: learn.microsoft.com, Naming Files, Paths, and Namespaces."""
_ROW_GROUP = 131_072
_PART_ROWS = 32_768


def path_fault(path: str) -> str | None:
    """Why a path is invalid for a file of a data set; None if it is valid.

    A valid path stays below the folder in which it is resolved, on any system: relative, without `.` and `..`, backslashes,
    drive letters and control characters.
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


def first_unsafe(paths: pl.Series) -> tuple[str, str] | None:
    """The first invalid path and its fault (`path_fault`); None if all are valid."""
    faults = ((path, path_fault(path)) for path in paths.filter(_suspicious(paths)))
    return next(((path, fault) for path, fault in faults if fault), None)


def name_fault(path: str) -> str | None:
    """Why a path is invalid for a new file of a data set: `path_fault`, or a name that Windows can't hold.

    Older data sets with such names are still readable.
    """
    if fault := path_fault(path):
        return fault
    for part in path.split("/"):
        if _NOT_ON_WINDOWS.search(part):
            return "Windows can't hold it: a part of it has one of < > : \" | ? *, or ends in a dot or a space"
        if _DEVICE.fullmatch(part):
            return "Windows can't hold it: a part of it is the name of a device"
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

    Raises ManifestBroken for bytes that are no manifest, for another row count (before reading the rows), and as `check`.
    """
    try:
        file = _open(io.BytesIO(data), source, files)
        # pyarrow checks all values; the reader of polars panics at some damaged files.
        table = file.read()
        table.validate(full=True)
        names = table.column_names
        # Rebuilt from the columns, without the file's own metadata on them.
        rows = pl.DataFrame(pl.from_arrow(pa.Table.from_arrays(table.columns, names=names)))
    except (PolarsError, ArrowException, OSError, ValueError) as error:
        raise ManifestBroken(f"{source} can't be read: {str(error)[:200]}") from None
    if rows.schema != SCHEMA:
        raise ManifestBroken(f"{source} has the columns {dict(rows.schema)}, not those of a manifest.")
    check(rows, source)
    return rows


def contents(path: Path, source: str, files: int) -> Iterator[pl.DataFrame]:
    """The rows of an encoded manifest in a file, in batches, by path: path, sha256, size_bytes. Not fully checked.

    Raises ManifestBroken for bytes that are no manifest, for another row count, and for paths that do not ascend.
    """
    last = ""
    try:
        parquet = _open(path, source, files)
        for batch in parquet.iter_batches(_PART_ROWS, columns=["path", "sha256", "size_bytes"]):
            part = pl.DataFrame(batch).cast({name: SCHEMA[name] for name in ("path", "sha256", "size_bytes")})
            if part.height and not (part["path"].is_sorted() and last <= part["path"][0]):
                raise ManifestBroken(f"{source} has paths that are not sorted.")
            last = part["path"][-1] if part.height else last
            yield part
    except (PolarsError, ArrowException, OSError, ValueError) as error:
        raise ManifestBroken(f"{source} can't be read: {str(error)[:200]}") from None


def _open(data: BinaryIO | Path, source: str, files: int | None) -> pq.ParquetFile:
    # Neither mapped nor pre-buffered, so that pages read once do not stay in memory.
    parquet = pq.ParquetFile(data, pre_buffer=False, buffer_size=1024**2)
    facts = parquet.metadata
    if files is not None and facts.num_rows != files:
        raise ManifestBroken(f"{source} lists {facts.num_rows:,} files where its reference counts {files:,}.")
    # The metadata give the unpacked size of each column, so that a bomb is refused before it is unpacked.
    unpacked = sum(facts.row_group(n).total_byte_size for n in range(facts.num_row_groups))
    if unpacked > 4_096 * max(facts.num_rows, 64):
        raise ManifestBroken(f"{source} would unpack to {unpacked:,} bytes for {facts.num_rows:,} files.")
    return parquet


def check(files: pl.DataFrame, source: str) -> None:
    """Raise ManifestBroken unless every row satisfies SCHEMA and the paths are sorted, unique and safe."""
    required = ["path", "sha256", "size_bytes", "store", "key"]
    if files.select(pl.any_horizontal(pl.col(required).is_null()).any()).item():
        raise ManifestBroken(f"{source} has rows without {', '.join(required)}.")
    invalid = files.filter(
        (pl.col("sha256").bin.size() != 32)
        | (pl.col("size_bytes") < 0)
        | ~pl.col("store").is_in(list(STORES))
        | (pl.col("offset") < 0)
        | (pl.col("key").str.len_bytes() == 0)
    )
    if invalid.height:
        raise ManifestBroken(f"{source} has {invalid.height:,} rows with impossible values, first {invalid['path'][0]!r}.")
    paths = files["path"]
    if unsafe := first_unsafe(paths):
        path, fault = unsafe
        raise ManifestBroken(f"{source} names the path {path[:200]!r}: {fault}. Nothing of it is written.")
    if not (paths.is_sorted() and paths.n_unique() == len(paths)):
        raise ManifestBroken(f"{source} has paths that are not sorted, or are there twice.")
    clash = paths.filter(paths.is_in(_folders(paths).implode()))
    if len(clash):
        raise ManifestBroken(f"{source} has {clash[0]!r} both as a file and as a folder.")


def digest(files: pl.DataFrame) -> str:
    """Digest of the files' paths and contents, not of where they lie: the same files have the same digest in any store."""
    return rows_digest(
        files.select("path", pl.col("sha256").bin.encode("hex"), "size_bytes"),
        key=["path"],
    )


def _suspicious(paths: pl.Series) -> pl.Series:
    """A mask of paths that need `path_fault`; fast for millions of paths."""
    return (
        paths.str.contains(r"[^ -~]|\\|//|^/|/$|^$|(^|/)\.{1,2}(/|$)|^[A-Za-z]:") | (paths.str.len_bytes() > MAX_PART_BYTES)
    ).alias("suspicious")


def _folders(paths: pl.Series) -> pl.Series:
    """Every folder above any of the paths."""
    levels, parents = [], paths
    while len(parents):
        parents = parents.filter(parents.str.contains("/", literal=True)).str.replace("/[^/]*$", "").unique()
        levels.append(parents)
    return pl.concat(levels) if levels else paths
