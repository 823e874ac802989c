"""The online store in one SQLite file: nothing to start, for processes of one machine.

Readers see the last commit while a writer writes (WAL). A commit survives a kill of any process. A loss of power may undo
the last ones, as a whole and in order: the position that is stored with them says what to apply again.
"""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from resources.online import advice
from resources.online.contract import Generation, Statistics
from resources.online.ranks import Row, built, generation_of, microseconds, streamed
from resources.online.sql_store import CURRENT, NUMBERED, VALUE, SqlStore, lease_of
from resources.online.sqlite_file import SqliteConnection, SqliteFile

_VALUE = VALUE.format(key="?1", rank="?2")
_TOGETHER = 500
"""Keys of one statement: half the cost of one each."""


class SqliteStore(SqlStore):
    """The store in a file, which is created for its owner alone."""

    def __init__(self, path: Path) -> None:
        self._file = SqliteFile(path)

    def read(self, keys: Sequence[bytes], *, of: Generation | None = None) -> tuple[Generation, list[bytes | None]]:
        """The values of these keys in one read transaction: see the contract."""
        try:
            connection = self._file.connection()
            row, values = _read(connection, keys, of) if connection else (None, [])
        except sqlite3.Error as error:
            raise self._file.translated(error, self.was_filled) from None
        if row is None:
            raise advice.empty(self.was_filled) if of is None or connection is None else advice.generation_gone(of)
        self.was_filled = True
        return generation_of(row), values

    def statistics(self) -> Statistics:
        """What the file contains."""
        rows, streamed_rows, lease = 0, 0, None
        with self.reading() as connection:
            if connection:
                rows, streamed_rows = connection.run(
                    "select count(*), coalesce(sum(rank & 1), 0) from online.items"
                ).fetchone()
                lease = lease_of(self._held(connection), self.now(connection))
        files = [Path(f"{self._file.path}{end}") for end in ("", "-wal")]
        size = sum(file.stat().st_size for file in files if file.exists())
        return Statistics(f"SQLite {sqlite3.sqlite_version}", rows, streamed_rows, size, lease)

    def close(self) -> None:
        """Close this thread's connection."""
        self._file.close()

    def prepare(self) -> None:
        """Create the file and its tables where they are missing."""
        with self._translating():
            self._file.prepare()

    @contextmanager
    def reading(self) -> Iterator[SqliteConnection | None]:
        """This thread's connection."""
        with self._translating():
            yield self._file.connection()

    @contextmanager
    def transaction(self) -> Iterator[SqliteConnection]:
        """A writing transaction, of which there is one at a time."""
        with self._translating():
            connection = self._file.connection()
            if connection is None:
                raise advice.empty(self.was_filled)
            connection.execute("begin immediate")
            try:
                yield connection
                connection.execute("commit")
            finally:
                if connection.in_transaction:
                    connection.rollback()

    def now(self, connection: object) -> int:
        """This machine's time."""
        return time.time_ns() // 1000

    def _built(self, draft: Generation, keys: Sequence[bytes]) -> list[bytes | None]:
        with self.reading() as connection:
            if connection is None:
                raise advice.draft_gone(draft)
            with connection.snapshot():
                return _values(connection, keys, built(draft.number))

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._file.translated(error, self.was_filled) from None


def _read(
    connection: SqliteConnection, keys: Sequence[bytes], of: Generation | None
) -> tuple[Row | None, list[bytes | None]]:
    """The generation as it is stored, and its values of the keys, all of one moment."""
    with connection.snapshot():
        if of is None:
            row: Row | None = connection.run(CURRENT).fetchone()
        else:
            row = connection.run(NUMBERED, {"number": of.number, "built_us": microseconds(of.built_at)}).fetchone()
        rank = streamed(row[0]) if row else 0
        return row, _values(connection, keys, rank) if row else []


def _values(connection: SqliteConnection, keys: Sequence[bytes], rank: int) -> list[bytes | None]:
    """The values that are shown of the keys. rank: of a generation's streamed values, or of its built ones."""
    if len(keys) == 1:
        row = connection.run(_VALUE, (keys[0], rank)).fetchone()
        return [row[0] if row else None]
    shown: dict[bytes, bytes | None] = {}
    for first in range(0, len(keys), _TOGETHER):
        some = keys[first : first + _TOGETHER]
        places = ",".join("?" * len(some))
        query = (
            f"select key, value from items where key in ({places}) and rank <= ? and (rank = ? or rank & 1 = 0) "  # noqa: S608
            "order by key, rank"  # the last one of a key is shown
        )
        shown.update(connection.execute(query, (*some, rank, rank)))
    return [shown.get(key) for key in keys]
