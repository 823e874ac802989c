"""The interface of the online store, with SQLite, PostgreSQL, and Redis or Valkey behind it.

A store has keys and values of bytes. The layout of a value is the business of `pipeline_assets/serving/state`.

**Generations.** A build writes a draft, which no reader sees, and publishes it in one step. A draft contains only what
differs from the generations below it: a read takes the newest value of a generation that is not above its own. The value
`None` means that the key has no value from there on.

**Streamed changes** belong to one generation, and lie above its built values. The next generation does not inherit them: its
publisher replays into the draft the events that the build has not seen, and gives the position of the stream.

**One writer.** Whoever changes what readers see (`apply`, `publish`) holds the lease. Its token rises with each holder, and
the store compares it in the same transaction: a holder that was suspended, and comes back after its time, changes nothing.
A server that fails may lose the last changes, whole and in order: `apply` compares the position, too, that they follow from.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

USER = b"u:"
"""The beginning of the keys that `Generation.users` counts."""
BATCH = 2_000
"""Items of a build in one transaction: a stream waits for no longer one."""
OLD_ENOUGH_S = 600.0
"""Seconds after which nobody reads a replaced generation any more: far longer than one request."""

Item = tuple[bytes, bytes | None]


@dataclass(frozen=True)
class Generation:
    """One generation of the store's values.

    number: rises by one with each draft. format: version of the values' layout. t0: moment up to which values contain
    everything. horizon_s: seconds after t0 for which values answer. built_at: begin of the build. users, bytes: number of
    users and size of all built keys and values. position: how far the stream has been applied; empty if never.
    applied_at: time of the last `apply`. published_at: None for a draft. replaced_at: None for a draft and the current one.
    """

    number: int
    format: int
    t0: datetime
    horizon_s: int
    built_at: datetime
    users: int = 0
    bytes: int = 0
    position: str = ""
    is_complete: bool = False
    applied_at: datetime | None = None
    published_at: datetime | None = None
    replaced_at: datetime | None = None

    def is_same_as(self, other: "Generation") -> bool:
        """Whether this is the same generation at the same position."""
        return (self.number, self.built_at, self.position) == (other.number, other.built_at, other.position)


@dataclass(frozen=True)
class Lease:
    """The right of `owner` to change what readers see, until `expires_at`. token: rises with each holder."""

    owner: str
    token: int
    expires_at: datetime


@dataclass(frozen=True)
class Statistics:
    """What a store contains.

    server: kind and version. rows: values of all generations, with streamed ones. streamed: values of streamed changes.
    stored_bytes: space on disk or in memory, as the server tells it. lease: None if nobody has it.
    """

    server: str
    rows: int
    streamed: int
    stored_bytes: int
    lease: Lease | None


class OnlineStore(ABC):
    """Values by key, read in one round trip. Threads of a process may share a store; each process opens its own.

    All methods raise StoreUnavailable if the server does not answer, DatabaseUnusable if it refuses, and NoSpace. Nothing
    is half done then. All raise StoreUnreadable if the store was written by another version of Darkroom.
    """

    # Reading.

    @abstractmethod
    def current(self) -> Generation | None:
        """The published generation; None if there is none."""

    @abstractmethod
    def read(self, keys: Sequence[bytes], *, of: Generation | None = None) -> tuple[Generation, list[bytes | None]]:
        """The values of these keys in their order, and the generation that all of them belong to. One round trip.

        of: a draft, or a replaced generation; None: the current one. A key without a value gives None. Raises
        NothingPublished if there is no current generation, StoreFlushed if this process has seen one before, and
        GenerationGone if `of` no longer exists.
        """

    @abstractmethod
    def keys(self, prefix: bytes, *, of: Generation | None = None) -> Iterator[bytes]:
        """The keys with this prefix and a built value, in any order. It need not be one moment's if a sweep runs."""

    @abstractmethod
    def generations(self) -> list[Generation]:
        """All generations that can be read, and the draft, oldest first."""

    @abstractmethod
    def statistics(self) -> Statistics:
        """What the store contains. It may take a second per million values."""

    # Building.

    @abstractmethod
    def begin(self, t0: datetime, horizon_s: int, format: int) -> Generation:
        """A new, empty draft. Older drafts, of builds that were killed or still run, are removed with their values."""

    def write(self, draft: Generation, items: Iterable[Item]) -> int:
        """Write items of a draft, of which only those that differ from what the draft shows. Returns their number.

        Raises DraftGone if another build has begun since.
        """
        written, source = 0, iter(items)
        while batch := dict(islice(source, BATCH)):
            shown = dict(zip(batch, self._built(draft, list(batch)), strict=True))
            changed = {key: value for key, value in batch.items() if value != shown[key]}
            if changed:
                users = sum(_is_user(key, value) - _is_user(key, shown[key]) for key, value in changed.items())
                size = sum(_size(key, value) - _size(key, shown[key]) for key, value in changed.items())
                self._put(draft, changed, users, size)
            written += len(changed)
        return written

    @abstractmethod
    def complete(self, draft: Generation, *, position: str) -> Generation:
        """Mark a draft as written to its end. position: up to where the build has seen the stream's events.

        The holder of the lease finds it with `draft`, replays what came after the position, and publishes it. Raises
        DraftGone.
        """

    def draft(self) -> Generation | None:
        """The complete draft that waits for its publication; None if there is none."""
        return next((one for one in self.generations() if one.is_complete and one.published_at is None), None)

    @abstractmethod
    def publish(self, lease: Lease, draft: Generation, *, position: str) -> Generation:
        """Make a draft the current generation, in one step for all readers. Returns it.

        position: up to where the stream's events are in it. The former generation stays readable until it is swept.
        Raises LeaseLost, and DraftGone also if the draft is not complete.
        """

    # One writer.

    @abstractmethod
    def lease(self, owner: str, seconds: float) -> Lease | None:
        """Take the lease if it is free or has expired, or prolong the owner's own; None if another owner has it.

        owner: unique to a process. A prolonged lease keeps its token.
        """

    @abstractmethod
    def release(self, lease: Lease) -> None:
        """Give the lease back. Nothing happens if another owner has it."""

    @abstractmethod
    def apply(
        self,
        lease: Lease,
        changes: Mapping[bytes, bytes | None],
        *,
        position: str,
        to: Generation | None = None,
        after: Generation | None = None,
    ) -> None:
        """Write streamed changes and the position that they lead to, in one transaction.

        to: a draft; None: the current generation. after: the generation, with its position, that the changes follow from;
        None: any. Raises LeaseLost if the lease is not the present one or has expired, StoreRewound if the store has
        another generation or position than `after`, NothingPublished, StoreFlushed, DraftGone; nothing is changed then.
        """

    # Upkeep.

    @abstractmethod
    def sweep(self, keep: int = 1, older_s: float = OLD_ENOUGH_S, *, is_rehearsal: bool = False) -> int:
        """Remove values that no generation needs any more. Returns their number.

        keep: replaced generations that stay readable in any case. older_s: the others go if they were replaced so many
        seconds ago. is_rehearsal: only count. A killed sweep changes no answer, and the next one finishes it.
        """

    @abstractmethod
    def close(self) -> None:
        """Close this thread's connections."""

    # What `write` needs of a backend.

    @abstractmethod
    def _built(self, draft: Generation, keys: Sequence[bytes]) -> list[bytes | None]:
        """The built values that a draft shows, without streamed ones. Raises DraftGone."""

    @abstractmethod
    def _put(self, draft: Generation, changed: Mapping[bytes, bytes | None], users: int, size: int) -> None:
        """Write built values of a draft, and add to its numbers, in one transaction. Raises DraftGone."""


def _is_user(key: bytes, value: bytes | None) -> int:
    return int(value is not None and key.startswith(USER))


def _size(key: bytes, value: bytes | None) -> int:
    return 0 if value is None else len(key) + len(value)
