"""The order of a key's values, which all backends share, and what a sweep keeps.

A built value of generation n has rank 2n, a streamed one 2n + 1. A generation shows its own streamed value of a key, if
there is one, otherwise the built one of the highest rank that is not above its own.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from resources.online.contract import Generation

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Row = tuple[int, int, int, int, int, int, int, str, int, int | None, int | None, int | None]
"""A generation as it is stored: its fields in their order, times in microseconds since 1970."""


def built(number: int) -> int:
    """The rank of built values."""
    return 2 * number


def streamed(number: int) -> int:
    """The rank of streamed values."""
    return 2 * number + 1


def microseconds(time: datetime) -> int:
    """Microseconds since 1970."""
    return (time - EPOCH) // timedelta(microseconds=1)


def time_of(us: int) -> datetime:
    """The time of microseconds since 1970."""
    return EPOCH + timedelta(microseconds=us)


@lru_cache(64)
def generation_of(row: Row) -> Generation:
    """The generation that is stored as these columns."""
    number, layout, t0, horizon_s, begun, users, size, position, is_complete, applied, published, replaced = row
    return Generation(
        number=number,
        format=layout,
        t0=time_of(t0),
        horizon_s=horizon_s,
        built_at=time_of(begun),
        users=users,
        bytes=size,
        position=position,
        is_complete=bool(is_complete),
        applied_at=None if applied is None else time_of(applied),
        published_at=None if published is None else time_of(published),
        replaced_at=None if replaced is None else time_of(replaced),
    )


def after(prefix: bytes) -> bytes:
    """The first key that follows all keys with this prefix, which does not end with the highest byte."""
    return prefix[:-1] + bytes([prefix[-1] + 1]) if prefix else b"\xff"


def oldest_kept(generations: Sequence[Generation], keep: int, older_s: float, now: datetime) -> int:
    """The number of the oldest generation that stays readable; 0 if none is published.

    keep: replaced generations that stay in any case; older ones stay for `older_s` seconds after their replacement.
    """
    published = sorted((one for one in generations if one.published_at), key=lambda one: -one.number)
    limit = now - timedelta(seconds=older_s)
    kept = [
        one.number
        for place, one in enumerate(published)
        if place <= keep or one.replaced_at is None or one.replaced_at > limit
    ]
    return min(kept, default=0)
