"""What one event or photo contributes to the features of users, and how a contribution enters their state.

An event counts for a feature at moments in (start, stop], as in `features/windows.py`: the count rises by one at start and
falls by one at stop. What lies before t0 is part of the counts at t0, and what lies after the period is left out. So a
contribution can be taken back exactly, and their order makes no difference. What does not live here: which deliveries
count (`events.py`).
"""

from bisect import bisect_left
from collections.abc import Mapping
from datetime import timedelta

from pipeline_assets.features.history import COUNTS, PHOTO_LOOKBACK, WINDOW
from pipeline_assets.features.popularity import MATURITY
from pipeline_assets.serving.state.layout import KINDS, Delivery, Maturing, PhotoState, UserState
from pipeline_assets.serving.state.period import Period

LIKE, VIEW = KINDS.index("like"), KINDS.index("view")
RECEIVED = COUNTS.index("likes_received_30d")


def _us(span: timedelta) -> int:
    return span // timedelta(microseconds=1)


WINDOW_US, MATURITY_US, PHOTO_LOOKBACK_US = _us(WINDOW), _us(MATURITY), _us(PHOTO_LOOKBACK)
_DAY_US = _us(timedelta(days=1))
OWN_WINDOWS: Mapping[int, tuple[tuple[int, int], ...]] = {
    KINDS.index("login"): (
        (COUNTS.index("logins_1d"), _DAY_US),
        (COUNTS.index("logins_7d"), 7 * _DAY_US),
        (COUNTS.index("logins_30d"), WINDOW_US),
    ),
    KINDS.index("post"): ((COUNTS.index("posts_30d"), WINDOW_US),),
    LIKE: ((COUNTS.index("likes_given_30d"), WINDOW_US),),
}
"""For each kind, the counts of the acting user: position in COUNTS, and the window in microseconds."""


def count_own(user: UserState, delivery: Delivery, sign: int, period: Period) -> None:
    """Count what a user did once more (sign 1) or once less (-1)."""
    known = delivery.known
    for position, window_us in OWN_WINDOWS[delivery.kind]:
        _count(user, position, known, delivery.at + window_us, sign, period)


def touches_owner(photo: PhotoState, delivery: Delivery, period: Period) -> bool:
    """Whether a like or view of a known photo changes features of its owner in the period."""
    if delivery.kind == LIKE:
        start, stop = _like_window(photo, delivery)
        return delivery.user_id != photo.owner_id and start < min(stop, period.end_us) and stop >= period.start_us
    mature_at = photo.posted_at + MATURITY_US
    is_counted = photo.posted_at <= delivery.at < mature_at and delivery.arrived_at < mature_at
    return is_counted and mature_at + WINDOW_US >= period.start_us and mature_at < period.end_us


def count_received(owner: UserState, photo: PhotoState, delivery: Delivery, sign: int, period: Period) -> None:
    """Count a like or view of a known photo that `touches_owner` once more (sign 1) or once less (-1).

    A view of a photo that matured before the period settled finds no counter: the owner's state becomes incomplete.
    """
    if delivery.kind == LIKE:
        _count(owner, RECEIVED, *_like_window(photo, delivery), sign, period)
        return
    place = bisect_left(owner.maturing, (photo.posted_at + MATURITY_US, delivery.photo_id))
    if place < len(owner.maturing) and owner.maturing[place].photo_id == delivery.photo_id:
        mature_at, photo_id, views = owner.maturing[place]
        owner.maturing[place] = Maturing(mature_at, photo_id, views + sign)
    else:
        owner.is_complete = False


def is_worth_keeping(delivery: Delivery, period: Period) -> bool:
    """Whether a like or view of an unknown photo can count in the period, once the photo is known."""
    earliest = period.start_us - WINDOW_US if delivery.kind == LIKE else period.settled_us - MATURITY_US
    return delivery.at >= earliest


def add_photo(owner: UserState, photo_id: int, photo: PhotoState, period: Period) -> None:
    """Add a photo that becomes known to its owner's mean, without any views.

    The views of a photo that matured before the period settled are not known: the owner's state becomes incomplete.
    """
    mature_at = photo.posted_at + MATURITY_US
    if mature_at < period.settled_us:
        owner.is_complete = False
    else:
        owner.maturing.insert(bisect_left(owner.maturing, (mature_at, photo_id)), Maturing(mature_at, photo_id, 0))


def is_averaged(photo: PhotoState, period: Period) -> bool:
    """Whether a photo counts for its owner's mean at some moment of the period."""
    mature_at = photo.posted_at + MATURITY_US
    return mature_at < period.end_us and mature_at + WINDOW_US >= period.start_us


def _like_window(photo: PhotoState, delivery: Delivery) -> tuple[int, int]:
    stop = min(delivery.at + WINDOW_US, photo.posted_at + PHOTO_LOOKBACK_US)
    return max(delivery.known, photo.known_from), stop


def _count(user: UserState, position: int, start: int, stop: int, sign: int, period: Period) -> None:
    if stop > start:
        _step(user, position, start, sign, period)
        _step(user, position, stop, -sign, period)


def _step(user: UserState, position: int, time: int, rise: int, period: Period) -> None:
    if time < period.start_us:
        user.counts[position] += rise
    elif time < period.end_us:
        step = time << 4 | position << 1 | (rise > 0)
        opposite = step ^ 1
        place = bisect_left(user.steps, opposite)
        if place < len(user.steps) and user.steps[place] == opposite:
            del user.steps[place]
        else:
            user.steps.insert(bisect_left(user.steps, step), step)
