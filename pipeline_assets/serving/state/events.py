"""What events, photos and users that arrive after t0 change. Functions of packed values: the caller reads and writes them.

    events = deliveries(events)                         # or a frame, which is converted with each call
    values: dict[bytes, bytes | None] = {}
    for keys in missing_keys(events, values, period):   # two rounds, three if a better delivery replaces a former one
        values.update(zip(keys, store.read(keys)))
    changes = apply(events, values, period)

Batches may come in any order and split, and may repeat events: the outcome is the same. The values of a batch must have been
read after the changes of the batch before it were written.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain

import polars as pl

from pipeline_assets.features.event_log import CLOCK_SKEW
from pipeline_assets.features.postings import is_near_upload, known_from
from pipeline_assets.serving.state.deliveries import credible
from pipeline_assets.serving.state.desk import Desk, Values
from pipeline_assets.serving.state.layout import (
    KINDS,
    MISSING,
    Delivery,
    EventBucket,
    PhotoState,
    bucket_key,
    event_digest,
    photo_key,
    user_key,
)
from pipeline_assets.serving.state.period import Period, microseconds
from pipeline_assets.serving.state.steps import LIKE, OWN_WINDOWS, VIEW, is_averaged, touches_owner

__all__ = [
    "Values",
    "add_photos",
    "add_users",
    "apply",
    "deliveries",
    "delivery_of",
    "missing_keys",
    "missing_keys_of_photos",
]

Delivered = tuple[bytes, Delivery]
"""A delivery behind the digest of its event's id."""
Events = pl.DataFrame | Sequence[Delivered]
"""A frame, or its `deliveries`."""
_CODES = {kind: code for code, kind in enumerate(KINDS)}


def missing_keys(events: Events, values: Values, period: Period) -> Iterator[list[bytes]]:
    """Rounds of keys that `apply` needs and `values` lack, sorted; each follows from the values of the rounds before.

    events: event_id, user_id, photo_id, kind, at, arrived_at of `EventLog`, any other columns. The caller adds the values
    of a round before it takes the next one. Raises StateUnreadable.
    """
    rows = _deliveries(events)
    if keys := _absent(chain((bucket_key(digest) for digest, _ in rows), _own_keys(rows)), values):
        yield keys
    replaced = list(_replaced(rows, values))
    if keys := _absent(chain(_owners(rows, values, period), _own_keys(replaced)), values):
        yield keys
    if keys := _absent(_owners(replaced, values, period), values):
        yield keys


def apply(events: Events, values: Values, period: Period) -> dict[bytes, bytes | None]:
    """The changed keys alone, with their new values; None: delete the key.

    Repeated deliveries change nothing, except that one known earlier than the one that counted replaces it. Likes and views
    of photos that are not known yet wait for `add_photos`. Events whose `at` is more than CLOCK_SKEW after their arrival are
    ignored. Raises StateUnreadable, and KeyError without the values of `missing_keys`.
    """
    desk = Desk(values, period)
    for digest, delivery in _deliveries(events):
        desk.deliver(digest, delivery)
    return desk.changes()


def missing_keys_of_photos(photos: pl.DataFrame, values: Values, period: Period) -> Iterator[list[bytes]]:
    """As `missing_keys`, for `add_photos`."""
    facts = list(_photos(photos))
    if keys := _absent((photo_key(photo_id) for photo_id, _ in facts), values):
        yield keys

    def owners() -> Iterator[bytes]:
        for photo_id, photo in facts:
            former = values[photo_key(photo_id)]
            waiting = PhotoState.unpack(former).waiting if former else []
            if is_averaged(photo, period) or any(touches_owner(photo, delivery, period) for delivery in waiting):
                yield user_key(photo.owner_id or 0)

    if keys := _absent(owners(), values):
        yield keys


def add_photos(photos: pl.DataFrame, values: Values, period: Period) -> dict[bytes, bytes | None]:
    """The changed keys alone, once these photos are known. photos: day, photo_id, user_id, posted_at of `PhotoMetadata`.

    What waited for a photo counts from now on. A photo that is known already changes nothing, nor does one whose posting is
    far from its upload (`is_near_upload`). The state of a user with a photo that should have been in the build, and whose
    views are lost by now, becomes incomplete. Raises as `apply`.
    """
    desk = Desk(values, period)
    for photo_id, photo in _photos(photos):
        desk.add_photo(photo_id, photo)
    return desk.changes()


def add_users(users: pl.DataFrame, values: Values, period: Period) -> dict[bytes, bytes | None]:
    """The changed keys alone, once these users are known. users: user_id, joined_at. values: those of `user_key` of each."""
    desk = Desk(values, period)
    for user_id, joined_at in users.select("user_id", pl.col("joined_at").dt.epoch("us")).iter_rows():
        desk.user(user_id).joined_at = joined_at
    return desk.changes()


def deliveries(events: pl.DataFrame) -> list[Delivered]:
    """The credible events, as their digests and deliveries. events: as for `missing_keys`."""
    rows = credible(events.lazy()).collect().rows()
    return [(event_digest(row[0]), Delivery._make(row[1:])) for row in rows]


def delivery_of(
    event_id: str, user_id: int, photo_id: int | None, kind: str, at: datetime, arrived_at: datetime
) -> Delivered | None:
    """What `deliveries` has for one event, without a frame; None if it is not credible."""
    if at > arrived_at + CLOCK_SKEW:
        return None
    photo = MISSING if photo_id is None else photo_id
    return event_digest(event_id), Delivery(_CODES[kind], user_id, photo, microseconds(at), microseconds(arrived_at))


def _deliveries(events: Events) -> Sequence[Delivered]:
    return deliveries(events) if isinstance(events, pl.DataFrame) else events


def _photos(photos: pl.DataFrame) -> Iterator[tuple[int, PhotoState]]:
    """The photos that count, each once: of several rows the one of the earliest day, as in `History`."""
    rows = (
        photos.filter(is_near_upload())
        .sort("photo_id", "day")
        .unique("photo_id", keep="first", maintain_order=True)
        .select("photo_id", "user_id", pl.col("posted_at").dt.epoch("us"), known_from().dt.epoch("us").alias("known"))
    )
    for photo_id, *facts in rows.iter_rows():
        yield photo_id, PhotoState(*facts)


def _own_keys(rows: Iterable[Delivered]) -> Iterator[bytes]:
    """The keys of those who act and of the photos that are liked or viewed."""
    for _, delivery in rows:
        if delivery.kind in OWN_WINDOWS:
            yield user_key(delivery.user_id)
        if delivery.kind in (LIKE, VIEW) and delivery.photo_id != MISSING:
            yield photo_key(delivery.photo_id)


def _owners(rows: Iterable[Delivered], values: Values, period: Period) -> Iterator[bytes]:
    """The keys of the owners of known photos whose features a like or view changes."""
    for _, delivery in rows:
        if delivery.kind in (LIKE, VIEW) and delivery.photo_id != MISSING:
            value = values[photo_key(delivery.photo_id)]
            photo = PhotoState.unpack(value) if value else PhotoState()
            if photo.owner_id is not None and touches_owner(photo, delivery, period):
                yield user_key(photo.owner_id)


def _replaced(rows: Iterable[Delivered], values: Values) -> Iterator[Delivered]:
    """The stored deliveries that one of these takes the place of."""
    for digest, delivery in rows:
        bucket = values[bucket_key(digest)]
        if bucket and digest in bucket:
            former = EventBucket.unpack(bucket).open.get(digest)
            if former is not None and delivery.rank < former.rank:
                yield digest, former


def _absent(keys: Iterable[bytes], values: Values) -> list[bytes]:
    return sorted(set(keys).difference(values))
