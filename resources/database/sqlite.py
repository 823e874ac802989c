"""SQLite as the application's database: one file, no server, for small projects on one machine.

Any number of processes of one machine may use it: readers see the last commit (WAL), writers take turns. Differences in SQL,
types and functions are in `sqlite_dialect.py`.
"""

import fcntl
import hashlib
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl

from resources.database.contract import Database, Statement
from resources.database.sqlite_dialect import (
    add_functions,
    frame,
    in_order,
    name_and_type,
    numbered,
    statements,
    stored,
    without_parameters,
)
from resources.errors import DatabaseUnusable, NoSpace, ResourceError, StoreUnavailable

SCHEME = "sqlite:///"
BUSY_S = 30.0
"""Seconds that a writer waits for others."""
OLDEST = (3, 35, 0)
"""The first SQLite with `returning`."""
ROOM_BYTES = 64 * 1024
"""A disk with less free space counts as full: the shared-memory file of the database grows by 32 KiB."""
MAX_PARAMETERS = 32_000
"""Parameters in one statement; SQLite's limit is 32,766."""


def path_of(url: str) -> Path:
    """The file of `sqlite:///relative.db` or `sqlite:////absolute.db`. Raises DatabaseUnusable for another URL."""
    path = unquote(url.removeprefix(SCHEME))
    if not url.startswith(SCHEME) or path in ("", ":memory:"):
        raise DatabaseUnusable(
            "DARKROOM_DATABASE_URL names no file: write sqlite:///darkroom.db, or four slashes for a path from the root, "
            "sqlite:////data/darkroom.db."
        )
    return Path(path).expanduser().absolute()


def _own(statement: Statement) -> str:
    return statement if isinstance(statement, str) else statement.sqlite


class SqliteTransaction:
    """A connection in its transaction: see `contract.Transaction`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, statement: Statement, parameters: Sequence[Any] = ()) -> int:
        """Run one statement. Returns the number of affected rows."""
        return self._connection.execute(in_order(_own(statement)), list(map(stored, parameters))).rowcount

    def rows(self, statement: Statement, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement. Returns its rows."""
        return self._connection.execute(in_order(_own(statement)), list(map(stored, parameters))).fetchall()

    def insert(self, statement: Statement, rows: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
        """Insert many rows, some thousands at a time. Returns the rows of the `returning` clause."""
        text, source, returned = _own(statement), iter(rows), []
        first = next(source, None)
        if first is None:
            return []
        row = f"({', '.join('?' * len(first))})"
        page = [first, *islice(source, MAX_PARAMETERS // len(first) - 1)]
        while page:
            placeholders = f"values {', '.join([row] * len(page))}"
            parameters = [stored(value) for values in page for value in values]
            returned += self._connection.execute(text.replace("values %s", placeholders), parameters).fetchall()
            page = list(islice(source, MAX_PARAMETERS // len(first)))
        return returned

    def insert_into(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Insert many rows; existing keys are skipped."""
        named = ", ".join(f'"{column}"' for column in columns)
        self.insert(f'insert into "{table}" ({named}) values %s on conflict do nothing', rows)  # noqa: S608  names of ours

    def run_script(self, script: str) -> None:
        """Run the statements of a migration."""
        for statement in statements(script):
            self._connection.execute(statement)

    def hold(self, key: int) -> None:
        """Nothing to do: a writing transaction excludes all others from its beginning."""

    def rollback(self) -> None:
        """Undo all changes of the transaction."""
        self._connection.rollback()


class Sqlite(Database):
    """SQLite in a file: `sqlite:///relative.db` or `sqlite:////absolute.db`."""

    busy_s: float = BUSY_S

    @property
    def path(self) -> Path:
        """The file."""
        return path_of(self.url)

    @contextmanager
    def connect(self) -> Iterator[SqliteTransaction]:
        """A writing transaction, of which there is one at a time: others wait for its end, at most `busy_s`."""
        with self._open(typed=True) as connection:
            connection.execute("begin immediate")
            try:
                yield SqliteTransaction(connection)
                if connection.in_transaction:
                    connection.commit()
            finally:
                if connection.in_transaction:
                    connection.rollback()

    def rows(self, query: Statement, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query; it waits for no writer."""
        with self._open(typed=True) as connection:
            return SqliteTransaction(connection).rows(query, parameters)

    def read(self, query: Statement, parameters: Sequence[Any] = ()) -> pl.DataFrame:
        """The rows of a query as a frame. Parameters are `$1`, `$2` ...

        A column of a table has its declared type. A computed column has the type of its values, or the one in its alias:
        `max(day) as "newest [date]"`.
        """
        text = _own(query)
        with self._open() as connection:
            # SQLite accepts any bytes as text: a value that is no UTF-8 must not fail the query
            connection.text_factory = lambda data: data.decode("utf-8", "replace")
            connection.execute(f"create temp view asked as {without_parameters(text)}")
            declared = connection.execute("select name, type from pragma_table_info('asked')").fetchall()
            rows = connection.execute(text, numbered(parameters)).fetchall()
        return frame([name_and_type(*column) for column in declared], rows)

    @contextmanager
    def lock(self, name: str) -> Iterator[bool]:
        """Try to take a named lock while the block runs. Yields whether it was free. It ends with its process."""
        with self._file_lock(name, fcntl.LOCK_EX | fcntl.LOCK_NB) as is_mine:
            yield is_mine

    def migrate(self) -> list[str]:
        """Create the file for its owner alone if it is missing, and apply pending migrations: see `Database`.

        An existing file is closed to everybody but its owner and group.
        """
        with self._file_lock("migrate", fcntl.LOCK_EX):
            if not self.path.exists():
                os.close(self._open_or_create(self.path))
            status = self.path.stat()
            # A restored backup may be open to all. By path: closing a descriptor of the file would end this process's locks.
            if status.st_mode & 0o007 and status.st_uid == os.geteuid():
                self.path.chmod(status.st_mode & 0o770)
            with self._open() as connection:
                (mode,) = connection.execute("pragma journal_mode = wal").fetchone()
            if mode != "wal":
                raise DatabaseUnusable(
                    f"{self.path} lies on a file system on which processes can't share it: choose a folder on a local disk."
                )
            return super().migrate()

    def _script(self, migration: Path) -> str:
        twin = migration.parent / "sqlite" / migration.name
        return super()._script(twin if twin.exists() else migration)

    @contextmanager
    def _open(self, *, typed: bool = False) -> Iterator[sqlite3.Connection]:
        """A connection without a transaction. typed: convert values by the declared types."""
        if sqlite3.sqlite_version_info < OLDEST:
            raise DatabaseUnusable(f"This Python has SQLite {sqlite3.sqlite_version}: 3.35 is needed, or a PostgreSQL.")
        kinds = sqlite3.PARSE_DECLTYPES | sqlite3.PARSE_COLNAMES if typed else 0
        with self._translating_errors():
            # mode=rw: a file that is gone is not replaced by an empty one.
            connection = sqlite3.connect(
                f"{self.path.as_uri()}?mode=rw", timeout=self.busy_s, isolation_level=None, detect_types=kinds, uri=True
            )
            with closing(connection):
                connection.execute("pragma foreign_keys = on")
                # A commit returns when it is on the disk: a queue message is deleted right after it.
                connection.execute("pragma synchronous = full")
                connection.execute("pragma temp_store = memory")
                # Triggers call the functions below, which some builds of SQLite refuse by default.
                connection.execute("pragma trusted_schema = on")
                add_functions(connection)
                yield connection

    @contextmanager
    def _file_lock(self, name: str, mode: int) -> Iterator[bool]:
        """A lock on a separate file in the database's folder. Yields whether it was free."""
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        descriptor = self._open_or_create(Path(f"{self.path}-lock-{digest}"))
        try:
            try:
                fcntl.flock(descriptor, mode)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(descriptor)

    def _open_or_create(self, file: Path) -> int:
        """Open a file, created for its owner alone if it is missing. Raises DatabaseUnusable."""
        try:
            return os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise DatabaseUnusable(_why_closed(self.path, str(error))) from None

    @contextmanager
    def _translating_errors(self) -> Iterator[None]:
        """Translate SQLite's errors about the file; errors of a statement pass."""
        try:
            yield
        except sqlite3.Error as error:
            translated = _translated(error, self.path)
            if translated is None:
                raise
            raise translated from error


def _translated(error: sqlite3.Error, path: Path) -> ResourceError | None:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreUnavailable(
            f"Another process has been writing to {path} for longer than this one waits. Nothing was changed: run again, "
            "let fewer runs go at once, or use PostgreSQL, where writers don't wait for each other."
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return DatabaseUnusable(
            f"{path} is damaged, or no SQLite database: restore a backup together with its -wal file, or move it away. "
            "`darkroom up` then makes an empty one, and everything counts as new. Tables and objects are not in it."
        )
    # If the shared-memory file can't grow, SQLite reports an I/O error.
    is_full = code == sqlite3.SQLITE_IOERR and shutil.disk_usage(path.parent).free < ROOM_BYTES
    if code == sqlite3.SQLITE_FULL or is_full:
        return NoSpace(f"The disk of {path} is full: make room, then run again. Nothing was changed.")
    if code == sqlite3.SQLITE_IOERR:
        return StoreUnavailable(f"{path} can't be read or written: check the disk, then run again. SQLite said: {error}")
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return DatabaseUnusable(_why_closed(path, str(error)))
    return None


def _why_closed(path: Path, message: str) -> str:
    if not path.parent.is_dir():
        return (
            f"The folder {path.parent} of the database does not exist: make it, or correct DARKROOM_DATABASE_URL. With "
            f"three slashes a path begins in the present folder, with four at the root: sqlite:///{path}."
        )
    if not path.exists() and os.access(path.parent, os.W_OK):
        return f"{path} does not exist (any more): restore it, or let `darkroom up` make an empty one."
    return (
        f"{path} and its folder must be writable for this user: SQLite writes two more files next to it. It said: {message}"
    )
