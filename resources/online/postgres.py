"""The online store in PostgreSQL: tables of its own in the schema `darkroom_online`, which it makes when they are missing.

It may be the application's database. Each thread keeps one connection; a read is one statement.
"""

import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import psycopg2
import psycopg2.extensions
from psycopg2.errors import DiskFull, InsufficientPrivilege, InvalidSchemaName, ReadOnlySqlTransaction, UndefinedTable
from psycopg2.extensions import TRANSACTION_STATUS_IDLE
from psycopg2.extras import execute_values

from resources.errors import DatabaseUnusable, NoSpace, StoreUnavailable
from resources.online import advice
from resources.online.contract import Generation, Statistics
from resources.online.ranks import built, generation_of, microseconds
from resources.online.sql_store import BUILT, COUNT, CURRENT, NUMBERED, TABLES, VALUE, Connection, SqlStore, lease_of

SCHEMA = "darkroom_online"
LAYOUT = 1
"""Version of the tables. The schema's comment has it."""
CONNECT_TIMEOUT_S = 10
_LOCK = 0x6461726E
"""Key of the lock under which tables are made, and builds begin."""
_ITEMS = """
create table if not exists online.items (key bytea not null, rank bigint not null, value bytea, primary key (key, rank));
"""
_READ = (
    "select g.*, array(select ({value}) from unnest(%(keys)s::bytea[]) with ordinality k (key, place) order by place) "
    "from ({generation}) g"
)
_READ_CURRENT = _READ.format(value=VALUE.format(key="k.key", rank="2 * g.number + 1"), generation=CURRENT)
_READ_NUMBERED = _READ.format(value=VALUE.format(key="k.key", rank="2 * g.number + 1"), generation=NUMBERED)
_READ_BUILT = (
    f"select array(select ({BUILT.format(key='k.key', rank=':rank')}) "  # noqa: S608  constants
    "from unnest(%(keys)s::bytea[]) with ordinality k (key, place) order by place)"
)
_LAYOUT = (
    "select obj_description(n.oid, 'pg_namespace') from pg_namespace n join pg_class c on c.relnamespace = n.oid "
    "where n.nspname = :schema and c.relname = 'items'"
)


def _check(url: str) -> None:
    """Raises DatabaseUnusable for an address that can't be read: libpq's own words have parts of the password."""
    with suppress(psycopg2.ProgrammingError):
        if re.fullmatch(r"[0-9,]*", psycopg2.extensions.parse_dsn(url).get("port", "")):
            return
    raise advice.bad_address("postgresql://USER:PASSWORD@HOST:5432/DATABASE")


@cache
def _own(statement: str) -> str:
    """A statement in PostgreSQL's dialect."""
    named = re.sub(r"(?<![:\w]):([a-z_]\w*)", r"%(\1)s", statement)
    return re.sub(r"\bonline\.", f"{SCHEMA}.", named)


class PostgresConnection(psycopg2.extensions.connection):
    """A connection that runs the statements of `sql_store`. has_store: the schema was there once."""

    has_store = False

    def run(self, statement: str, parameters: Any = None) -> Any:
        """Run one statement."""
        cursor = self.cursor()
        cursor.execute(_own(statement), parameters or {})
        return cursor

    def put(self, rank: int, values: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Insert items of a rank, or replace their values."""
        rows = [(key, rank, value) for key, value in values]
        with self.cursor() as cursor:
            execute_values(
                cursor,
                f"insert into {SCHEMA}.items (key, rank, value) values %s "  # noqa: S608
                "on conflict (key, rank) do update set value = excluded.value",
                rows,
                page_size=2000,
            )


class PostgresStore(SqlStore):
    """The store at a URL."""

    for_update = " for update"

    def __init__(self, url: str) -> None:
        _check(url)
        self._url = url
        self._of_thread = threading.local()

    def read(self, keys: Sequence[bytes], *, of: Generation | None = None) -> tuple[Generation, list[bytes | None]]:
        """The values of these keys by one statement: see the contract."""
        query = _READ_CURRENT
        parameters: dict[str, object] = {"keys": list(keys)}
        if of is not None:
            query = _READ_NUMBERED
            parameters |= {"number": of.number, "built_us": microseconds(of.built_at)}
        is_kept = "connection" in self._of_thread.__dict__
        try:
            row = self._row(query, parameters)
        except StoreUnavailable:
            if not is_kept:
                raise
            row = self._row(query, parameters)  # the server may have been restarted since the last read
        if row is None:
            raise advice.empty(self.was_filled) if of is None else advice.generation_gone(of)
        self.was_filled = True
        return generation_of(row[:-1]), [None if value is None else bytes(value) for value in row[-1]]

    def _row(self, query: str, parameters: Mapping[str, object]) -> Any:
        with self.reading() as connection:
            return connection.run(query, parameters).fetchone() if connection else None

    def statistics(self) -> Statistics:
        """What the schema contains. The space is that of tables and indexes on the server's disk."""
        with self.reading() as connection:
            if connection is None:
                return Statistics("PostgreSQL", 0, 0, 0, None)
            rows, streamed_rows = connection.run(COUNT).fetchone()
            size = connection.run(f"select pg_total_relation_size('{SCHEMA}.items')").fetchone()[0]
            lease = lease_of(self._held(connection), self.now(connection))
            return Statistics(
                f"PostgreSQL {connection.info.parameter_status('server_version')}", rows, streamed_rows, size, lease
            )

    def close(self) -> None:
        """Close this thread's connection."""
        connection = self._of_thread.__dict__.pop("connection", None)
        if connection is not None:
            connection.close()

    def prepare(self) -> None:
        """Create the schema and its tables where they are missing. Raises DatabaseUnusable with the grants that it needs."""
        with self.reading() as connection:
            if connection is not None and self._has_store(connection):
                return
        with self.transaction() as connection:
            connection.run("select pg_advisory_xact_lock(:key)", {"key": _LOCK})
            connection.run(f"create schema if not exists {SCHEMA}; {TABLES} {_ITEMS}")
            connection.run(f"comment on schema {SCHEMA} is 'layout {LAYOUT}'")

    @contextmanager
    def reading(self) -> Iterator[PostgresConnection | None]:
        """This thread's connection."""
        with self._translating():
            connection = self._open()
            # A dropped schema is found by the query itself.
            connection.has_store = connection.has_store or self._has_store(connection)
            yield connection if connection.has_store else None

    @contextmanager
    def transaction(self) -> Iterator[PostgresConnection]:
        """A transaction. Each of its statements sees what others have committed before."""
        with self._translating():
            connection = self._open()
            connection.run("begin")
            try:
                yield connection
                connection.run("commit")
            finally:
                if not connection.closed and connection.info.transaction_status != TRANSACTION_STATUS_IDLE:
                    connection.run("rollback")

    def now(self, connection: Connection) -> int:
        """The server's time."""
        return int(connection.run("select (extract(epoch from clock_timestamp()) * 1000000)::bigint").fetchone()[0])

    def _lock_builds(self, connection: Connection) -> None:
        connection.run("select pg_advisory_xact_lock(:key)", {"key": _LOCK})

    def _built(self, draft: Generation, keys: Sequence[bytes]) -> list[bytes | None]:
        with self.reading() as connection:
            if connection is None:
                raise advice.draft_gone(draft)
            values = connection.run(_READ_BUILT, {"keys": list(keys), "rank": built(draft.number)}).fetchone()[0]
        return [None if value is None else bytes(value) for value in values]

    def _has_store(self, connection: PostgresConnection) -> bool:
        """Whether the schema has its tables. Raises StoreUnreadable."""
        row = connection.run(_LAYOUT, {"schema": SCHEMA}).fetchone()
        if row is not None and row[0] != f"layout {LAYOUT}":
            raise advice.other_layout(row[0], LAYOUT, f"drop schema {SCHEMA} cascade")
        return row is not None

    def _open(self) -> PostgresConnection:
        """This thread's connection, opened if it is not."""
        kept: PostgresConnection | None = self._of_thread.__dict__.get("connection")
        if kept is not None and not kept.closed:
            return kept
        connection: PostgresConnection = psycopg2.connect(
            self._url,
            connection_factory=PostgresConnection,
            connect_timeout=CONNECT_TIMEOUT_S,
            application_name="darkroom online",
        )
        connection.autocommit = True
        self._of_thread.connection = connection
        return connection

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except psycopg2.Error as error:
            raise self._translated(error) from None

    def _translated(self, error: psycopg2.Error) -> Exception:
        """The error that says what to do; the same one if it is about a statement of ours."""
        lines = str(error).splitlines() or [type(error).__name__]
        if isinstance(error, UndefinedTable | InvalidSchemaName):
            return advice.empty(self.was_filled)
        if isinstance(error, InsufficientPrivilege | ReadOnlySqlTransaction):
            return DatabaseUnusable(
                f"This role may not make or change the online store's tables ({lines[0]}): once, grant create on database "
                f"DATABASE to ROLE; or, if another role makes them, grant usage on schema {SCHEMA} to ROLE, and grant "
                f"select, insert, update, delete on all tables in schema {SCHEMA} to ROLE."
            )
        if isinstance(error, DiskFull):
            return NoSpace(f"The disk of the online store's PostgreSQL is full. Nothing was changed. It said: {lines[0]}")
        if isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError):
            self.close()
            # The address, which may be in the first part, has the password.
            said = lines[0].split(":")[-1].strip()
            return StoreUnavailable(
                "The online store's PostgreSQL does not answer, or went away. Nothing is half done. Start it, or correct "
                f"DARKROOM_ONLINE_URL, then run again. It said: {said}"
            )
        return error
