"""What SQLite lacks of PostgreSQL's SQL, types and functions, made up for. No connection is opened here.

A time is text, `2026-02-01 12:00:00.123456`, always UTC; a day is `2026-02-01`; both sort as they should, and SQLite's own
functions read them. JSON is text, a boolean 0 or 1. The declared type of a column says which of these it holds.
"""

import hashlib
import re
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from resources.errors import DatabaseUnusable

NOW = "strftime('%Y-%m-%d %H:%M:%f000', 'now')"
"""The present time as a default of a column: in milliseconds, by what any program's SQLite knows."""

_DDL = (
    (r"\bbigint generated (by default|always) as identity primary key\b", "integer primary key autoincrement"),
    (r"\binteger(?! primary key)\b", "int"),
    (r"\bdefault (now|clock_timestamp)\(\)", f"default ({NOW})"),
    (r"\bunlogged table\b", "table"),
)
TYPES: dict[str, Any] = {
    "bigint": pl.Int64,
    "integer": pl.Int64,  # SQLite's word for the 64 bits of a primary key
    "int": pl.Int32,
    "double precision": pl.Float64,
    "text": pl.String,
    "jsonb": pl.String,
    "numeric": pl.String,
    "boolean": pl.Boolean,
    "date": pl.Date,
    "timestamptz": pl.Datetime("us", "UTC"),
}
_HINT = re.compile(r"(.*) \[(.*)\]")


def statements(script: str) -> Iterator[str]:
    """The statements of a migration, each as SQLite has it."""
    for pattern, ours in _DDL:
        script = re.sub(pattern, ours, script)
    held = ""
    for part in script.split(";"):
        held += f"{part};"
        if sqlite3.complete_statement(held):
            yield held
            held = ""


def in_order(statement: str) -> str:
    """A statement whose parameters are `%s`."""
    return re.sub(r"%[s%]", lambda found: "?" if found[0] == "%s" else "%", statement)


def without_parameters(query: str) -> str:
    """A query whose parameters are `$1`, `$2` ..., with null for each of them."""
    return re.sub(r"\$\d+", "null", query)


def numbered(parameters: Sequence[Any]) -> dict[str, Any]:
    """Parameters for a query in which they are `$1`, `$2` ..."""
    return {str(number): stored(value) for number, value in enumerate(parameters, 1)}


def stored(value: Any) -> Any:
    """A parameter as SQLite keeps it. Raises ValueError for a time without a zone."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone: give an aware datetime")
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value


def name_and_type(column: str, declared: str) -> tuple[str, str]:
    """A result's name and its type in lower case: as declared, or as an alias `name [type]` says; empty if neither does."""
    hint = _HINT.fullmatch(column)
    return (hint[1], hint[2]) if hint else (column, declared.lower())


def frame(columns: Sequence[tuple[str, str]], rows: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
    """Rows as a frame. columns: (name, type) of each. Raises DatabaseUnusable for a value that is not of its type."""
    values = list(zip(*rows, strict=True)) or [()] * len(columns)
    return pl.DataFrame([_series(name, kind, list(found)) for (name, kind), found in zip(columns, values, strict=True)])


def _series(name: str, kind: str, values: list[Any]) -> pl.Series:
    dtype = TYPES.get(kind)
    try:
        if dtype is None:
            return pl.Series(name, values)
        if kind == "date":
            return pl.Series(name, values, pl.String).str.to_date("%Y-%m-%d")
        if kind == "timestamptz":
            return pl.Series(name, values, pl.String).str.to_datetime(
                "%Y-%m-%d %H:%M:%S%.f", time_unit="us", time_zone="UTC"
            )
        if kind == "boolean":
            return pl.Series(name, values, pl.Int8).cast(pl.Boolean)
        if kind == "numeric":
            return pl.Series(name, [None if value is None else str(value) for value in values], pl.String)
        return pl.Series(name, values, dtype)
    except (pl.exceptions.PolarsError, TypeError, OverflowError) as error:
        raise DatabaseUnusable(
            f"The database's column {name!r} holds what is no {kind}: correct the rows. A day is 2026-02-01, a time is "
            f"2026-02-01 12:00:00.123456 in UTC. {str(error).splitlines()[0][:200]}"
        ) from None


def add_functions(connection: sqlite3.Connection) -> None:
    """Give a connection the functions that migrations and twins use."""
    connection.create_function("now", 0, _now)
    connection.create_function("clock_timestamp", 0, _now)
    connection.create_function("ago", 1, _ago)
    connection.create_function("object_checksum", 2, _object_checksum, deterministic=True)
    connection.create_window_function("hash_sum", 1, _HashSum)


def _now() -> str:
    return str(stored(datetime.now(UTC)))


def _ago(seconds: float) -> str:
    return str(stored(datetime.now(UTC) - timedelta(seconds=seconds)))


def _hash(text: str) -> int:
    """64 bits, signed, the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), signed=True)


def _object_checksum(key: str, version_id: str) -> int:
    return _hash(f"{key}\n{version_id}")


class _HashSum:
    """The sum of hashes of texts, whatever their order, as text. An aggregate, and a window function."""

    def __init__(self) -> None:
        self._sum = 0

    def step(self, text: str) -> None:
        """A row enters."""
        self._sum += _hash(text)

    def inverse(self, text: str) -> None:
        """A row leaves the window."""
        self._sum -= _hash(text)

    def value(self) -> str:
        """The sum so far."""
        return str(self._sum)

    def finalize(self) -> str:
        """The sum of all."""
        return str(self._sum)


def _time(text: bytes) -> datetime:
    return datetime.fromisoformat(text.decode()).replace(tzinfo=UTC)


# For rows as tuples: by the type that a column was declared with. Python keeps these for all connections that ask for them.
sqlite3.register_converter("date", lambda text: date.fromisoformat(text.decode()))
sqlite3.register_converter("timestamptz", _time)
sqlite3.register_converter("boolean", lambda text: text != b"0")
