"""How events, photos and users become changes in the online store, under its lease.

What does not live here: what an event changes (`serving/state`), and what is applied next (`applying.py`).
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeVar

import polars as pl

from pipeline_assets.serving.state import events as states
from pipeline_assets.serving.state.layout import user_key
from pipeline_assets.serving.state.period import Period
from resources.errors import AlreadyRunning, StoreUnavailable
from resources.online.contract import Generation, Lease, OnlineStore

LEASE_S = 30.0
MOST = 5_000
"""Photos, or events of a replay, that are applied at once."""
MAX_HELD = 200_000
"""Values in memory, so that those of busy users and photos are not read again and again."""
Changes = Mapping[bytes, bytes | None]
Rows = TypeVar("Rows")
Missing = Callable[[Rows, states.Values, Period], Iterator[list[bytes]]]
Change = Callable[[Rows, states.Values, Period], Changes]


class Writer:
    """The holder of the store's lease, which alone changes what readers see. A generation is opened before it is written."""

    def __init__(self, store: OnlineStore, owner: str) -> None:
        """Take the lease. Raises AlreadyRunning if another process has it."""
        self.store, self._owner = store, owner
        self._held: dict[int, dict[bytes, bytes | None]] = {}
        self._positions: dict[int, str] = {}
        self.take()

    @property
    def lease(self) -> Lease:
        """The lease, prolonged when a third of its time has passed. Raises AlreadyRunning if another has it by now."""
        if time.monotonic() - self._taken_at_s > LEASE_S / 3:
            self.take()
        return self._lease

    def take(self) -> None:
        """Take the lease, or prolong it. Raises AlreadyRunning if another process has it."""
        began_s = time.monotonic()
        lease = self.store.lease(self._owner, LEASE_S)
        if lease is None:
            raise AlreadyRunning(
                "Another stream or build writes to the online store (`darkroom online status` names it): one at a time may. "
                f"Stop it, or wait: after a kill, its lease ends within {LEASE_S:.0f} seconds."
            )
        self._lease, self._taken_at_s = lease, began_s

    def open(self, target: "Target") -> None:
        """Begin to write to a generation as the store has it now."""
        self._held.pop(target.generation.number, None)
        self._positions[target.generation.number] = target.generation.position

    def apply_events(self, target: "Target", events: states.Events, position: str) -> None:
        """Apply events and the position behind them, in one transaction. Without a change, the position alone."""
        delivered = states.deliveries(events) if isinstance(events, pl.DataFrame) else events
        self._write(target, self._changes(target, delivered, states.missing_keys, states.apply), position)

    def add_postings(self, target: "Target", photos: pl.DataFrame, users: pl.DataFrame, position: str) -> None:
        """Make photos (day, photo_id, user_id, posted_at) and users (user_id, joined_at) known."""
        for some in users.iter_slices(MOST):
            values = self._values(target)
            self._read(target, [key for user_id in some["user_id"] if (key := user_key(user_id)) not in values])
            self._write(target, states.add_users(some, values, target.period), position)
        for some in photos.iter_slices(MOST):
            changes = self._changes(target, some, states.missing_keys_of_photos, states.add_photos)
            self._write(target, changes, position)

    def reach(self, target: "Target", position: str) -> None:
        """Move the position alone."""
        self._read(target, [])
        self._write(target, {}, position)

    def release(self) -> None:
        """Let another process write."""
        self.store.release(self._lease)

    def _changes(self, target: "Target", rows: Rows, missing: Missing[Rows], change: Change[Rows]) -> Changes:
        values = self._values(target)
        for keys in missing(rows, values, target.period):
            self._read(target, keys)
        return change(rows, values, target.period)

    def _values(self, target: "Target") -> dict[bytes, bytes | None]:
        """Values as the store has them: nobody else may change them. Called once a batch, since it may forget them."""
        values = self._held.setdefault(target.generation.number, {})
        if len(values) > MAX_HELD:
            values.clear()
        return values

    def _read(self, target: "Target", keys: list[bytes]) -> None:
        """Read values of a generation. Raises StoreUnavailable if it is another one than was left."""
        generation, values = self.store.read(keys, of=target.draft)
        expected = (target.generation.number, self._positions[target.generation.number])
        if (generation.number, generation.position) != expected:
            raise StoreUnavailable(
                "The online store has lost the last changes, as after a failure of its server: they are applied again."
            )
        self._held.setdefault(target.generation.number, {}).update(zip(keys, values, strict=True))

    def _write(self, target: "Target", changes: Changes, position: str) -> None:
        values = self._held.pop(target.generation.number, {})  # unknown from now on, if the outcome is
        after = replace(target.generation, position=self._positions[target.generation.number])
        self.store.apply(self.lease, changes, position=position, to=target.draft, after=after)
        self._positions[target.generation.number] = position
        values.update(changes)
        self._held[target.generation.number] = values


@dataclass(frozen=True)
class Target:
    """A generation that events are applied to: the current one, or a draft."""

    generation: Generation

    @property
    def draft(self) -> Generation | None:
        """As the store's methods take it."""
        return self.generation if self.generation.published_at is None else None

    @property
    def period(self) -> Period:
        """The moments that its values answer."""
        return Period(self.generation.t0, timedelta(seconds=self.generation.horizon_s))
