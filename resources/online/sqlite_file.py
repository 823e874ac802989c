"""The SQLite file of an online store: its connections, its creation, and what SQLite's errors mean."""

import os
import shutil
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from resources.errors import DatabaseUnusable, NoSpace, ResourceError, StoreUnavailable
from resources.online import advice
from resources.online.sql_store import TABLES

LAYOUT = 1
"""Version of the tables."""
BUSY_S = 30.0
"""Seconds that a writer waits for others."""
ROOM_BYTES = 64 * 1024
"""A disk with less free space counts as full: SQLite reports an I/O error if its shared memory can't grow."""
_ITEMS = """
create table if not exists online.items (key blob not null, rank integer not null, value blob, primary key (key, rank))
without rowid;
"""


class SqliteConnection(sqlite3.Connection):
    """A connection that runs the statements of `sql_store`."""

    def run(self, statement: str, parameters: Any = ()) -> sqlite3.Cursor:
        """Run one statement."""
        return self.execute(_own(statement), parameters)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Show one moment's data to all queries of the block."""
        self.execute("begin")
        try:
            yield
        finally:
            self.execute("rollback")

    def put(self, rank: int, values: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Insert items of a rank, or replace their values."""
        self.executemany(
            "insert into items (key, rank, value) values (?, ?, ?) on conflict do update set value = excluded.value",
            [(key, rank, value) for key, value in sorted(values)],  # in the order of the pages
        )


@cache
def _own(statement: str) -> str:
    return statement.replace("online.", "")


class SqliteFile:
    """Connections to the file, one a thread. A connection of a file that was removed or replaced is opened anew."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._of_thread = threading.local()

    def connection(self) -> SqliteConnection | None:
        """This thread's connection; None if there is no file, or no table in it. Raises StoreUnreadable."""
        try:
            status = os.stat(self.path)  # noqa: PTH116  a microsecond of every read
        except FileNotFoundError:
            self.close()
            return None
        except OSError as error:
            raise DatabaseUnusable(self._closed(str(error))) from None
        identity = (status.st_dev, status.st_ino)
        mine: tuple[tuple[int, int], SqliteConnection] | None = self._of_thread.__dict__.get("mine")
        if mine and mine[0] == identity:
            return mine[1]
        self.close()
        connection = self._connect()
        layout = connection.execute("pragma user_version").fetchone()[0]
        if not _has_tables(connection):
            connection.close()
            return None
        if layout != LAYOUT:
            connection.close()
            raise advice.other_layout(layout, LAYOUT, f"rm {self.path}*")
        self._of_thread.mine = (identity, connection)
        return connection

    def prepare(self) -> None:
        """Create the file and its tables where they are missing."""
        connection = self.connection()
        if connection is not None and _has_tables(connection):
            return
        self.close()
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise DatabaseUnusable(self._closed(str(error))) from None
        connection = self._connect()
        try:
            (mode,) = connection.execute("pragma journal_mode = wal").fetchone()
            if mode != "wal":
                raise DatabaseUnusable(
                    f"{self.path} lies on a file system on which processes can't share it: set DARKROOM_HOME to a "
                    "folder on a local disk, or DARKROOM_ONLINE_URL to a server."
                )
            connection.executescript(_own(f"begin immediate; {TABLES} {_ITEMS} pragma user_version = {LAYOUT}; commit;"))
        finally:
            connection.close()

    def close(self) -> None:
        """Close this thread's connection."""
        mine = self._of_thread.__dict__.pop("mine", None)
        if mine:
            mine[1].close()

    def translated(self, error: sqlite3.Error, was_filled: bool) -> Exception:
        """The error that says what to do; the same one if it is about a statement of ours."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if "no such table" in str(error):
            return advice.empty(was_filled)
        is_full = code == sqlite3.SQLITE_IOERR and shutil.disk_usage(self.path.parent).free < ROOM_BYTES
        if code == sqlite3.SQLITE_FULL or is_full:
            return NoSpace(f"The disk of {self.path} is full: make room, then run again. Nothing was changed.")
        return _of_code(code, error, self.path) or error

    def _connect(self) -> SqliteConnection:
        # mode=rw: a file that is gone is not replaced by an empty one.
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode=rw",
            timeout=BUSY_S,
            isolation_level=None,
            uri=True,
            factory=SqliteConnection,
        )
        # A loss of power may undo the last commits, whole and in order, and damages nothing.
        connection.execute("pragma synchronous = normal")
        return connection

    def _closed(self, message: str) -> str:
        if not self.path.parent.is_dir():
            return f"The folder {self.path.parent} of the online store does not exist: make it, or correct DARKROOM_HOME."
        return (
            f"{self.path} and its folder must be writable for this user, since SQLite writes beside it. It said: {message}"
        )


def _has_tables(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("select 1 from sqlite_master where type = 'table' and name = 'items'").fetchone())


def _of_code(code: int, error: sqlite3.Error, path: Path) -> ResourceError | None:
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreUnavailable(
            f"Another process has been writing to {path} for longer than this one waits. Nothing was changed: run again."
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return DatabaseUnusable(
            f"{path} is damaged, or no SQLite database. It holds nothing that is not in the lake: remove it (rm {path}*); "
            f"{advice.REBUILD}."
        )
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return DatabaseUnusable(
            f"{path} and its folder must be writable for this user, since SQLite writes beside it. It said: {error}"
        )
    if code == sqlite3.SQLITE_IOERR:
        return StoreUnavailable(f"{path} can't be read or written: check the disk, then run again. SQLite said: {error}")
    return None
