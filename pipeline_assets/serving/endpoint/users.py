"""Features of a user at a moment, from one read of the online store. Errors of the state become reasons of the endpoint."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from pipeline_assets.errors import AskRefused, MomentBeforeState, StateIncomplete, StateTooOld, StateUnreadable
from pipeline_assets.features.history import FEATURES
from pipeline_assets.serving.state.answers import features_at
from pipeline_assets.serving.state.layout import UserState, user_key
from pipeline_assets.serving.state.period import Period, moment_of

REBUILD = "materialize online_features (`darkroom run`, or the nightly job)"


class Generation(Protocol):
    """What an answer says of the generation that it was read from."""

    @property
    def number(self) -> int: ...  # noqa: D102
    @property
    def t0(self) -> datetime: ...  # noqa: D102
    @property
    def horizon_s(self) -> int: ...  # noqa: D102
    @property
    def position(self) -> str: ...  # noqa: D102


class Store(Protocol):
    """What is read of `resources.online.contract.OnlineStore`."""

    def read(self, keys: Sequence[bytes]) -> tuple[Generation, list[bytes | None]]: ...  # noqa: D102
    def current(self) -> Generation | None: ...  # noqa: D102


@dataclass(frozen=True)
class UserFeatures:
    """values: FEATURES. generation, t0: of the state that they were read from. known_through: events that had arrived by
    then are in it.
    """

    values: dict[str, float | None]
    generation: int
    t0: datetime
    known_through: datetime


def features_of(store: Store, user_id: int, moment: datetime) -> UserFeatures:
    """The features of a known user, equal to the bit to `user_features_as_of`. Raises AskRefused, and the store's errors."""
    generation, (value,) = store.read([user_key(user_id)])
    if value is None:
        raise AskRefused(404, "unknown_user", "no state has this user: they are new, or have not been imported")
    try:
        state = UserState.unpack(value)
        if state.joined_at is None:
            raise AskRefused(404, "unknown_user", "the state does not know when this user joined")
        joined_at = moment_of(state.joined_at)
        if moment < joined_at:
            raise AskRefused(422, "before_joining", "posted_at is before the user joined")
        values = features_at(state, Period(generation.t0, timedelta(seconds=generation.horizon_s)), moment)
    except MomentBeforeState:
        since = f"{generation.t0:%Y-%m-%dT%H:%M:%SZ}"
        raise AskRefused(
            422, "before_state", f"the state answers moments from {since} on; use the offline features"
        ) from None
    except StateTooOld:
        raise AskRefused(503, "state_too_old", f"the state ends before this moment: {REBUILD}") from None
    except StateIncomplete:
        raise AskRefused(
            503, "state_incomplete", f"the user's state lacks a photo that became known late: {REBUILD}"
        ) from None
    except StateUnreadable as error:
        raise AskRefused(503, "state_unreadable", f"{error}") from None
    return UserFeatures(
        {name: values[name] for name in FEATURES}, generation.number, generation.t0, known_through(generation)
    )


def known_through(generation: Generation) -> datetime:
    """The arrival of the last event that may be in the state: the end of the stream's position, else just before t0.

    The position of a stream ends with microseconds since 1970 (`stream/places.py`).
    """
    tail = generation.position.rpartition(":")[2]
    built = generation.t0 - timedelta(microseconds=1)
    return max(built, moment_of(int(tail))) if tail.isdigit() else built
