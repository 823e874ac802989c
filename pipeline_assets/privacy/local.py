"""What this machine holds: stagings, caches, journals and logs that wait for the lake, registered checkouts, other files.

What other machines hold is known to their own `darkroom person find`.
"""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from pipeline_assets.exploration.map.embeddings import NAME_BYTES
from pipeline_assets.framework.personal import MARKS
from pipeline_assets.privacy.holding import Holding, Stores
from pipeline_assets.privacy.person import Person, found_in, lines_of, rows_of, without_others
from pipeline_assets.privacy.stored import own_lines
from pipeline_assets.versioning.checkout import register
from pipeline_assets.versioning.checkout.commands import cache_of

LARGEST_TEXT_BYTES = 2**28
"""A larger file is none of a log."""
_LOGS = ("stream/*.jsonl", "serving/log/*.jsonl")


def stagings(stores: Stores, person: Person) -> Iterator[Holding]:
    """Rows of staged training sets: photo ids with features, for machines."""
    root = stores.settings.staging
    for path in sorted(root.glob("*/*.arrow")):
        rows = _numbers(path)
        own = rows_of(rows, MARKS, person).own
        if own.height:
            yield Holding(path.relative_to(root).as_posix(), own.height, rows=own)


def _numbers(path: Path) -> pl.DataFrame:
    """A shard's rows without their vectors."""
    frame = pl.scan_ipc(path)
    names = [name for name, dtype in frame.collect_schema().items() if not dtype.is_nested()]
    return frame.select(names).collect(engine="streaming")


def cache(stores: Stores, person: Person) -> Iterator[Holding]:
    """Contents that checkouts share, by their hash; lists of files of folders."""
    contents = cache_of(stores.settings)
    for sha256 in sorted(person.hashes):
        path = Path(contents.path(bytes.fromhex(sha256)))
        if path.is_file():
            yield Holding(f"contents/{sha256}", 1, read=path.read_bytes)
    yield from _tables_below(stores.home / "cache", ("folders/*.parquet", "dvc/*.parquet"), person)
    for path in sorted((stores.home / "cache" / "thumbnails").glob("**/*")):
        if path.is_file() and any(sha256 in path.as_posix().replace("/", "") for sha256 in person.hashes):
            yield Holding(f"thumbnails/{path.name}", 1, read=path.read_bytes)


def _tables_below(root: Path, patterns: Sequence[str], person: Person) -> Iterator[Holding]:
    for path in sorted(path for pattern in patterns for path in root.glob(pattern)):
        yield from _rows_in(path, path.relative_to(root).as_posix(), person)


CHECKOUT_MARKS = {**MARKS, "path": MARKS["source"], "file_path": MARKS["source"]}


def _rows_in(path: Path, name: str, person: Person) -> Iterator[Holding]:
    """The person's rows of a Parquet file, without long lists."""
    try:
        own = rows_of(_short(path), CHECKOUT_MARKS, person).own
    except (OSError, PolarsError):
        return  # being replaced, or none of ours
    if own.height:
        yield Holding(name, own.height, rows=without_others(own, CHECKOUT_MARKS, person))


def vectors(stores: Stores, person: Person) -> Iterator[Holding]:
    """Vectors of the person's photos in the files that are mapped into memory: each is named by its hash, as bytes."""
    for path in sorted((stores.home / "map").rglob("names*")):
        data = path.read_bytes()
        held = {data[at : at + NAME_BYTES].hex() for at in range(0, len(data), NAME_BYTES)} & person.hashes
        if held:
            yield Holding(path.relative_to(stores.home).as_posix(), len(held))


def journals(stores: Stores, person: Person) -> Iterator[Holding]:
    """Lines of the stream's journal, of asks that wait for the lake, and of dead letters."""
    paths = [path for pattern in (*_LOGS, "stream/*.journal") for path in stores.home.glob(pattern)]
    for path in sorted(paths):
        found = own_lines(path.read_bytes(), person)
        if found.height:
            yield Holding(path.relative_to(stores.home).as_posix(), found.height, rows=found)


def servers(stores: Stores, person: Person) -> Iterator[Holding]:
    """Lines of logs of servers and runs on this machine, which name the person."""
    for folder in (
        stores.home / "logs",
        stores.settings.dagster_home / "compute_logs",
        stores.settings.dagster_home / "logs",
    ):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.stat().st_size <= LARGEST_TEXT_BYTES:
                count = int(found_in(lines_of(path.read_bytes()), person).sum())
                if count:
                    yield Holding(path.relative_to(stores.home).as_posix(), count)


def checkouts(stores: Stores, person: Person) -> Iterator[Holding]:
    """Files of registered checkouts that have the person's contents, and rows of theirs."""
    for entry in register.read(stores.home):
        folder = Path(entry["folder"])
        for path, sha256 in register.files(folder):
            if sha256 in person.hashes and (folder / path).is_file():
                yield Holding(f"{folder}/{path}", 1, read=(folder / path).read_bytes)
        for rows in sorted(folder.glob("rows-*.parquet")):
            yield from _rows_in(rows, rows.as_posix(), person)


def _short(path: Path) -> pl.DataFrame:
    """A Parquet file's rows without long lists."""
    data = path.read_bytes()
    schema = pl.read_parquet_schema(io.BytesIO(data))
    names = [name for name, dtype in schema.items() if not isinstance(dtype, pl.List)]
    return pl.read_parquet(io.BytesIO(data), columns=names, hive_partitioning=False)
