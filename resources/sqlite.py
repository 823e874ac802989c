"""SQLite as the application's database: one file, no server. For one machine and small projects.

Any number of processes of one machine may use it: readers see the last commit (WAL), writers take turns. What differs in
SQL, types and functions is in `sqlite_dialect.py`.
"""

import fcntl
import hashlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl

from resources.database import Database, Statement
from resources.errors import DatabaseUnusable, NoSpace, ResourceError, StoreUnavailable
from resources.sqlite_dialect import (
    add_functions,
    frame,
    in_order,
    name_and_type,
    numbered,
    statements,
    stored,
    without_parameters,
)

SCHEME = "sqlite:///"
BUSY_S = 30.0
"""How long a writer waits for others before it gives up."""
OLDEST = (3, 35, 0)
"""The first SQLite with `returning`."""
MAX_PARAMETERS = 32_000
"""Of one statement; SQLite takes 32,766."""


def path_of(url: str) -> Path:
    """The file that `sqlite:///relative.db` or `sqlite:////absolute.db` names. Raises DatabaseUnusable for another URL."""
    path = unquote(url.removeprefix(SCHEME))
    if not url.startswith(SCHEME) or path in ("", ":memory:"):
        raise DatabaseUnusable(
            "DARKROOM_POSTGRES_URL names no file: write sqlite:///darkroom.db, or four slashes for a path from the root, "
            "sqlite:////data/darkroom.db."
        )
    return Path(path).expanduser().absolute()


def _own(statement: Statement) -> str:
    return statement if isinstance(statement, str) else statement.sqlite


class SqliteTransaction:
    """A connection in its transaction: see `database.Transaction`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, statement: Statement, parameters: Sequence[Any] = ()) -> int:
        """Run one statement. Returns the number of rows that it touched."""
        return self._connection.execute(in_order(_own(statement)), list(map(stored, parameters))).rowcount

    def rows(self, statement: Statement, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement. Returns its rows."""
        return self._connection.execute(in_order(_own(statement)), list(map(stored, parameters))).fetchall()

    def insert(self, statement: Statement, rows: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
        """Insert many rows, some thousands at a time. Returns what `returning` gave."""
        text, source, returned = _own(statement), iter(rows), []
        first = next(source, None)
        if first is None:
            return []
        row = f"({', '.join('?' * len(first))})"
        page = [first, *islice(source, MAX_PARAMETERS // len(first) - 1)]
        while page:
            values = f"values {', '.join([row] * len(page))}"
            parameters = [stored(value) for given in page for value in given]
            returned += self._connection.execute(text.replace("values %s", values), parameters).fetchall()
            page = list(islice(source, MAX_PARAMETERS // len(first)))
        return returned

    def insert_into(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Insert many rows; those whose key is there already are left."""
        named = ", ".join(f'"{column}"' for column in columns)
        self.insert(f'insert into "{table}" ({named}) values %s on conflict do nothing', rows)  # noqa: S608  names of ours

    def run_script(self, script: str) -> None:
        """Run the statements of a migration."""
        for statement in statements(script):
            self._connection.execute(statement)

    def hold(self, key: int) -> None:
        """Nothing is left to do: a transaction that may write has the only pen from its beginning."""

    def rollback(self) -> None:
        """Undo all of it."""
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
        """The only transaction that may write: others wait for its end, `busy_s` at most."""
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
        """The rows of a query, which waits for nobody."""
        with self._open(typed=True) as connection:
            return SqliteTransaction(connection).rows(query, parameters)

    def read(self, query: Statement, parameters: Sequence[Any] = ()) -> pl.DataFrame:
        """The rows of a query as a frame. Parameters are `$1`, `$2` ...

        A column has the type that it was declared with in its table. What is computed has that of its values, or the one
        that its alias names: `max(day) as "newest [date]"`.
        """
        text = _own(query)
        with self._open() as connection:
            connection.execute(f"create temp view asked as {without_parameters(text)}")
            declared = connection.execute("select name, type from pragma_table_info('asked')").fetchall()
            rows = connection.execute(text, numbered(parameters)).fetchall()
        return frame([name_and_type(*column) for column in declared], rows)

    @contextmanager
    def lock(self, name: str) -> Iterator[bool]:
        """Hold a lock by name for the length of a block, unless another holds it. It goes with its process."""
        with self._file_lock(name, fcntl.LOCK_EX | fcntl.LOCK_NB) as is_mine:
            yield is_mine

    def migrate(self) -> list[str]:
        """Make the file, readable for its owner alone, where there is none, and bring it up to date: see `Database`."""
        with self._file_lock("migrate", fcntl.LOCK_EX):
            if not self.path.exists():
                os.close(self._made(self.path))
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
        """A connection without a transaction; typed: rows' values are converted by the declared types."""
        if sqlite3.sqlite_version_info < OLDEST:
            raise DatabaseUnusable(f"This Python has SQLite {sqlite3.sqlite_version}: 3.35 is needed, or a PostgreSQL.")
        kinds = sqlite3.PARSE_DECLTYPES | sqlite3.PARSE_COLNAMES if typed else 0
        with self._told():
            # mode=rw: a file that is gone is not replaced by an empty one.
            connection = sqlite3.connect(
                f"{self.path.as_uri()}?mode=rw", timeout=self.busy_s, isolation_level=None, detect_types=kinds, uri=True
            )
            with closing(connection):
                connection.execute("pragma foreign_keys = on")
                # Each commit is on the disk before it is told: a message of the queue is deleted right after.
                connection.execute("pragma synchronous = full")
                connection.execute("pragma temp_store = memory")
                # Triggers call the functions below. Some builds of SQLite refuse that unless they are told.
                connection.execute("pragma trusted_schema = on")
                add_functions(connection)
                yield connection

    @contextmanager
    def _file_lock(self, name: str, mode: int) -> Iterator[bool]:
        """A lock on a file of its own beside the database. Yields whether it is held."""
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        descriptor = self._made(Path(f"{self.path}-lock-{digest}"))
        try:
            try:
                fcntl.flock(descriptor, mode)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(descriptor)

    def _made(self, file: Path) -> int:
        """A file beside the database, or itself, opened; made for its owner alone where it is missing."""
        try:
            return os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise DatabaseUnusable(_why_closed(self.path, str(error))) from None

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Ours for what SQLite says of the file; errors of a statement pass."""
        try:
            yield
        except sqlite3.Error as error:
            ours = _translated(error, self.path)
            if ours is None:
                raise
            raise ours from error


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
    if code == sqlite3.SQLITE_FULL:
        return NoSpace(f"The disk of {path} is full: make room, then run again. Nothing was changed.")
    if code == sqlite3.SQLITE_IOERR:
        return StoreUnavailable(f"{path} can't be read or written: check the disk, then run again. SQLite said: {error}")
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return DatabaseUnusable(_why_closed(path, str(error)))
    return None


def _why_closed(path: Path, said: str) -> str:
    if not path.parent.is_dir():
        return (
            f"The folder {path.parent} of the database does not exist: make it, or correct DARKROOM_POSTGRES_URL. With "
            f"three slashes a path begins in the present folder, with four at the root: sqlite:///{path}."
        )
    if not path.exists() and os.access(path.parent, os.W_OK):
        return f"{path} does not exist (any more): restore it, or let `darkroom up` make an empty one."
    return f"{path} and its folder must be writable for this user: SQLite keeps two more files beside it. It said: {said}"
