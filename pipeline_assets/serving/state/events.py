"""What events, photos and users that arrive after t0 change. Functions of packed values: the caller reads and writes them.

    values: dict[bytes, bytes | None] = {}
    while keys := missing_keys(events, values, period):   # two rounds, three if a better delivery replaces a former one
        values.update(zip(keys, store.read(keys)))
    changes = apply(events, values, period)

Batches may come in any order and split, and may repeat events: the outcome is the same. The values of a batch must have been
read after the changes of the batch before it were written.
"""

from collections.abc import Mapping

import polars as pl

from pipeline_assets.serving.state.period import Period

Values = Mapping[bytes, bytes | None]
"""Packed values by key; None: the store has none."""


def missing_keys(events: pl.DataFrame, values: Values, period: Period) -> list[bytes]:
    """Keys that `apply` needs and `values` lack, each once; empty as soon as `apply` has all. See the module.

    events: event_id, user_id, photo_id, kind, at, arrived_at of `EventLog`, any other columns; at least these types.
    Raises StateUnreadable.
    """
    raise NotImplementedError


def apply(events: pl.DataFrame, values: Values, period: Period) -> dict[bytes, bytes | None]:
    """The changed keys alone, with their new values; None: delete the key.

    Repeated deliveries change nothing, except that one known earlier than the one that counted replaces it. Likes and views
    of photos that are not known yet wait for `add_photos`. Events whose `at` is more than CLOCK_SKEW after their arrival are
    ignored. Raises StateUnreadable, and ValueError if `missing_keys` is not empty.
    """
    raise NotImplementedError


def missing_keys_of_photos(photos: pl.DataFrame, values: Values, period: Period) -> list[bytes]:
    """As `missing_keys`, for `add_photos`."""
    raise NotImplementedError


def add_photos(photos: pl.DataFrame, values: Values, period: Period) -> dict[bytes, bytes | None]:
    """The changed keys alone, once these photos are known. photos: day, photo_id, user_id, posted_at of `PhotoMetadata`.

    What waited for a photo counts from now on. A photo that is known already changes nothing, nor does one whose posting is
    far from its upload (`is_near_upload`). The state of a user with a photo that should have been in the build, and whose
    views are lost by now, becomes incomplete. Raises as `apply`.
    """
    raise NotImplementedError


def add_users(users: pl.DataFrame, values: Values) -> dict[bytes, bytes | None]:
    """The changed keys alone, once these users are known. users: user_id, joined_at. values: those of `user_key` of each."""
    raise NotImplementedError
