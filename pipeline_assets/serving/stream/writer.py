"""How events, photos and users become changes in the online store, under its lease.

What does not live here: what an event changes (`serving/state`), and what is applied next (`applying.py`).
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from pipeline_assets.serving.state import events as states
from pipeline_assets.serving.state.layout import user_key
from pipeline_assets.serving.state.period import Period
from resources.errors import AlreadyRunning
from resources.online.contract import Generation, Lease, OnlineStore

LEASE_S = 30.0
MOST = 5_000
"""Events or photos that are applied at once."""
Changes = Mapping[bytes, bytes | None]
Missing = Callable[[pl.DataFrame, states.Values, Period], list[bytes]]
Change = Callable[[pl.DataFrame, states.Values, Period], Changes]


class Writer:
    """The holder of the store's lease, which alone changes what readers see."""

    def __init__(self, store: OnlineStore, owner: str) -> None:
        """Take the lease. Raises AlreadyRunning if another process has it."""
        self.store, self._owner = store, owner
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

    def apply_events(self, target: "Target", events: pl.DataFrame, position: str) -> None:
        """Apply events and the position behind them, in one transaction. Without a change, the position alone."""
        changes = self._changes(target, events, states.missing_keys, states.apply)
        self.store.apply(self.lease, changes, position=position, to=target.draft)

    def add_postings(self, target: "Target", photos: pl.DataFrame, users: pl.DataFrame, position: str) -> None:
        """Make photos (day, photo_id, user_id, posted_at) and users (user_id, joined_at) known."""
        for some in users.iter_slices(MOST):
            keys = [user_key(user_id) for user_id in some["user_id"]]
            joined = states.add_users(some, dict(zip(keys, self._read(target, keys), strict=True)), target.period)
            self.store.apply(self.lease, joined, position=position, to=target.draft)
        for some in photos.iter_slices(MOST):
            changes = self._changes(target, some, states.missing_keys_of_photos, states.add_photos)
            self.store.apply(self.lease, changes, position=position, to=target.draft)

    def reach(self, target: "Target", position: str) -> None:
        """Move the position alone."""
        self.store.apply(self.lease, {}, position=position, to=target.draft)

    def release(self) -> None:
        """Let another process write."""
        self.store.release(self._lease)

    def _changes(
        self, target: "Target", rows: pl.DataFrame, missing: Missing, change: Change
    ) -> Mapping[bytes, bytes | None]:
        if rows.is_empty():
            return {}
        values: dict[bytes, bytes | None] = {}
        while keys := missing(rows, values, target.period):
            values.update(zip(keys, self._read(target, keys), strict=True))
        return change(rows, values, target.period)

    def _read(self, target: "Target", keys: list[bytes]) -> list[bytes | None]:
        return self.store.read(keys, of=target.draft)[1] if keys else []


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
