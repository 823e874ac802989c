"""PostgreSQL as the application's database: transactions, and reads into Polars through Arrow (ADBC).

Its queries are in the modules that use them, such as `ledger.py`.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cache
from typing import Any

import adbc_driver_postgresql
import polars as pl
import psycopg2
import psycopg2.errors
import psycopg2.extensions
from adbc_driver_manager import AdbcConnection, dbapi
from psycopg2 import sql
from psycopg2.extras import execute_values

from resources.database.contract import Database, Statement
from resources.errors import DatabaseUnusable, StoreUnavailable

CONNECT_TIMEOUT_S = 10
_FULL = ("too many clients already", "too many connections", "remaining connection slots are reserved")
"""Messages of a server without a free connection."""
_IN_CLEAR = "cleartext password"
"""Part of libpq's message if `require_auth` kept it from sending a password."""
_LOST = ("server closed the connection", "terminating connection", "connection to server", "no connection to the server")
_GONE = "PostgreSQL went away in the middle of a statement, of which nothing is committed. Run again once it is back."

_NO_TIMEOUTS = (
    "select set_config(name, '0', true) from pg_settings "
    "where name in ('idle_in_transaction_session_timeout', 'transaction_timeout')"
)


def _unreachable(message: str) -> StoreUnavailable:
    if any(words in message for words in _FULL):
        return StoreUnavailable(
            "PostgreSQL has no free connection. Close some, raise its max_connections (or this user's or database's "
            f"limit), or let fewer runs go at once; then run again. The server said: {message}"
        )
    if _IN_CLEAR in message:
        return StoreUnavailable(
            "What answers at DARKROOM_DATABASE_URL asks for the password in clear text over a connection that may not be "
            "encrypted, and did not get it: is it your PostgreSQL? If so, have it use scram-sha-256, or add "
            "sslmode=verify-full to the address, or, in a network that you trust, require_auth=password."
        )
    return StoreUnavailable(
        "PostgreSQL can't be reached. Start the embedded server with `darkroom up`, or set DARKROOM_DATABASE_URL; "
        f"the server said: {message}"
    )


def _own(statement: Statement) -> str:
    return statement if isinstance(statement, str) else statement.postgres


@cache
def _driver(url: str) -> dbapi._SharedDatabase:
    """The driver with the server's types, which take longer to read than most queries. It keeps no connection open."""
    return dbapi._SharedDatabase(adbc_driver_postgresql.connect(url))


class PostgresTransaction(psycopg2.extensions.connection):
    """A connection that implements `contract.Transaction`."""

    def execute(self, statement: Statement, parameters: Sequence[Any] = ()) -> int:
        """Run one statement. Returns the number of rows that it touched."""
        with self.cursor() as cursor:
            cursor.execute(_own(statement), parameters)
            return cursor.rowcount

    def rows(self, statement: Statement, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement. Returns its rows."""
        with self.cursor() as cursor:
            cursor.execute(_own(statement), parameters)
            return cursor.fetchall()

    def insert(self, statement: Statement, rows: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
        """Insert many rows, 2,000 at a time. Returns the rows of the `returning` clause."""
        text = _own(statement)
        with self.cursor() as cursor:
            return execute_values(cursor, text, list(rows), page_size=2000, fetch="returning" in text) or []

    def insert_into(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Insert many rows; existing keys are skipped."""
        statement = sql.SQL("insert into {} ({}) values %s on conflict do nothing").format(
            sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
        )
        with self.cursor() as cursor:
            execute_values(cursor, statement, list(rows), page_size=2000)

    def run_script(self, script: str) -> None:
        """Run many statements without parameters."""
        self.execute(script)

    def hold(self, key: int) -> None:
        """Take an advisory lock until the end of the transaction."""
        self.rows("select pg_advisory_xact_lock(%s)", (key,))


class Postgres(Database):
    """PostgreSQL at a URL."""

    @contextmanager
    def connect(self) -> Iterator[PostgresTransaction]:
        """A connection in one transaction: committed at the end, rolled back on an error, closed in any case.

        Raises StoreUnavailable if the server can't be reached or goes away; nothing is committed then.
        """
        connection = self._open()
        try:
            with connection:
                yield connection
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            if not connection.closed:
                raise
            raise StoreUnavailable(f"{_GONE} The server said: {str(error).splitlines()[0]}") from None
        finally:
            connection.close()

    def _open(self) -> PostgresTransaction:
        try:
            return psycopg2.connect(
                self.url,
                connection_factory=PostgresTransaction,
                connect_timeout=CONNECT_TIMEOUT_S,
                application_name="darkroom",
            )
        except psycopg2.OperationalError as error:
            raise _unreachable(str(error).splitlines()[0].split(":")[-1].strip()) from None

    @contextmanager
    def lock(self, name: str) -> Iterator[bool]:
        """Try to take a named lock while the block runs. Yields whether it was free."""
        with closing(self._open()) as connection, connection.cursor() as cursor:
            # A lock of the transaction, not of the session: a pooler such as PgBouncer may change sessions between
            # transactions. An idle transaction keeps no snapshot, so that the server can still vacuum.
            cursor.execute(_NO_TIMEOUTS)
            cursor.execute("select pg_try_advisory_xact_lock(hashtextextended(%s, 0))", (name,))
            try:
                yield bool((cursor.fetchone() or (False,))[0])
            finally:  # closing the session would release the lock, too, but a little later
                with suppress(psycopg2.OperationalError, psycopg2.InterfaceError):
                    connection.rollback()

    def migrate(self) -> list[str]:
        """Apply pending migrations: see `Database`. Raises DatabaseUnusable with the grants that the role lacks."""
        try:
            return super().migrate()
        except (psycopg2.errors.InsufficientPrivilege, psycopg2.errors.ReadOnlySqlTransaction) as error:
            message = str(error).splitlines()[0]
            raise DatabaseUnusable(
                f"Migrations are pending, and this role may not make or change Darkroom's tables ({message}). Run "
                "`darkroom up` once as the role that owns them; or, on a new database, let this role make them: "
                "grant usage, create on schema SCHEMA to ROLE, SCHEMA being the first of its search_path. Afterwards it "
                "needs: grant select, insert, update, delete on all tables in schema SCHEMA to ROLE."
            ) from None

    def read(self, query: Statement, parameters: Sequence[Any] = ()) -> pl.DataFrame:
        """The rows of a query as a frame, through Arrow. Parameters are `$1`, `$2` ..."""
        try:
            driver = _driver(self.url)
            # In a transaction: outside of one a pooler may run a prepared statement in another session.
            connection = dbapi.Connection(driver, AdbcConnection(driver._db), autocommit=False)
        except dbapi.Error as error:
            # Its text may contain the address with the password.
            causes = [words for words in (*_FULL, _IN_CLEAR) if words in str(error)]
            raise _unreachable(causes[0] if causes else type(error).__name__) from None
        with connection, connection.cursor() as cursor:
            try:
                cursor.execute(_own(query), parameters=list(parameters) or None)
                frame = pl.from_arrow(cursor.fetch_arrow_table())
            except dbapi.Error as error:
                if not any(words in str(error) for words in _LOST):
                    raise
                raise StoreUnavailable(f"{_GONE} The driver said: {str(error)[:200]}") from None
        assert isinstance(frame, pl.DataFrame)  # noqa: S101  a table is a frame
        return frame
