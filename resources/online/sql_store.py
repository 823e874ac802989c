"""The online store in an SQL database: what SQLite and PostgreSQL do alike.

Statements are written once. `online.` stands for the schema, and parameters are `:name`; each backend has its own of both.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol

from resources.online import advice
from resources.online.contract import OLD_ENOUGH_S, Generation, Lease, OnlineStore
from resources.online.ranks import after, built, generation_of, microseconds, oldest_kept, streamed, time_of

CHUNK = 20_000
"""Keys that one transaction of a sweep, or one read of `keys`, looks at."""
TABLES = """
create table if not exists online.generations (
    number bigint primary key, format integer not null, t0_us bigint not null, horizon_s bigint not null,
    built_us bigint not null, users bigint not null, bytes bigint not null, position text not null,
    is_complete integer not null default 0, applied_us bigint, published_us bigint, replaced_us bigint,
    is_removed integer not null default 0
);
create table if not exists online.lease (
    one integer primary key check (one = 1), owner text not null, token bigint not null, expires_us bigint not null
);
"""
"""The tables but for `online.items` (key, rank, value), of which each database has its own kind. rank: see `ranks`."""
COLUMNS = (
    "number, format, t0_us, horizon_s, built_us, users, bytes, position, is_complete, applied_us, published_us, replaced_us"
)
ALL = f"select {COLUMNS} from online.generations where is_removed = 0"  # noqa: S608  constants, as below
CURRENT = f"{ALL} and published_us is not null and replaced_us is null"
NUMBERED = f"{ALL} and number = :number and built_us = :built_us"
VALUE = (
    "select value from online.items where key = {key} and rank <= {rank} and (rank = {rank} or rank & 1 = 0) "
    "order by rank desc limit 1"
)
"""The value that is shown of a key; rank: of a generation's streamed values."""
BUILT = "select value from online.items where key = {key} and rank <= {rank} and rank & 1 = 0 order by rank desc limit 1"
COUNT = "select count(*), coalesce(sum(rank & 1), 0) from online.items"
"""All values, and the streamed ones."""
_BEGIN = (
    "insert into online.generations (number, format, t0_us, horizon_s, built_us, users, bytes, position) "  # noqa: S608
    "select coalesce((select max(number) from online.generations), 0) + 1, :format, :t0_us, :horizon_s, :now, "
    "coalesce(max(users), 0), coalesce(max(bytes), 0), '' from online.generations "
    f"where published_us is not null and replaced_us is null returning {COLUMNS}"
)
_HELD = "select owner, token, expires_us from online.lease where one = 1"
_NEEDLESS = """((rank & 1 = 1 and rank < :rank) or (rank & 1 = 0 and rank <= :rank and (value is null or exists (
    select 1 from online.items newer where newer.key = items.key and newer.rank > items.rank and newer.rank <= :rank
    and newer.rank & 1 = 0))))"""
"""Values that no generation from that of the rank on shows: streamed ones of earlier generations, built ones below others.

The removal of a key (null) is needless once nothing lies below it, which goes in the same statement.
"""
_FORGET = "delete from online.generations where number = :number and is_removed = 1"
_TAKE = (
    "insert into online.lease (one, owner, token, expires_us) values (1, :owner, :token, :expires_us) "
    "on conflict (one) do update set owner = :owner, token = :token, expires_us = :expires_us"
)


class Connection(Protocol):
    """A connection that runs statements as they are written here."""

    def run(self, statement: str, parameters: Any = ...) -> Any:
        """Run one statement."""

    def put(self, rank: int, values: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Insert items of a rank, or replace their values."""


class SqlStore(OnlineStore):
    """A store in an SQL database."""

    was_filled = False
    """Whether this process has seen a generation: an empty store has been emptied then."""

    # What each database does in its own way.

    @abstractmethod
    def prepare(self) -> None:
        """Create what is missing of the store."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Connection | None]:
        """A connection for single statements; None if there is no store."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[Connection]:
        """A writing transaction: committed at the end, rolled back on an error. Raises NothingPublished without a store."""

    @abstractmethod
    def now(self, connection: Connection) -> int:
        """The present time of the store, in microseconds since 1970."""

    # Reading.

    def current(self) -> Generation | None:
        """The published generation."""
        with self.reading() as connection:
            row = connection.run(CURRENT).fetchone() if connection else None
        return generation_of(row) if row else None

    def generations(self) -> list[Generation]:
        """All generations, oldest first."""
        with self.reading() as connection:
            rows = connection.run(f"{ALL} order by number").fetchall() if connection else []
        return [generation_of(tuple(row)) for row in rows]

    def keys(self, prefix: bytes, *, of: Generation | None = None) -> Iterator[bytes]:
        """The keys with a built value, sorted, some thousands in one read."""
        shown = of or self.current()
        last, end = prefix, after(prefix)
        query = (
            "select key, max(case when value is null then -1 else rank end) = max(rank) from online.items "
            "where key >= :first and key < :last and rank <= :rank and rank & 1 = 0 group by key order by key limit :count"
        )
        while shown:
            with self.reading() as connection:
                parameters = {"first": last, "last": end, "rank": built(shown.number), "count": CHUNK}
                rows = connection.run(query, parameters).fetchall() if connection else []
            yield from (bytes(key) for key, has_value in rows if has_value)
            if len(rows) < CHUNK:
                return
            last = bytes(rows[-1][0]) + b"\0"

    # Building.

    def begin(self, t0: datetime, horizon_s: int, format: int) -> Generation:
        """A new, empty draft. Values of older drafts are removed before."""
        self.prepare()
        while True:
            with self.transaction() as connection:
                self._lock_builds(connection)
                connection.run("update online.generations set is_removed = 1 where published_us is null")
                row = connection.run("select number from online.generations where is_removed = 1 limit 1").fetchone()
                if row is None:
                    values = {"t0_us": microseconds(t0), "horizon_s": horizon_s, "now": self.now(connection)}
                    return generation_of(connection.run(_BEGIN, {"format": format, **values}).fetchone())
            self._in_chunks("rank in (:built, :streamed)", {"built": built(row[0]), "streamed": streamed(row[0])})
            with self.transaction() as connection:
                connection.run(_FORGET, {"number": row[0]})

    def _put(self, draft: Generation, changed: Mapping[bytes, bytes | None], users: int, size: int) -> None:
        with self.transaction() as connection:
            self._check_draft(connection, draft)
            connection.put(built(draft.number), changed.items())
            connection.run(
                "update online.generations set users = users + :users, bytes = bytes + :size where number = :number",
                {"users": users, "size": size, "number": draft.number},
            )

    def complete(self, draft: Generation, *, position: str) -> Generation:
        """Mark a draft as written to its end."""
        with self.transaction() as connection:
            self._check_draft(connection, draft)
            row = connection.run(
                f"update online.generations set is_complete = 1, position = :position where number = :number "  # noqa: S608
                f"returning {COLUMNS}",
                {"position": position, "number": draft.number},
            ).fetchone()
        return generation_of(row)

    def publish(self, lease: Lease, draft: Generation, *, position: str) -> Generation:
        """Make a draft the current generation."""
        with self.transaction() as connection:
            self._check_lease(connection, lease)
            if not self._check_draft(connection, draft).is_complete:
                raise advice.incomplete(draft)
            now = self.now(connection)
            connection.run(
                "update online.generations set replaced_us = :now where published_us is not null and replaced_us is null",
                {"now": now},
            )
            row = connection.run(
                "update online.generations set published_us = :now, position = :position where number = :number "  # noqa: S608
                f"returning {COLUMNS}",
                {"now": now, "position": position, "number": draft.number},
            ).fetchone()
        self.was_filled = True
        return generation_of(row)

    # One writer.

    def lease(self, owner: str, seconds: float) -> Lease | None:
        """Take or prolong the lease, by the store's clock."""
        self.prepare()
        with self.transaction() as connection:
            held, token, expires_us = self._held(connection) or ("", 0, 0)
            now = self.now(connection)
            if expires_us > now and held != owner:
                return None
            # Tokens also rise after a flush.
            token = token if expires_us > now else max(token + 1, now)
            lease = Lease(owner, token, time_of(now + int(seconds * 1e6)))
            connection.run(_TAKE, {"owner": owner, "token": token, "expires_us": microseconds(lease.expires_at)})
        return lease

    def release(self, lease: Lease) -> None:
        """Let the lease expire now. Its token stays, so that the next one is higher."""
        with self.transaction() as connection:
            connection.run(
                "update online.lease set expires_us = 0 where owner = :owner and token = :token",
                {"owner": lease.owner, "token": lease.token},
            )

    def apply(
        self,
        lease: Lease,
        changes: Mapping[bytes, bytes | None],
        *,
        position: str,
        to: Generation | None = None,
        after: Generation | None = None,
    ) -> None:
        """Write streamed changes and their position in one transaction."""
        with self.transaction() as connection:
            self._check_lease(connection, lease)
            target = self._check_draft(connection, to) if to else self._current_of(connection)
            number = target.number
            if after and not target.is_same_as(after):
                raise advice.rewound(number, target.position, after)
            connection.put(streamed(number), changes.items())
            connection.run(
                "update online.generations set position = :position, applied_us = :now where number = :number",
                {"position": position, "now": self.now(connection), "number": number},
            )
        self.was_filled = True

    # Upkeep.

    def sweep(self, keep: int = 1, older_s: float = OLD_ENOUGH_S, *, is_rehearsal: bool = False) -> int:
        """Remove values that no generation needs any more, some thousands of keys in one transaction."""
        generations = self.generations()
        with self.reading() as connection:
            now = time_of(self.now(connection)) if connection else None
        floor = oldest_kept(generations, keep, older_s, now) if now else 0
        if not floor:
            return 0
        rank = {"rank": built(floor)}
        if is_rehearsal:
            query = f"select count(*) from online.items where {_NEEDLESS}"  # noqa: S608  constants
            with self.reading() as connection:
                return int(connection.run(query, rank).fetchone()[0]) if connection else 0
        with self.transaction() as connection:
            connection.run(
                "delete from online.generations where number < :number and published_us is not null", {"number": floor}
            )
        return self._in_chunks(_NEEDLESS, rank)

    def _in_chunks(self, condition: str, parameters: Mapping[str, object]) -> int:
        """Delete items that meet a condition, some thousands of keys in one transaction. Returns their number."""
        first, removed = b"", 0
        query = f"select key from online.items where key >= :first order by key limit 1 offset {CHUNK}"  # noqa: S608
        while True:
            with self.transaction() as connection:
                row = connection.run(query, {"first": first}).fetchone()
                end = {"first": first, **({"last": bytes(row[0])} if row else {})}
                removed += connection.run(
                    f"delete from online.items where key >= :first {'and key < :last' if row else ''} and {condition}",  # noqa: S608
                    {**end, **parameters},
                ).rowcount
            if row is None:
                return removed
            first = bytes(row[0])

    # What a transaction checks.

    def _lock_builds(self, connection: Connection) -> None:
        """Wait for other transactions that begin a build."""

    def _check_draft(self, connection: Connection, draft: Generation) -> Generation:
        """The draft as it is stored. Raises DraftGone."""
        key = {"number": draft.number, "built_us": microseconds(draft.built_at)}
        row = connection.run(f"{NUMBERED} and published_us is null{self.for_update}", key).fetchone()
        if row is None:
            raise advice.draft_gone(draft)
        return generation_of(row)

    def _current_of(self, connection: Connection) -> Generation:
        row = connection.run(CURRENT).fetchone()
        if row is None:
            raise advice.empty(self.was_filled)
        return generation_of(tuple(row))

    def _held(self, connection: Connection) -> tuple[str, int, int] | None:
        """Owner, token and end of the lease, which nobody else changes in this transaction."""
        row: tuple[str, int, int] | None
        row = connection.run(f"{_HELD}{self.for_update}").fetchone()
        return row

    def _check_lease(self, connection: Connection, lease: Lease) -> None:
        held = self._held(connection)
        if held is None or held[:2] != (lease.owner, lease.token) or held[2] <= self.now(connection):
            raise advice.lease_lost(lease, held[0] if held else None)

    for_update = ""
    """The end of a query whose rows no other transaction may change; empty where writers exclude each other."""


def lease_of(held: tuple[str, int, int] | None, now: int) -> Lease | None:
    """The lease, unless it has expired."""
    return Lease(held[0], held[1], time_of(held[2])) if held and held[2] > now else None
