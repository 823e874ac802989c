"""Features from the state are those of the offline function, whatever came when, in which order and how often."""

import random
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from online_world import EVENT_TYPES, PHOTO_TYPES, USER_TYPES, Store, built, offline

from pipeline_assets.serving.state.layout import UserState
from pipeline_assets.serving.state.period import SETTLING, Period

pytestmark = pytest.mark.slow

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MICROSECOND = timedelta(microseconds=1)
T0 = datetime(2025, 3, 1, tzinfo=UTC)
HORIZON = timedelta(hours=36)
PERIOD = Period(T0, HORIZON)
USERS = {-5: T0 - 400 * DAY, 1: T0 - 3 * DAY + HOUR, 2: None, 2**40: T0 + HOUR}
PHOTO_IDS = range(1, 5)

nudges = st.sampled_from([-1, 0, 0, 1]).map(lambda count: count * MICROSECOND)
# Half days from t0, where windows of whole days begin and end, within the horizon and long before.
half_days = st.one_of(st.integers(-90, 3), st.integers(-4, 3), st.sampled_from([-60, -14, -2]))
moments = st.builds(
    lambda half, hours, nudge: T0 + half * DAY / 2 + hours * HOUR + nudge, half_days, st.integers(0, 11), nudges
)
user_ids = st.sampled_from(list(USERS))
lateness = st.sampled_from([-25, -24, -2, 0, 0, 0, 1, 12, 24, 24 * 9, 24 * 31]).map(lambda hours: hours * HOUR)
arrivals = st.builds(lambda hours, nudge: T0 + hours * HOUR + nudge, st.integers(-1, 36), nudges)
# Whole windows, and times of the future that come true within the horizon.
delays = st.sampled_from([-25, -24, -12, -3, 0, 0, 0, 1, 1, 12, 24, 24 * 7, 24 * 29, 24 * 30]).map(
    lambda hours: hours * HOUR
)
times = st.one_of(
    st.builds(lambda at, late: (at, at + late), moments, lateness),
    st.builds(lambda arrived_at, delay: (arrived_at - delay, arrived_at), arrivals, delays),
)


@dataclass(frozen=True)
class Event:
    event_id: str
    user_id: int
    photo_id: int | None
    kind: str
    at: datetime
    arrived_at: datetime


@dataclass(frozen=True)
class Photo:
    day: date
    photo_id: int
    user_id: int
    posted_at: datetime

    @property
    def known(self) -> datetime:
        return max(self.posted_at, datetime(self.day.year, self.day.month, self.day.day, tzinfo=UTC))


# Photos that mature about t0 or leave the mean in the horizon, that are posted in it, and any others.
hours_of_horizon = st.builds(lambda hours, nudge: hours * HOUR + nudge, st.integers(-1, 36), nudges)
postings = st.one_of(
    moments, *(hours_of_horizon.map(lambda after, before=before: T0 - before * DAY + after) for before in (0, 7, 7, 37))
)


@st.composite
def photo_lists(draw: st.DrawFn) -> list[Photo]:
    photos = []
    for photo_id in draw(st.sampled_from([[1], [1, 2], PHOTO_IDS, PHOTO_IDS, PHOTO_IDS])):
        posted_at = draw(postings)
        day = posted_at.date() + draw(st.sampled_from([-2, -1, 0, 0, 0, 0, 1, 2])) * DAY
        photos.append(Photo(day, photo_id, draw(user_ids), posted_at))
    return photos


@st.composite
def events(draw: st.DrawFn, photos: list[Photo]) -> Event:
    kind = draw(st.sampled_from(["login", "view", "view", "view", "like", "like", "post", "hide"]))
    at, arrived_at = draw(times)
    photo_id = None
    if kind in ("view", "like"):
        photo_id = draw(st.sampled_from([None, 99, *PHOTO_IDS, *(photo.photo_id for photo in photos for _ in range(4))]))
        about = next((photo.posted_at for photo in photos if photo.photo_id == photo_id), None)
        if about and draw(st.booleans()):  # near the ends of the photo's first week
            at = about + draw(st.sampled_from([0, 1, 3, 7])) * DAY + draw(nudges)
            arrived_at = draw(st.sampled_from([at, at + HOUR, about + 7 * DAY, about + 7 * DAY - MICROSECOND, arrived_at]))
    # Few ids: they repeat, with other content too.
    return Event(f"e{draw(st.integers(0, 25))}", draw(user_ids), photo_id, kind, at, arrived_at)


@st.composite
def whole_worlds(draw: st.DrawFn) -> tuple[list[Event], list[Photo]]:
    photos = draw(photo_lists())
    count = draw(st.sampled_from([0, 1, 2, 5, 40, 60, 60, 60]))  # lists of any size are mostly short
    return draw(st.lists(events(photos), min_size=count, max_size=count)), photos


worlds = whole_worlds()
no_checks = [HealthCheck.data_too_large, HealthCheck.too_slow]


def event_frame(log: list[Event]) -> pl.DataFrame:
    return pl.DataFrame([vars(event) for event in log], schema=EVENT_TYPES, orient="row")


def photo_frame(photos: list[Photo]) -> pl.DataFrame:
    return pl.DataFrame([vars(photo) for photo in photos], schema=PHOTO_TYPES, orient="row")


def user_frame() -> pl.DataFrame:
    return pl.DataFrame(list(USERS.items()), schema=USER_TYPES, orient="row")


def split(items: list, rng: random.Random) -> list[list]:
    """The items in another order, in batches."""
    shuffled = rng.sample(items, len(items))
    borders = sorted(rng.choices(range(len(items) + 1), k=3))
    return [shuffled[start:end] for start, end in zip([0, *borders], [*borders, len(items)], strict=True)]


def streamed(log: list[Event], photos: list[Photo], rng: random.Random, built_until: datetime = T0) -> Store:
    """Built from what had arrived by then; all else, and some of the same again, is delivered in random batches."""
    early = [event for event in log if event.arrived_at < built_until]
    early_photos = [photo for photo in photos if photo.known < built_until]
    store = built(user_frame(), event_frame(early), photo_frame(early_photos), PERIOD)
    late = [event for event in log if event.arrived_at >= built_until or rng.random() < 0.3]
    late_photos = [photo for photo in photos if photo.known >= built_until or rng.random() < 0.3]
    turns = [(store.deliver, event_frame(batch)) for batch in split(late + late[::3], rng)]
    turns += [(store.add_photos, photo_frame(batch)) for batch in split(late_photos, rng)]
    for turn, frame in rng.sample(turns, len(turns)):
        turn(frame)
    return store


def asks(rng: random.Random) -> list[tuple[int, datetime, datetime | None]]:
    whole = HORIZON // MICROSECOND
    edges = [0, 1, whole, whole - 1, whole // 3, whole // 3 + 1, *(rng.randrange(whole) for _ in range(4))]
    hours = [hour * 3_600_000_000 + nudge for hour in range(36) for nudge in (0, 1)]
    return [
        (user_id, T0 + offset * MICROSECOND, joined_at)
        for user_id, joined_at in [*USERS.items(), (77, None)]
        for offset in edges + rng.sample(hours, 8)
    ]


def assert_equal_to_offline(store: Store, log: list[Event], photos: list[Photo], rng: random.Random) -> None:
    asked = asks(rng)
    expected = offline(asked, event_frame(log), photo_frame(photos))
    for (user_id, moment, _), row in zip(asked, expected, strict=True):
        assert store.ask(user_id, moment) == row, (user_id, moment - T0)


@settings(max_examples=50, deadline=None, suppress_health_check=no_checks)
@given(worlds, st.randoms(use_true_random=False))
def test_no_ask_differs_from_offline(world, rng):
    log, photos = world
    assert_equal_to_offline(streamed(log, photos, rng), log, photos, rng)


@settings(max_examples=20, deadline=None, suppress_health_check=no_checks)
@given(worlds, st.randoms(use_true_random=False))
def test_the_stream_ends_at_the_bytes_of_a_build_of_all(world, rng):
    log, photos = world
    store = streamed(log, photos, rng)
    whole = built(user_frame(), event_frame(log), photo_frame(photos), PERIOD)
    nothing = (None, UserState().pack())
    assert {key: value for key, value in store.items() if value not in nothing} == {
        key: value for key, value in whole.items() if value not in nothing
    }


@settings(max_examples=20, deadline=None, suppress_health_check=no_checks)
@given(worlds, st.randoms(use_true_random=False))
def test_what_arrived_in_the_last_hour_may_be_missing_in_the_build(world, rng):
    log, photos = world
    first = {}
    agreeing = [replace(first.setdefault(event.event_id, event), arrived_at=event.arrived_at) for event in log]
    assert_equal_to_offline(streamed(agreeing, photos, rng, T0 - SETTLING), agreeing, photos, rng)
