"""The online store in one SQLite file: nothing to start, for processes of one machine.

Readers see the last commit while a writer writes (WAL). A commit survives a kill of any process. A loss of power may undo
the last ones, as a whole and in order: the position that is stored with them says what to apply again.
"""

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from resources.online import advice
from resources.online.contract import OLD_ENOUGH_S, Generation, Lease, OnlineStore, Statistics
from resources.online.ranks import Row, after, built, generation_of, microseconds, oldest_kept, streamed, time_of
from resources.online.sqlite_file import SqliteFile

CHUNK = 20_000
"""Keys that one transaction of a sweep looks at."""
_COLUMNS = (
    "number, format, t0_us, horizon_s, built_us, users, bytes, position, is_complete, applied_us, published_us, replaced_us"
)
_ALL = f"select {_COLUMNS} from generations where is_removed = 0"  # noqa: S608  constants
_CURRENT = f"{_ALL} and published_us is not null and replaced_us is null"
_NUMBERED = f"{_ALL} and number = ? and built_us = ?"
_DRAFT = f"{_NUMBERED} and published_us is null"
_VALUE = "select value from items where key = ?1 and rank <= ?2 and (rank = ?2 or rank & 1 = 0) order by rank desc limit 1"
_BUILT = "select value from items where key = ?1 and rank <= ?2 and rank & 1 = 0 order by rank desc limit 1"
_NEEDLESS = """(rank & 1 = 1 and rank < ?1) or (rank & 1 = 0 and rank <= ?1 and (value is null or exists (
    select 1 from items newer where newer.key = items.key and newer.rank > items.rank and newer.rank <= ?1
    and newer.rank & 1 = 0)))"""
"""Values that no generation from the one of rank ?1 on shows: streamed ones of earlier generations, built ones below others.

A key's removal (null) is needless once nothing is below it, which goes in the same statement.
"""


class SqliteStore(OnlineStore):
    """The store in a file, which is created for its owner alone."""

    def __init__(self, path: Path) -> None:
        self._file = SqliteFile(path)

    # Reading.

    def current(self) -> Generation | None:
        """The published generation."""
        with self._file.reading() as connection:
            row = connection.execute(_CURRENT).fetchone() if connection else None
        return generation_of(row) if row else None

    def read(self, keys: Sequence[bytes], *, of: Generation | None = None) -> tuple[Generation, list[bytes | None]]:
        """The values of these keys in one read transaction: see the contract."""
        file = self._file
        try:
            connection = file.connection()
            if connection is None:
                raise advice.empty(file.was_filled)
            row, values = _read(connection, keys, of)
        except sqlite3.Error as error:
            raise file.translated(error) from None
        if row is None:
            raise advice.empty(file.was_filled) if of is None else advice.generation_gone(of)
        file.was_filled = True
        return generation_of(row), values

    def keys(self, prefix: bytes, *, of: Generation | None = None) -> Iterator[bytes]:
        """The keys with a built value, sorted, some thousands in one read."""
        shown = of or self.current()
        last, end = prefix, after(prefix)
        query = (
            "select key, value is null, max(rank) from items where key >= ? and key < ? and rank <= ? and rank & 1 = 0 "
            "group by key order by key limit ?"
        )
        while shown:
            with self._file.reading() as connection:
                rows = connection.execute(query, (last, end, built(shown.number), CHUNK)).fetchall() if connection else []
            yield from (key for key, is_null, _ in rows if not is_null)
            if len(rows) < CHUNK:
                return
            last = rows[-1][0] + b"\0"

    def generations(self) -> list[Generation]:
        """All generations, oldest first."""
        with self._file.reading() as connection:
            rows = connection.execute(f"{_ALL} order by number").fetchall() if connection else []
        return [generation_of(row) for row in rows]

    def statistics(self) -> Statistics:
        """What the file contains."""
        rows, streamed_rows, held = 0, 0, None
        with self._file.reading() as connection:
            if connection:
                rows, streamed_rows = connection.execute("select count(*), coalesce(sum(rank & 1), 0) from items").fetchone()
                held = connection.execute("select owner, token, expires_us from lease").fetchone()
        files = [Path(f"{self._file.path}{end}") for end in ("", "-wal")]
        size = sum(file.stat().st_size for file in files if file.exists())
        lease = _lease(held) if held and held[2] > _now() else None
        return Statistics(f"SQLite {sqlite3.sqlite_version}", rows, streamed_rows, size, lease)

    # Building.

    def begin(self, t0: datetime, horizon_s: int, format: int) -> Generation:
        """A new, empty draft. Values of older drafts are removed before."""
        self._file.prepare()
        with self._file.transaction() as connection:
            connection.execute("update generations set is_removed = 1 where published_us is null")
            removed = [number for (number,) in connection.execute("select number from generations where is_removed")]
        for number in removed:
            for first, last in self._chunks():
                with self._file.transaction() as connection:
                    connection.execute(
                        "delete from items where key >= ? and key <= ? and rank in (?, ?)",
                        (first, last, built(number), streamed(number)),
                    )
            with self._file.transaction() as connection:
                connection.execute("delete from generations where number = ? and is_removed", (number,))
        with self._file.transaction() as connection:
            connection.execute("update generations set is_removed = 1 where published_us is null")
            row = connection.execute(
                f"insert into generations (number, format, t0_us, horizon_s, built_us, users, bytes, position) "  # noqa: S608
                "select coalesce((select max(number) from generations), 0) + 1, ?, ?, ?, ?, coalesce(max(users), 0), "
                "coalesce(max(bytes), 0), '' from generations where published_us is not null and replaced_us is null "
                f"returning {_COLUMNS}",
                (format, microseconds(t0), horizon_s, _now()),
            ).fetchone()
        return generation_of(row)

    def _built(self, draft: Generation, keys: Sequence[bytes]) -> list[bytes | None]:
        with self._file.reading() as connection:
            if connection is None:
                raise advice.draft_gone(draft)
            rows = [connection.execute(_BUILT, (key, built(draft.number))).fetchone() for key in keys]
        return [row[0] if row else None for row in rows]

    def _put(self, draft: Generation, changed: Mapping[bytes, bytes | None], users: int, size: int) -> None:
        with self._file.transaction() as connection:
            _check_draft(connection, draft)
            _insert(connection, changed, built(draft.number))
            connection.execute(
                "update generations set users = users + ?, bytes = bytes + ? where number = ?", (users, size, draft.number)
            )

    def complete(self, draft: Generation, *, position: str) -> Generation:
        """Mark a draft as written to its end."""
        with self._file.transaction() as connection:
            _check_draft(connection, draft)
            row = connection.execute(
                f"update generations set is_complete = 1, position = ? where number = ? returning {_COLUMNS}",  # noqa: S608
                (position, draft.number),
            ).fetchone()
        return generation_of(row)

    def publish(self, lease: Lease, draft: Generation, *, position: str) -> Generation:
        """Make a draft the current generation."""
        with self._file.transaction() as connection:
            _check_lease(connection, lease)
            if not _check_draft(connection, draft).is_complete:
                raise advice.incomplete(draft)
            now = _now()
            connection.execute(
                "update generations set replaced_us = ? where published_us > 0 and replaced_us is null", (now,)
            )
            row = connection.execute(
                f"update generations set published_us = ?, position = ? where number = ? returning {_COLUMNS}",  # noqa: S608
                (now, position, draft.number),
            ).fetchone()
        return generation_of(row)

    # One writer.

    def lease(self, owner: str, seconds: float) -> Lease | None:
        """Take or prolong the lease, by this machine's clock."""
        self._file.prepare()
        with self._file.transaction() as connection:
            row = connection.execute("select owner, token, expires_us from lease").fetchone()
            now = _now()
            if row and row[0] != owner and row[2] > now:
                return None
            is_own = bool(row) and row[0] == owner and row[2] > now
            # Tokens rise also from an emptied store on.
            token = row[1] if is_own else max(row[1] + 1 if row else 0, now)
            taken = (owner, token, now + int(seconds * 1e6))
            connection.execute("insert or replace into lease (one, owner, token, expires_us) values (1, ?, ?, ?)", taken)
        return _lease(taken)

    def release(self, lease: Lease) -> None:
        """Let the lease expire now. Its token stays, so that the next one is higher."""
        with self._file.transaction() as connection:
            connection.execute("update lease set expires_us = 0 where owner = ? and token = ?", (lease.owner, lease.token))

    def apply(
        self, lease: Lease, changes: Mapping[bytes, bytes | None], *, position: str, to: Generation | None = None
    ) -> None:
        """Write streamed changes and their position in one transaction."""
        with self._file.transaction() as connection:
            if to is None:
                row = connection.execute(_CURRENT).fetchone()
                if row is None:
                    raise advice.empty(self._file.was_filled)
            _check_lease(connection, lease)
            number = row[0] if to is None else _check_draft(connection, to).number
            _insert(connection, changes, streamed(number))
            connection.execute(
                "update generations set position = ?, applied_us = ? where number = ?", (position, _now(), number)
            )
        self._file.was_filled = True

    # Upkeep.

    def sweep(self, keep: int = 1, older_s: float = OLD_ENOUGH_S, *, is_rehearsal: bool = False) -> int:
        """Remove values that no generation needs any more, some thousands of keys in one transaction."""
        floor = oldest_kept(self.generations(), keep, older_s, time_of(_now()))
        if not floor:
            return 0
        if is_rehearsal:
            query = f"select count(*) from items where {_NEEDLESS}"  # noqa: S608  constants
            with self._file.reading() as connection:
                return int(connection.execute(query, (built(floor),)).fetchone()[0]) if connection else 0
        with self._file.transaction() as connection:
            connection.execute("delete from generations where number < ? and published_us is not null", (floor,))
        removed = 0
        for first, last in self._chunks():
            with self._file.transaction() as connection:
                removed += connection.execute(
                    f"delete from items where key >= ?2 and key <= ?3 and ({_NEEDLESS})",  # noqa: S608
                    (built(floor), first, last),
                ).rowcount
        return removed

    def close(self) -> None:
        """Close this thread's connection."""
        self._file.close()

    def _chunks(self) -> Iterator[tuple[bytes, bytes]]:
        """First and last keys of stretches of the items, which together are all of them."""
        first: bytes | None = b""
        while first is not None:
            query = "select key from items where key >= ? order by key limit 1 offset ?"
            with self._file.reading() as connection:
                row = connection.execute(query, (first, CHUNK)).fetchone() if connection else None
            # The next stretch begins with this key, so that all values of a key are in one.
            yield first, row[0] if row else b"\xff" * 64
            first = row[0] if row and row[0] > first else None


def _read(
    connection: sqlite3.Connection, keys: Sequence[bytes], of: Generation | None
) -> tuple[Row | None, list[bytes | None]]:
    execute = connection.execute
    execute("begin")
    try:
        found = execute(_CURRENT) if of is None else execute(_NUMBERED, (of.number, microseconds(of.built_at)))
        row: Row | None = found.fetchone()
        rank = streamed(row[0]) if row else 0
        rows = [execute(_VALUE, (key, rank)).fetchone() for key in keys] if row else []
    finally:
        execute("rollback")
    return row, [one[0] if one else None for one in rows]


def _check_draft(connection: sqlite3.Connection, draft: Generation) -> Generation:
    """The draft as it is stored. Raises DraftGone."""
    row = connection.execute(_DRAFT, (draft.number, microseconds(draft.built_at))).fetchone()
    if row is None:
        raise advice.draft_gone(draft)
    return generation_of(row)


def _check_lease(connection: sqlite3.Connection, lease: Lease) -> None:
    row = connection.execute("select owner, token, expires_us from lease").fetchone()
    if row is None or (row[0], row[1]) != (lease.owner, lease.token) or row[2] <= _now():
        raise advice.lease_lost(lease, row[0] if row else None)


def _insert(connection: sqlite3.Connection, values: Mapping[bytes, bytes | None], rank: int) -> None:
    connection.executemany(
        "insert into items (key, rank, value) values (?, ?, ?) on conflict do update set value = excluded.value",
        [(key, rank, value) for key, value in values.items()],
    )


def _lease(row: tuple[str, int, int]) -> Lease:
    return Lease(row[0], row[1], time_of(row[2]))


def _now() -> int:
    return time.time_ns() // 1000
