"""Values of a batch, unpacked while the batch changes them. Not here: which keys a batch needs (`events.py`)."""

from collections.abc import Mapping
from typing import TypeVar, cast

from pipeline_assets.serving.state.layout import (
    MISSING,
    Delivery,
    EventBucket,
    PhotoState,
    UserState,
    bucket_key,
    photo_key,
    user_key,
)
from pipeline_assets.serving.state.period import Period
from pipeline_assets.serving.state.steps import (
    LIKE,
    OWN_WINDOWS,
    VIEW,
    add_photo,
    count_own,
    count_received,
    is_averaged,
    is_worth_keeping,
    touches_owner,
)

Values = Mapping[bytes, bytes | None]
"""Packed values by key; None: the store has none."""
_State = TypeVar("_State", UserState, PhotoState, EventBucket)


class Desk:
    """The states that a batch reads and changes. values: each key that the batch needs; another one raises KeyError."""

    def __init__(self, values: Values, period: Period) -> None:
        self._values = values
        self._period = period
        self._states: dict[bytes, UserState | PhotoState | EventBucket] = {}

    def user(self, user_id: int) -> UserState:
        """The state of a user, to be changed."""
        return self._state(user_key(user_id), UserState)

    def deliver(self, digest: bytes, delivery: Delivery) -> None:
        """Count a delivery, unless one of the same event counts already that was known before it."""
        bucket = self._state(bucket_key(digest), EventBucket)
        if bucket.is_settled(digest):
            return
        former = bucket.open.get(digest)
        if former is None or delivery.rank < former.rank:
            bucket.open[digest] = delivery
            if former is not None:
                self._count(former, -1)
            self._count(delivery, 1)

    def add_photo(self, photo_id: int, photo: PhotoState) -> None:
        """Make a photo known, with the likes and views that waited for it. A known photo stays as it is."""
        former = self._state(photo_key(photo_id), PhotoState)
        if former.is_known:
            return
        self._states[photo_key(photo_id)] = photo
        if photo.owner_id is not None and is_averaged(photo, self._period):
            add_photo(self.user(photo.owner_id), photo_id, photo, self._period)
        for delivery in former.waiting:
            self._count_received(photo, delivery, 1)

    def changes(self) -> dict[bytes, bytes | None]:
        """The packed values that differ from those before."""
        packed = {key: state.pack() for key, state in self._states.items()}
        return {key: value for key, value in packed.items() if value != self._values[key]}

    def _count(self, delivery: Delivery, sign: int) -> None:
        if delivery.kind in OWN_WINDOWS:
            count_own(self.user(delivery.user_id), delivery, sign, self._period)
        if delivery.kind not in (LIKE, VIEW) or delivery.photo_id == MISSING:
            return
        photo = self._state(photo_key(delivery.photo_id), PhotoState)
        if photo.is_known:
            self._count_received(photo, delivery, sign)
        elif sign < 0:
            photo.forget(delivery)
        elif is_worth_keeping(delivery, self._period):
            photo.wait(delivery)

    def _count_received(self, photo: PhotoState, delivery: Delivery, sign: int) -> None:
        if photo.owner_id is not None and touches_owner(photo, delivery, self._period):
            count_received(self.user(photo.owner_id), photo, delivery, sign, self._period)

    def _state(self, key: bytes, kind: type[_State]) -> _State:
        state = self._states.get(key)
        if state is None:
            value = self._values[key]
            state = self._states[key] = kind() if value is None else kind.unpack(value)
        return cast("_State", state)
