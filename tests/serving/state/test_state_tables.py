"""Hand-worked tables: what single events and photos do to a state, from both sides of every limit."""

import itertools
import random
from array import array
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from online_world import EVENT_TYPES, PHOTO_TYPES, USER_TYPES, Store, built, offline

from pipeline_assets.errors import MomentBeforeState, StateIncomplete, StateTooOld
from pipeline_assets.features.history import COUNTS
from pipeline_assets.features.popularity import FIXED_POINT, in_fixed_point
from pipeline_assets.serving.state.answers import features_at
from pipeline_assets.serving.state.events import add_users, apply, deliveries, delivery_of
from pipeline_assets.serving.state.layout import KINDS, UserState, user_key
from pipeline_assets.serving.state.period import LONGEST_HORIZON, Period

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)
T0 = datetime(2025, 3, 1, tzinfo=UTC)
PERIOD = Period(T0, 36 * HOUR)
JOINED = T0 - 10 * DAY
USERS = pl.DataFrame([(user, JOINED) for user in (1, 2, 3)], schema=USER_TYPES, orient="row")
NO_PHOTOS = pl.DataFrame(schema=PHOTO_TYPES)

Row = tuple[str, int, int | None, str, timedelta, timedelta]
"""An event: id, user, photo, kind, at, arrived_at, as times from t0."""


def event_frame(*rows: Row) -> pl.DataFrame:
    events = [(name, user, photo, kind, T0 + at, T0 + arrived) for name, user, photo, kind, at, arrived in rows]
    return pl.DataFrame(events, schema=EVENT_TYPES, orient="row")


def photo_frame(photo_id: int, user_id: int, posted: timedelta, *, day: int | None = None) -> pl.DataFrame:
    posted_at = T0 + posted
    day_of_upload = posted_at.date() if day is None else (T0 + day * DAY).date()
    return pl.DataFrame([(day_of_upload, photo_id, user_id, posted_at)], schema=PHOTO_TYPES, orient="row")


def told(store: Store, user: int, feature: str, *after: timedelta) -> list[int | float | None]:
    return [store.ask(user, T0 + time)[feature] for time in after]


def exact(store: Store, events: pl.DataFrame, photos: pl.DataFrame) -> Store:
    """The store, after a comparison with the offline features at each hour and just after it."""
    hours = [hour * HOUR + tick for hour in range(37) for tick in (0 * TICK, TICK) if hour < 36 or not tick]
    asks = [(user, T0 + time, JOINED) for user in (1, 2, 3) for time in hours]
    for (user, moment, _), row in zip(asks, offline(asks, events, photos), strict=True):
        assert store.ask(user, moment) == row, (user, moment - T0)
    return store


def streamed(*late: Row, early: tuple[Row, ...] = (), photos: pl.DataFrame = NO_PHOTOS) -> Store:
    store = built(USERS, event_frame(*early), photos, PERIOD)
    for row in late:
        store.deliver(event_frame(row))
    return exact(store, event_frame(*early, *late), photos)


@pytest.mark.parametrize(
    ("at", "arrived", "counts"),
    [
        (5 * HOUR, 5 * HOUR, [(5 * HOUR, 0), (5 * HOUR + TICK, 1), (29 * HOUR, 1), (29 * HOUR + TICK, 0)]),
        (5 * HOUR, 7 * HOUR, [(7 * HOUR, 0), (7 * HOUR + TICK, 1), (29 * HOUR, 1), (29 * HOUR + TICK, 0)]),
        (9 * HOUR, 7 * HOUR, [(9 * HOUR, 0), (9 * HOUR + TICK, 1), (33 * HOUR, 1), (33 * HOUR + TICK, 0)]),
        (-20 * HOUR, 3 * HOUR, [(3 * HOUR, 0), (3 * HOUR + TICK, 1), (4 * HOUR, 1), (4 * HOUR + TICK, 0)]),
        (-20 * HOUR, 4 * HOUR, [(4 * HOUR, 0), (4 * HOUR + TICK, 0)]),
        (-8 * DAY, 4 * HOUR, [(0 * HOUR, 0), (4 * HOUR, 0), (4 * HOUR + TICK, 0), (36 * HOUR, 0)]),
        (32 * HOUR, 7 * HOUR, [(36 * HOUR, 0)]),  # a day and more in the future: never believed
        (-DAY, -DAY, [(0 * HOUR, 1), (TICK, 0)]),
        (-DAY - TICK, -DAY, [(0 * HOUR, 0)]),
    ],
)
def test_a_login_counts_from_after_it_is_known_to_the_end_of_its_window(at, arrived, counts):
    row = ("e", 1, None, "login", at, arrived)
    for store in (streamed(row), streamed(early=(row,))):
        assert [(time, count) for time, _ in counts for [count] in [told(store, 1, "logins_1d", time)]] == counts


def test_a_repeat_counts_once_and_a_better_delivery_takes_back_the_former():
    login = ("e", 1, None, "login", -HOUR / 2, -HOUR / 2)
    repeat = ("e", 1, None, "login", -HOUR / 2, 3 * HOUR)
    assert told(streamed(repeat, repeat, early=(login,)), 1, "logins_30d", 0 * HOUR, 36 * HOUR) == [1, 1]
    future = ("e", 1, None, "login", 11 * HOUR, HOUR)
    sooner = ("e", 2, None, "post", 2 * HOUR, 2 * HOUR)
    store = streamed(future, sooner, future)
    assert told(store, 1, "logins_30d", 36 * HOUR) == [0]
    assert told(store, 2, "posts_30d", 2 * HOUR, 36 * HOUR) == [0, 1]
    assert store == streamed(sooner, future)


def test_a_like_counts_once_both_are_known_and_never_for_oneself():
    posted = photo_frame(7, 1, -DAY)
    like, own = (("e", 2, 7, "like", HOUR, HOUR), ("f", 1, 7, "like", HOUR, HOUR))
    store = streamed(like, own, photos=posted)
    assert told(store, 1, "likes_received_30d", HOUR, HOUR + TICK) == [0, 1]
    assert told(store, 1, "likes_given_30d", 2 * HOUR) == [1]
    old = photo_frame(7, 1, -37 * DAY + 5 * HOUR)
    assert told(streamed(like, photos=old), 1, "likes_received_30d", 5 * HOUR, 5 * HOUR + TICK) == [1, 0]


@pytest.mark.parametrize("first", ["like", "photo"])
@pytest.mark.parametrize("arrived", [-5 * HOUR, 21 * HOUR])
def test_a_like_of_an_unknown_photo_waits_for_it(first, arrived):
    like = ("e", 2, 7, "like", arrived, arrived)
    tomorrow = photo_frame(7, 1, 22 * HOUR, day=1)  # uploaded on the next day, as its key says
    store = built(USERS, event_frame(*([like] if arrived < 0 * HOUR else [])), NO_PHOTOS, PERIOD)
    steps = [lambda: store.deliver(event_frame(like)), lambda: store.add_photos(tomorrow)]
    for step in steps if first == "like" else steps[::-1]:
        step()
    exact(store, event_frame(like), tomorrow)
    assert told(store, 1, "likes_received_30d", 24 * HOUR, 24 * HOUR + TICK) == [0, 1]


def test_what_waits_is_taken_back_with_its_delivery():
    future = ("e", 2, 7, "like", 11 * HOUR, HOUR)
    sooner = ("e", 3, 8, "like", 2 * HOUR, 2 * HOUR)
    photos = pl.concat([photo_frame(7, 1, 5 * HOUR), photo_frame(8, 2, 5 * HOUR)])
    store = built(USERS, event_frame(), NO_PHOTOS, PERIOD)
    store.deliver(event_frame(future))
    store.deliver(event_frame(sooner))
    store.add_photos(photos)
    exact(store, event_frame(future, sooner), photos)
    assert told(store, 1, "likes_received_30d", 36 * HOUR) == [0]
    assert told(store, 2, "likes_received_30d", 36 * HOUR) == [1]


def popularity(*views: int) -> float:
    scaled = pl.DataFrame({"views": views}).select(in_fixed_point(pl.col("views"))).to_series()
    mean = pl.Series([scaled.sum() / len(views) / FIXED_POINT], dtype=pl.Float32)
    return mean.item()


@pytest.mark.parametrize(
    ("at", "arrived", "counts"),
    [
        (9 * HOUR, 9 * HOUR, True),
        (10 * HOUR - TICK, 10 * HOUR - TICK, True),
        (10 * HOUR, 10 * HOUR, False),
        (9 * HOUR, 10 * HOUR, False),
        (-7 * DAY + 10 * HOUR, HOUR, True),
        (-7 * DAY + 10 * HOUR - TICK, HOUR, False),
    ],
)
def test_a_photo_matures_in_the_horizon_with_the_views_of_its_first_week(at, arrived, counts):
    photo = photo_frame(7, 1, -7 * DAY + 10 * HOUR)
    early = ("a", 2, 7, "view", -DAY, -DAY)
    store = streamed(("e", 3, 7, "view", at, arrived), early=(early,), photos=photo)
    assert told(store, 1, "mean_popularity_30d", 10 * HOUR, 10 * HOUR + TICK) == [None, popularity(1 + counts)]


def test_a_view_that_is_replaced_is_no_longer_counted():
    photo = photo_frame(7, 1, -7 * DAY + 10 * HOUR)
    store = streamed(("e", 3, 7, "view", 6 * HOUR, HOUR), ("e", 3, None, "login", 2 * HOUR, 2 * HOUR), photos=photo)
    assert told(store, 1, "mean_popularity_30d", 11 * HOUR) == [popularity(0)]


def test_a_photo_leaves_the_mean_thirty_days_after_it_matured():
    photos = pl.concat([photo_frame(7, 1, -37 * DAY + 5 * HOUR), photo_frame(8, 1, -8 * DAY)])
    view = ("e", 3, 7, "view", -35 * DAY, -35 * DAY)
    store = streamed(early=(view,), photos=photos)
    assert told(store, 1, "mean_popularity_30d", 5 * HOUR, 5 * HOUR + TICK) == [popularity(1, 0), popularity(0)]


def test_views_of_a_photo_that_matured_in_the_last_hour_before_t0_still_count():
    photo = photo_frame(7, 1, -7 * DAY - HOUR / 2)
    store = streamed(("e", 3, 7, "view", -HOUR * 3 / 4, -HOUR * 3 / 4), photos=photo)
    assert told(store, 1, "mean_popularity_30d", 0 * HOUR) == [popularity(1)]


def test_a_state_without_a_photo_or_views_that_came_too_late_does_not_answer():
    late_photo = photo_frame(7, 1, -9 * DAY)
    store = built(USERS, event_frame(), NO_PHOTOS, PERIOD)
    store.add_photos(late_photo)
    late_view = built(USERS, event_frame(), late_photo, PERIOD)
    late_view.deliver(event_frame(("e", 3, 7, "view", -3 * DAY, -3 * DAY)))
    for incomplete in (store, late_view):
        with pytest.raises(StateIncomplete, match="materialize the newest day"):
            incomplete.ask(1, T0 + HOUR)
        assert told(incomplete, 2, "posts_30d", HOUR) == [0]


def test_a_photo_that_is_far_from_its_upload_or_known_already_changes_nothing():
    store = built(USERS, event_frame(), photo_frame(7, 1, -DAY), PERIOD)
    before = dict(store)
    store.add_photos(photo_frame(8, 1, -5 * DAY, day=0))
    store.add_photos(photo_frame(7, 2, -DAY))
    assert store == before


def test_moments_outside_of_the_period_are_refused():
    user = UserState()
    assert features_at(user, PERIOD, T0)["logins_1d"] == 0
    assert features_at(user, PERIOD, PERIOD.end)["days_since_joining"] is None
    with pytest.raises(MomentBeforeState, match="begin at 2025-03-01 00:00 UTC"):
        features_at(user, PERIOD, T0 - TICK)
    with pytest.raises(StateTooOld, match="answer until 2025-03-02 12:00 UTC"):
        features_at(user, PERIOD, PERIOD.end + TICK)


@pytest.mark.parametrize("horizon", [timedelta(0), -HOUR, LONGEST_HORIZON + TICK])
def test_a_horizon_that_would_be_wrong_is_refused(horizon):
    with pytest.raises(ValueError, match="must be more than 0"):
        Period(T0, horizon)


def test_a_user_who_joins_later_has_an_age():
    store = built(USERS, event_frame(), NO_PHOTOS, PERIOD)
    store.deliver(event_frame(("e", 9, None, "login", HOUR, HOUR)))
    assert told(store, 9, "days_since_joining", 2 * HOUR) == [None]
    users = pl.DataFrame([(9, T0 + HOUR / 2)], schema=USER_TYPES, orient="row")
    store |= add_users(users, {user_key(9): store[user_key(9)]}, PERIOD)
    assert told(store, 9, "days_since_joining", HOUR, 24 * HOUR, 25 * HOUR) == [0, 0, 1]
    assert told(store, 9, "logins_1d", 2 * HOUR) == [1]
    assert add_users(users, {user_key(9): store[user_key(9)]}, PERIOD) == {}


def test_values_that_were_not_read_are_no_empty_values():
    with pytest.raises(KeyError):
        apply(event_frame(("e", 1, None, "login", HOUR, HOUR)), {}, PERIOD)
    assert apply(event_frame(), {}, PERIOD) == {}


def test_a_user_with_many_steps_has_the_counts_of_the_same_steps_one_by_one():
    rng = random.Random(0)
    steps = sorted(
        (PERIOD.start_us + rng.randrange(10**6)) << 4 | rng.randrange(len(COUNTS)) << 1 | rng.randrange(2)
        for _ in range(5_000)
    )
    user = UserState(counts=[900, 901, 902, 903, 904, 905], steps=array("q", steps))
    for offset in (0, 1, 2, 10**5, steps[2_500] >> 4 & 15, 10**6 - 1, 10**6, 10**7):
        features = features_at(user, PERIOD, T0 + offset * TICK)
        taken = [step for step in steps if step >> 4 < PERIOD.start_us + offset]
        for place, name in enumerate(COUNTS):
            rises = [1 if step & 1 else -1 for step in taken if step >> 1 & 7 == place]
            assert features[name] == 900 + place + sum(rises), (offset, name)


def test_an_event_alone_is_delivered_as_in_a_frame():
    rows = [
        (f"e{number}", 7, photo, kind, at * HOUR, HOUR)
        for number, (photo, kind, at) in enumerate(itertools.product((None, 0, 9), KINDS, (-1, 1, 24, 25, 26)))
    ]
    frame = event_frame(*rows)
    one_by_one = [delivery_of(*row) for row in frame.select(list(EVENT_TYPES)).iter_rows()]
    assert [one for one in one_by_one if one] == deliveries(frame)
    assert 0 < one_by_one.count(None) < len(rows)


def test_many_views_have_the_popularity_of_the_tables():
    for views in (4095, 4096, 10**6 + 7):
        state = UserState(maturing=[])
        state.maturing.append((PERIOD.start_us, 7, views))
        assert features_at(state, PERIOD, T0 + TICK)["mean_popularity_30d"] == popularity(views)
