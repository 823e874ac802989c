"""What events, photos and users that arrive after t0 change. Functions of packed values: the caller reads and writes them.

    events = deliveries(events)                           # or a frame, which is converted with each call
    values: dict[bytes, bytes | None] = {}
    while keys := missing_keys(events, values, period):   # two rounds, three if a better delivery replaces a former one
        values.update(zip(keys, store.read(keys)))
    changes = apply(events, values, period)

Batches may come in any order and split, and may repeat events: the outcome is the same. The values of a batch must have been
read after the changes of the batch before it were written.
"""

from collections.abc import Iterable, Iterator, Sequence

import polars as pl

from pipeline_assets.features.postings import is_near_upload, known_from
from pipeline_assets.serving.state.deliveries import credible
from pipeline_assets.serving.state.desk import Desk, Values
from pipeline_assets.serving.state.layout import (
    MISSING,
    Delivery,
    EventBucket,
    PhotoState,
    bucket_key,
    event_digest,
    photo_key,
    user_key,
)
from pipeline_assets.serving.state.period import Period
from pipeline_assets.serving.state.steps import LIKE, OWN_WINDOWS, VIEW, is_averaged, touches_owner

__all__ = ["Values", "add_photos", "add_users", "apply", "deliveries", "missing_keys", "missing_keys_of_photos"]

Events = pl.DataFrame | Sequence[tuple[bytes, Delivery]]
"""A frame, or its `deliveries`."""


def missing_keys(events: Events, values: Values, period: Period) -> list[bytes]:
    """Keys that `apply` needs and `values` lack, each once; empty as soon as `apply` has all. See the module.

    events: event_id, user_id, photo_id, kind, at, arrived_at of `EventLog`, any other columns.
    Raises StateUnreadable.
    """
    return _absent((key for row in _deliveries(events) for key in _keys(*row, values, period)), values)


def apply(events: Events, values: Values, period: Period) -> dict[bytes, bytes | None]:
    """The changed keys alone, with their new values; None: delete the key.

    Repeated deliveries change nothing, except that one known earlier than the one that counted replaces it. Likes and views
    of photos that are not known yet wait for `add_photos`. Events whose `at` is more than CLOCK_SKEW after their arrival are
    ignored. Raises StateUnreadable, and KeyError if `missing_keys` is not empty.
    """
    desk = Desk(values, period)
    for digest, delivery in _deliveries(events):
        desk.deliver(digest, delivery)
    return desk.changes()


def missing_keys_of_photos(photos: pl.DataFrame, values: Values, period: Period) -> list[bytes]:
    """As `missing_keys`, for `add_photos`."""

    def keys() -> Iterator[bytes]:
        for photo_id, photo in _photos(photos):
            yield photo_key(photo_id)
            former = values.get(photo_key(photo_id))
            waiting = PhotoState.unpack(former).waiting if former else []
            if is_averaged(photo, period) or any(touches_owner(photo, delivery, period) for delivery in waiting):
                yield user_key(photo.owner_id or 0)

    return _absent(keys(), values)


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


def deliveries(events: pl.DataFrame) -> list[tuple[bytes, Delivery]]:
    """The credible events, as their digests and deliveries. events: as for `missing_keys`."""
    rows = credible(events.lazy()).collect().rows()
    return [(event_digest(row[0]), Delivery._make(row[1:])) for row in rows]


def _deliveries(events: Events) -> Sequence[tuple[bytes, Delivery]]:
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


def _keys(digest: bytes, delivery: Delivery, values: Values, period: Period) -> Iterator[bytes]:
    """The keys that an event needs, as far as `values` tell."""
    key = bucket_key(digest)
    yield key
    yield from _keys_of_delivery(delivery, values, period)
    bucket = values.get(key)
    if bucket and digest in bucket:
        former = EventBucket.unpack(bucket).open.get(digest)
        if former is not None and delivery.rank < former.rank:
            yield from _keys_of_delivery(former, values, period)


def _keys_of_delivery(delivery: Delivery, values: Values, period: Period) -> Iterator[bytes]:
    if delivery.kind in OWN_WINDOWS:
        yield user_key(delivery.user_id)
    if delivery.kind in (LIKE, VIEW) and delivery.photo_id != MISSING:
        key = photo_key(delivery.photo_id)
        yield key
        value = values.get(key)
        photo = PhotoState.unpack(value) if value else PhotoState()
        if photo.owner_id is not None and touches_owner(photo, delivery, period):
            yield user_key(photo.owner_id)


def _absent(keys: Iterable[bytes], values: Values) -> list[bytes]:
    return list(dict.fromkeys(key for key in keys if key not in values))
