"""What the object stores hold: uploads with all versions, logs, tables with all versions, their logs, contents, packs.

Each function yields one holding after the other and has one file in memory. Raises the errors of stores.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import polars as pl
from polars.exceptions import PolarsError

from pipeline_assets.framework.personal import MARKS, Mark
from pipeline_assets.ingestion.keys import UPLOADS_PREFIX, UploadKey, parse_upload_key
from pipeline_assets.ingestion.logs.log_files import Damage, line_blocks
from pipeline_assets.privacy.holding import VERSION, Holding, Stores
from pipeline_assets.privacy.person import (
    Person,
    Rows,
    found_in,
    lines_of,
    owned_in,
    rows_of,
    unmixed,
    without_others,
    without_others_in,
)
from resources.errors import InvalidRange, ObjectError
from resources.objects.object_info import content_key
from resources.objects.removal import Stored, holdings
from resources.objects.store import ObjectStore

LARGEST_LOG_BYTES = 2**40
"""Expanded: a log file is read in blocks."""
_COLUMN = "line"


def uploads(stores: Stores, person: Person) -> Iterator[Holding]:
    """Each version of each upload with the person's id in its key; delete markers count, and have no bytes."""
    for stored in own_uploads(stores, person.user_id):
        name = stored.key if stored.version_id is None else f"{stored.key}{VERSION}{stored.version_id}"
        yield Holding(name, 1, read=None if stored.is_marker else _reader(stores.uploads, stored))


def own_uploads(stores: Stores, user_id: int) -> Iterator[Stored]:
    """All versions of uploads of a user."""
    for stored in holdings(stores.uploads, UPLOADS_PREFIX):
        parsed = parse_upload_key(stored.key)
        if isinstance(parsed, UploadKey) and parsed.user_id == user_id:
            yield stored


def _reader(store: ObjectStore, stored: Stored) -> Callable[[], bytes]:
    return partial(store.get, stored.key, version_id=stored.version_id)


def logs(stores: Stores, person: Person) -> Iterator[Holding]:
    """Lines of event logs: what the person did, and what others did with their photos, without who did."""
    yield from _lines_below(stores, person, "events/")


def asks(stores: Stores, person: Person) -> Iterator[Holding]:
    """Lines of the log of asks."""
    yield from _lines_below(stores, person, "serving/")


def run_logs(stores: Stores, person: Person) -> Iterator[Holding]:
    """Lines that runs printed, which name the person."""
    for info in stores.lake_files.list("dagster/logs/"):
        count = sum(int(found_in(lines, person).sum()) for lines in _blocks(stores.lake_files.get(info.key)))
        if count:
            yield Holding(info.key, count)


def _lines_below(stores: Stores, person: Person, prefix: str) -> Iterator[Holding]:
    for info in stores.lake_files.list(prefix):
        found = own_lines(stores.lake_files.get(info.key), person)
        if found.height:
            yield Holding(info.key, found.height, rows=found)


def own_lines(data: bytes, person: Person) -> pl.DataFrame:
    """The lines of a file, gzip or plain, that are the person's: one column, `line`, without other people's ids."""
    parts = [lines.filter(owned_in(lines, person)) for lines in _blocks(data)]
    lines = pl.concat(parts) if parts else pl.Series(_COLUMN, [], dtype=pl.String)
    return pl.DataFrame({_COLUMN: [without_others_in(line, person) for line in lines]}, schema={_COLUMN: pl.String})


def _blocks(data: bytes) -> Iterator[pl.Series]:
    """The lines of a file, gzip or plain, block by block."""
    for block in line_blocks(data, LARGEST_LOG_BYTES):
        yield lines_of(block.tail if isinstance(block, Damage) else block)


def tables(stores: Stores, person: Person) -> Iterator[Holding]:
    """Rows of each table, in every data file that is there: those of all versions that can be read, and left-over ones."""
    for table in sorted(stores.lake_files.folders("tables/")):
        own, mentions = table_rows(stores, table, person)
        if own.height or mentions:
            shown = without_others(own, stores.marks_of(table), person)
            yield Holding(table, own.height, rows=shown, mentions=mentions)


def table_rows(stores: Stores, table: str, person: Person) -> tuple[pl.DataFrame, int]:
    """The person's different rows of all files of a table, without long lists; and how many other rows name them."""
    marks, parts, mentions = stores.marks_of(table), [], 0
    for info in stores.lake_files.list(f"tables/{table}/"):
        if not info.key.endswith(".parquet") or "/_delta_log/" in info.key:
            continue
        found = rows_of_file(stores.lake_files.get(info.key), marks, person)
        parts.append(found.own.with_columns(day=pl.lit(_day_of(info.key))))
        mentions += found.mentions
    rows = pl.concat(parts, how="diagonal_relaxed") if parts else pl.DataFrame()
    return (rows.unique(maintain_order=True) if rows.height else rows), mentions


def rows_of_file(data: bytes, marks: Mapping[str, Mark], person: Person) -> Rows:
    """`rows_of` of a Parquet file: declared columns are read first, all others only if a row is the person's."""
    schema = pl.read_parquet_schema(io.BytesIO(data))
    short = [name for name, dtype in schema.items() if not isinstance(dtype, pl.List) or dtype.inner == pl.String]
    declared = [name for name in short if name in marks and marks[name].personal]
    found = rows_of(_read(data, declared), marks, person)
    return rows_of(_read(data, short), marks, person) if found.own.height else found


def _read(data: bytes, columns: list[str]) -> pl.DataFrame:
    return pl.read_parquet(io.BytesIO(data), columns=columns, hive_partitioning=False)


def _day_of(key: str) -> str | None:
    return next((part.removeprefix("day=") for part in key.split("/") if part.startswith("day=")), None)


def table_logs(stores: Stores, person: Person) -> Iterator[Holding]:
    """Lines of tables' logs that name the person: statistics that older versions of Darkroom wrote, and predicates."""
    for table in sorted(stores.lake_files.folders("tables/")):
        count = 0
        for info in stores.lake_files.list(f"tables/{table}/_delta_log/"):
            count += int(found_in(_log_lines(info.key, stores.lake_files.get(info.key)), person).sum())
        if count:
            yield Holding(table, count)


def _log_lines(key: str, data: bytes) -> pl.Series:
    if not key.endswith(".parquet"):
        return lines_of(data)
    return lines_of(pl.read_parquet(io.BytesIO(data)).write_ndjson().encode())


def contents(stores: Stores, person: Person) -> Iterator[Holding]:
    """Contents of the person, by their hash; rows of result chunks and manifests. Every object's first bytes are read."""
    for info in stores.objects.list("sha256/"):
        sha256 = info.key.removeprefix("sha256/").replace("/", "")
        if sha256 in person.hashes:
            yield Holding(sha256, 1, read=partial(stores.objects.get, info.key))
            continue
        try:
            rows = _table_in(stores.objects, info.key)
        except (ObjectError, PolarsError):
            continue  # no table that Darkroom wrote, though it begins as one
        own = rows_of(rows, CHUNK_MARKS, person).own if rows is not None else pl.DataFrame()
        if own.height:
            yield Holding(sha256, own.height, rows=without_others(own, CHUNK_MARKS, person))


CHUNK_MARKS = {**MARKS, "result_key": Mark("hash", subject=True), "path": Mark("key", content=True)}
"""Of rows in result chunks, and of manifests."""


def _table_in(store: ObjectStore, key: str) -> pl.DataFrame | None:
    """The rows of an object that is a table, without lists of numbers; None for another object."""
    try:
        head = bytes(store.get_range(key, 0, 6))
    except InvalidRange:
        return None
    if head[:4] == b"PAR1":
        data = store.get(key)
        schema = pl.read_parquet_schema(io.BytesIO(data))
        return _read(data, [name for name, dtype in schema.items() if not isinstance(dtype, pl.List)])
    if head == b"ARROW1":
        rows = pl.read_ipc(io.BytesIO(store.get(key)))
        return rows.select([name for name, dtype in rows.schema.items() if not isinstance(dtype, pl.List)])
    return None


def packs(stores: Stores, person: Person) -> Iterator[Holding]:
    """Variants of the person's contents, which lie in objects with those of others; and their rows in variants of tables."""
    for table in sorted(stores.lake_files.folders("tables/")):
        if table == "table_variants":
            yield from _rows_in_variants(stores, person)
        elif table.endswith(("_variants", "_renders")):
            rows, _ = table_rows(stores, table, person)
            shown = set(_places(unmixed(rows, person)))
            for place in _places(rows):
                if stores.objects.exists(content_key(place[1])):
                    yield Holding(place[0], 1, read=partial(_part, stores.objects, place) if place in shown else None)


def _part(store: ObjectStore, place: tuple[str, str, int, int]) -> bytes:
    return bytes(store.get_part(*place))


def _places(rows: pl.DataFrame) -> Iterator[tuple[str, str, int, int]]:
    """Content, object, offset and size of each different content of rows of a table of variants."""
    if "object_offset" in rows.columns:
        columns = ("content_sha256", "object_sha256", "object_offset", "size_bytes")
        yield from rows.select(columns).unique("content_sha256", maintain_order=True).iter_rows()


def _rows_in_variants(stores: Stores, person: Person) -> Iterator[Holding]:
    """Rows of the person in variants of tables, each of which has rows of many people."""
    for info in stores.lake_files.list("tables/table_variants/day="):
        for place in _places(pl.read_parquet(io.BytesIO(stores.lake_files.get(info.key)), hive_partitioning=False)):
            try:
                data = _part(stores.objects, place)
            except ObjectError:
                continue  # a version of the table is older than the last clean-up
            own = rows_of_file(data, MARKS, person).own if data[:4] == b"PAR1" else pl.DataFrame()
            if own.height:
                yield Holding(place[0], own.height, rows=without_others(own, MARKS, person))


def models(stores: Stores, person: Person) -> Iterator[Holding]:
    """Models whose training set had rows of the person: weights can't be searched, their pins say what they were made of."""
    own, _ = table_rows(stores, "training_table", person)
    days = set(own["day"]) if own.height else set()
    pins = _every_row(stores, "training_pin", ["identity", "first_day", "last_day"])
    windows = [
        identity
        for identity, first, last in pins.iter_rows()
        if any(first.isoformat() <= day <= last.isoformat() for day in days)
    ]
    named = _every_row(stores, "popularity_model", ["weights_sha256", "pin_identity"])
    for (sha256,) in named.filter(pl.col("pin_identity").is_in(windows)).select("weights_sha256").iter_rows():
        yield Holding(sha256, 1)


def _every_row(stores: Stores, table: str, columns: list[str]) -> pl.DataFrame:
    """The different rows of all files of a table."""
    keys = [info.key for info in stores.lake_files.list(f"tables/{table}/day=")]
    parts = [_read(stores.lake_files.get(key), columns) for key in keys]
    return pl.concat(parts).unique(maintain_order=True) if parts else pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
