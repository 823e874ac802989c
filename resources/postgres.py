"""PostgreSQL as the application's database: connections, and reads into Polars through Arrow (ADBC), never row by row.

What is asked of it lives with its asker: the upload ledger in `ledger.py`, results by content in `results.py`.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import adbc_driver_postgresql
import polars as pl
import psycopg2
import psycopg2.extensions
from adbc_driver_manager import AdbcConnection, dbapi
from psycopg2 import sql
from psycopg2.extras import execute_values

from resources.database import Database, Statement
from resources.errors import StoreUnavailable

CONNECT_TIMEOUT_S = 10
_FULL = ("too many clients already", "too many connections", "remaining connection slots are reserved")
"""How a server without a free connection says so."""
_LOST = ("server closed the connection", "terminating connection", "connection to server", "no connection to the server")
_GONE = "PostgreSQL went away in the middle of a statement, of which nothing is committed. Run again once it is back."


def _unreachable(said: str) -> StoreUnavailable:
    if any(words in said for words in _FULL):
        return StoreUnavailable(
            "PostgreSQL has no free connection. Close some, raise its max_connections (or this user's or database's "
            f"limit), or let fewer runs go at once; then run again. The server said: {said}"
        )
    return StoreUnavailable(
        "PostgreSQL can't be reached. Start the embedded server with `darkroom up`, or set DARKROOM_POSTGRES_URL; "
        f"the server said: {said}"
    )


def _own(statement: Statement) -> str:
    return statement if isinstance(statement, str) else statement.postgres


@cache
def _driver(url: str) -> dbapi._SharedDatabase:
    """What the driver asks a server once, its types: longer than most reads. Holds no connection."""
    return dbapi._SharedDatabase(adbc_driver_postgresql.connect(url))


class PostgresTransaction(psycopg2.extensions.connection):
    """A connection that is a `database.Transaction`."""

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
        """Insert many rows, 2,000 at a time. Returns what `returning` gave."""
        text = _own(statement)
        with self.cursor() as cursor:
            return execute_values(cursor, text, list(rows), page_size=2000, fetch="returning" in text) or []

    def insert_into(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Insert many rows; those whose key is there already are left."""
        statement = sql.SQL("insert into {} ({}) values %s on conflict do nothing").format(
            sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
        )
        with self.cursor() as cursor:
            execute_values(cursor, statement, list(rows), page_size=2000)

    def run_script(self, script: str) -> None:
        """Run many statements that take no parameters."""
        self.execute(script)

    def hold(self, key: int) -> None:
        """Hold an advisory lock to the end of the transaction."""
        self.rows("select pg_advisory_xact_lock(%s)", (key,))


class Postgres(Database):
    """PostgreSQL at a URL."""

    @contextmanager
    def connect(self) -> Iterator[PostgresTransaction]:
        """A connection in one transaction: committed at the end, rolled back on an error, closed in any case.

        Raises StoreUnavailable if the server can't be reached or goes away meanwhile: nothing is committed then.
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
        """Hold a lock by name for the length of a block, unless another session has it. Yields whether it is held."""
        connection = self._open()
        try:
            connection.autocommit = True  # an open transaction would keep the server from cleaning up
            with connection.cursor() as cursor:
                cursor.execute("select pg_try_advisory_lock(hashtextextended(%s, 0))", (name,))
                is_mine = bool((cursor.fetchone() or (False,))[0])
                try:
                    yield is_mine
                finally:
                    if is_mine:  # the server releases a closed session's locks too, but a little later
                        cursor.execute("select pg_advisory_unlock(hashtextextended(%s, 0))", (name,))
        finally:
            connection.close()

    def read(self, query: Statement, parameters: Sequence[Any] = ()) -> pl.DataFrame:
        """The rows of a query as a frame, through Arrow. Parameters are `$1`, `$2` ..."""
        try:
            driver = _driver(self.url)
            connection = dbapi.Connection(driver, AdbcConnection(driver._db), autocommit=True)
        except dbapi.Error as error:
            # Its text may hold the address with the password.
            full = [words for words in _FULL if words in str(error)]
            raise _unreachable(full[0] if full else type(error).__name__) from None
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
