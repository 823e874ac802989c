"""PostgreSQL's SQL, types and functions emulated in SQLite. No connection is opened here.

A time is text in UTC, `2026-02-01 12:00:00.123456`, and a day is `2026-02-01`; both sort chronologically, and SQLite's own
functions read them. JSON is text, a boolean 0 or 1. The declared type of a column says which of these it contains.
"""

import hashlib
import json
import re
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from resources.errors import DatabaseUnusable

NOW = "strftime('%Y-%m-%d %H:%M:%f000', 'now')"
"""The current time in milliseconds as a column's default, with functions that every build of SQLite has."""

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
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HINT = re.compile(r"(.*) \[(.*)\]")


def statements(script: str) -> Iterator[str]:
    """The statements of a migration, translated to SQLite."""
    for pattern, replacement in _DDL:
        script = re.sub(pattern, replacement, script)
    statement = ""
    for part in script.split(";"):
        statement += f"{part};"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def in_order(statement: str) -> str:
    """A statement with `%s` parameters, translated to SQLite's `?`."""
    return re.sub(r"%[s%]", lambda match: "?" if match[0] == "%s" else "%", statement)


def without_parameters(query: str) -> str:
    """A query with `$1`, `$2` ... replaced by null."""
    return re.sub(r"\$\d+", "null", query)


def numbered(parameters: Sequence[Any]) -> dict[str, Any]:
    """Parameters of a query with `$1`, `$2` ..., by name."""
    return {str(number): stored(value) for number, value in enumerate(parameters, 1)}


def stored(value: Any) -> Any:
    """A parameter as SQLite stores it. Raises ValueError for a time without a zone."""
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
    """A column's name and its type in lower case: declared, or from an alias `name [type]`; empty if neither exists."""
    hint = _HINT.fullmatch(column)
    return (hint[1], hint[2]) if hint else (column, declared.lower())


def frame(columns: Sequence[tuple[str, str]], rows: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
    """Rows as a frame. columns: (name, type) of each. Raises DatabaseUnusable for a value of another type."""
    values = list(zip(*rows, strict=True)) or [()] * len(columns)
    return pl.DataFrame([_series(name, kind, list(column)) for (name, kind), column in zip(columns, values, strict=True)])


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
    """Register the functions that migrations and twins use."""
    connection.create_function("now", 0, _now)
    connection.create_function("clock_timestamp", 0, _now)
    connection.create_function("ago", 1, _ago)
    connection.create_function("object_checksum", 2, _object_checksum, deterministic=True)
    connection.create_function("microseconds", 1, _microseconds, deterministic=True)
    connection.create_function("public_json", 2, _public_json, deterministic=True)
    connection.create_window_function("hash_sum", 1, _HashSum)


def _now() -> str:
    return str(stored(datetime.now(UTC)))


def _ago(seconds: float) -> str:
    return str(stored(datetime.now(UTC) - timedelta(seconds=seconds)))


def _microseconds(time: Any) -> int | None:
    """Microseconds since 1970 of a time, in UTC if it has no zone; None for other values."""
    try:
        at = datetime.fromisoformat(_text(time))
    except (TypeError, ValueError):
        return None
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH) // timedelta(microseconds=1)


def _public_json(details: Any, excluded: str) -> str | None:
    """A JSON object without the member `excluded` and members with a leading underscore; None for malformed JSON."""
    try:
        members = json.loads(_text(details)).items()
        public = {name: value for name, value in members if name != excluded and not name.startswith("_")}
        return json.dumps(public, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (AttributeError, TypeError, ValueError, RecursionError):
        return None


def _text(value: Any) -> str:
    """A text, which is a blob if it may be no UTF-8. Raises TypeError or ValueError for other values."""
    if not isinstance(value, str | bytes):
        raise TypeError
    return value.decode() if isinstance(value, bytes) else value


def _hash(text: str | bytes) -> int:
    """A signed 64-bit hash, equal in all processes."""
    data = text.encode() if isinstance(text, str) else text
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), signed=True)


def _object_checksum(key: str, version_id: str) -> int:
    return _hash(f"{key}\n{version_id}")


class _HashSum:
    """The sum of hashes of texts, as text, independent of their order. An aggregate and window function."""

    def __init__(self) -> None:
        self._sum = 0

    def step(self, text: str | bytes) -> None:
        """A row enters."""
        self._sum += _hash(text)

    def inverse(self, text: str | bytes) -> None:
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


# Converters by declared type, for rows as tuples. Python registers them for all connections that use them.
sqlite3.register_converter("date", lambda text: date.fromisoformat(text.decode()))
sqlite3.register_converter("timestamptz", _time)
sqlite3.register_converter("boolean", lambda text: text != b"0")
