"""Features of users against a slow reference, hand-worked tables, and the properties that keep the future out."""

from dataclasses import replace
from datetime import date

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import given, settings
from polars.testing import assert_frame_equal
from slow_reference import (
    DAY,
    MICROSECOND,
    START,
    Entity,
    Event,
    Photo,
    entity_frame,
    event_frame,
    features_of,
    photo_frame,
)

from pipeline_assets.features.history import History
from pipeline_assets.features.schemas import UserFeatures
from pipeline_assets.features.user_features import (
    EVENT_LOOKBACK,
    FEATURES,
    LOOKBACK_DAYS,
    PHOTO_LOOKBACK,
    user_features_as_of,
    user_features_for_days,
)

pytestmark = pytest.mark.slow

# Moments a half day apart, give or take a microsecond: windows are whole days, so every boundary is met from both sides.
moments = st.builds(
    lambda half_days, nudge: START + half_days * DAY / 2 + nudge * MICROSECOND,
    st.integers(0, 90),
    st.sampled_from([-1, 0, 0, 1]),
)
user_ids = st.sampled_from([-5, 1, 2, 2**40])
lateness = st.sampled_from([-2, -1, 0, 0, 0, 1, 3, 24, 24 * 9, 24 * 31]).map(lambda hours: hours * DAY / 24)
PHOTO_IDS = range(1, 6)


@st.composite
def events(draw: st.DrawFn) -> Event:
    at = draw(moments)
    kind = draw(st.sampled_from(["login", "view", "like", "post"]))
    photo_id = draw(st.sampled_from([None, *PHOTO_IDS, 99])) if kind in ("view", "like") else None
    # Few ids: they repeat, with other content too.
    return Event(f"e{draw(st.integers(0, 60))}", draw(user_ids), photo_id, kind, at, at + draw(lateness))


@st.composite
def photo_lists(draw: st.DrawFn) -> list[Photo]:
    return [Photo(photo_id, draw(user_ids), draw(moments)) for photo_id in PHOTO_IDS if draw(st.booleans())]


def agreeing(log: list[Event]) -> list[Event]:
    """The same log with one content per id, as a true log has it: deliveries then differ in their arrival alone."""
    first: dict[str, Event] = {}
    return [
        replace(first.setdefault(event.event_id, event), arrived_at=first[event.event_id].at + (event.arrived_at - event.at))
        for event in log
    ]


event_lists = st.lists(events(), max_size=50)
true_logs = event_lists.map(agreeing)
entities = st.lists(st.builds(Entity, user_ids, moments), min_size=1, max_size=6)


def collected(asked: list[Entity], log: list[Event], photos: list[Photo], engine: str = "streaming") -> pl.DataFrame:
    lazy = user_features_as_of(entity_frame(asked), event_frame(log), photo_frame(photos))
    return lazy.collect(engine=engine).sort("row").select("row", *FEATURES)


def expected(asked: list[Entity], log: list[Event], photos: list[Photo]) -> pl.DataFrame:
    rows = [{"row": row} | features_of(entity, log, photos) for row, entity in enumerate(asked)]
    floats = {"mean_popularity_30d": pl.Float32}
    return pl.DataFrame(rows, schema={"row": pl.Int64} | {n: floats.get(n, pl.Int32) for n in FEATURES}, orient="row")


@settings(max_examples=150, deadline=None)
@given(entities, event_lists, photo_lists())
def test_features_are_those_of_two_nested_loops(asked, log, photos):
    assert_frame_equal(collected(asked, log, photos), expected(asked, log, photos), rel_tol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.builds(Entity, user_ids, moments), event_lists, photo_lists(), event_lists, photo_lists())
def test_what_is_known_at_or_after_a_moment_changes_nothing_at_it(entity, log, photos, later, later_photos):
    t = entity.as_of
    future = [event for event in later if event.known_at >= t]
    ids = {photo.photo_id for photo in photos}
    future_photos = [photo for photo in later_photos if photo.posted_at >= t and photo.photo_id not in ids]
    assert_frame_equal(collected([entity], log + future, photos + future_photos), collected([entity], log, photos))


@settings(max_examples=60, deadline=None)
@given(st.builds(Entity, user_ids, moments), true_logs, photo_lists())
def test_what_is_older_than_the_look_back_changes_nothing(entity, log, photos):
    t = entity.as_of
    recent = [event for event in log if event.arrived_at >= t - EVENT_LOOKBACK]
    recent_photos = [photo for photo in photos if photo.posted_at >= t - PHOTO_LOOKBACK]
    assert_frame_equal(collected([entity], recent, recent_photos), collected([entity], log, photos))


@settings(max_examples=30, deadline=None)
@given(entities, event_lists, photo_lists(), st.randoms(use_true_random=False))
def test_neither_order_nor_engine_nor_company_changes_a_row(asked, log, photos, random):
    whole = collected(asked, log, photos)
    alone = [collected([entity], log, photos).drop("row") for entity in asked]
    assert_frame_equal(pl.concat(alone), whole.drop("row"))
    shuffled, shuffled_photos = random.sample(log, len(log)), random.sample(photos, len(photos))
    assert_frame_equal(collected(asked, shuffled, shuffled_photos, engine="in-memory"), whole)


def login(event_id: str, at, late=0 * DAY, user_id: int = 1) -> Event:
    return Event(event_id, user_id, None, "login", at, at + late)


@pytest.mark.parametrize(
    ("at", "late", "counts"),
    [
        (-1 * MICROSECOND, 0 * DAY, [1, 1, 1]),
        (0 * DAY, 0 * DAY, [0, 0, 0]),
        (-1 * DAY, 0 * DAY, [1, 1, 1]),
        (-1 * DAY - MICROSECOND, 0 * DAY, [0, 1, 1]),
        (-7 * DAY, 0 * DAY, [0, 1, 1]),
        (-7 * DAY - MICROSECOND, 0 * DAY, [0, 0, 1]),
        (-30 * DAY, 0 * DAY, [0, 0, 1]),
        (-30 * DAY - MICROSECOND, 0 * DAY, [0, 0, 0]),
        (-1 * DAY, DAY - MICROSECOND, [1, 1, 1]),
        (-1 * DAY, DAY, [0, 0, 0]),
        (-2 * DAY, DAY + MICROSECOND, [0, 1, 1]),
        (-40 * DAY, 39 * DAY, [0, 0, 0]),
    ],
)
def test_a_login_counts_from_after_it_is_known_until_its_window_ends(at, late, counts):
    t = START + 50 * DAY
    row = collected([Entity(1, t)], [login("a", t + at, late)], []).select("logins_1d", "logins_7d", "logins_30d")
    assert list(row.row(0)) == counts


def test_many_events_and_moments_at_one_microsecond_stay_apart():
    t = START + 10 * DAY
    log = [login(f"{n}", t) for n in range(5)] + [login(f"b{n}", t - DAY) for n in range(3)]
    asked = [Entity(1, t), Entity(1, t), Entity(1, t + MICROSECOND), Entity(2, t)]
    assert collected(asked, log, [])["logins_1d"].to_list() == [3, 3, 5, 0]


def test_an_event_delivered_on_two_days_counts_once_from_its_first_arrival():
    t = START + 10 * DAY
    twice = [login("same", t, 2 * DAY), login("same", t, 1 * DAY / 2)]
    asked = [Entity(1, t + DAY / 2), Entity(1, t + DAY / 2 + MICROSECOND), Entity(1, t + 3 * DAY)]
    assert collected(asked, twice, [])["logins_7d"].to_list() == [0, 1, 1]


def test_a_delivery_from_the_future_does_not_unseat_one_already_known():
    t = START + 10 * DAY
    log = [login("same", t - DAY, DAY / 2), login("same", t + DAY / 4, -DAY)]
    assert log[1].arrived_at < log[0].arrived_at
    assert collected([Entity(1, t)], log, [])["logins_7d"].to_list() == [1]


def test_likes_count_on_photos_posted_at_most_37_days_before():
    t = START + 50 * DAY
    photos = [Photo(1, 1, t - PHOTO_LOOKBACK), Photo(2, 1, t - PHOTO_LOOKBACK - MICROSECOND)]
    log = [Event(f"{photo.photo_id}", 2, photo.photo_id, "like", t - DAY, t - DAY) for photo in photos]
    asked = [Entity(1, t), Entity(1, t + MICROSECOND)]
    assert collected(asked, log, photos)["likes_received_30d"].to_list() == [1, 0]


def test_an_event_from_more_than_a_day_after_its_arrival_is_not_believed():
    t = START + 10 * DAY
    log = [login("skewed", t, -1 * DAY), login("absurd", t, -1 * DAY - MICROSECOND)]
    assert collected([Entity(1, t + DAY / 2)], log, [])["logins_1d"].to_list() == [1]


def test_a_hand_worked_history_gives_the_hand_worked_table():
    posted = START + 2 * DAY
    matured = posted + 7 * DAY
    photos = [Photo(7, 1, posted)]
    log = [
        login("l1", START + 8 * DAY),
        Event("p1", 1, 7, "post", posted, posted),
        *(Event(f"v{n}", 2, 7, "view", posted + n * DAY / 2, posted + n * DAY / 2) for n in range(14)),
        Event("late view", 2, 7, "view", posted + DAY, matured),
        Event("after a week", 2, 7, "view", matured, matured),
        Event("k1", 2, 7, "like", posted + DAY, posted + DAY),
        Event("k2", 1, 7, "like", posted + DAY, posted + DAY),
        Event("k3", 2, 8, "like", posted + DAY, posted + DAY),
    ]
    asked = [
        Entity(1, matured, START + DAY / 2),
        Entity(1, matured + MICROSECOND, START + DAY / 2),
        Entity(2, matured, matured + DAY),
        Entity(3, matured, START),
        Entity(1, matured + 30 * DAY, START),
        Entity(1, matured + 30 * DAY + MICROSECOND, START),
    ]
    table = pl.DataFrame(
        [
            [0, 8, 1, 1, 1, 1, 1, 1, None],
            [1, 8, 0, 1, 1, 1, 1, 1, 1.5849625],
            [2, 0, 0, 0, 0, 0, 2, 0, None],
            [3, 9, 0, 0, 0, 0, 0, 0, None],
            [4, 39, 0, 0, 0, 0, 0, 0, 1.5849625],
            [5, 39, 0, 0, 0, 0, 0, 0, None],
        ],
        schema={"row": pl.Int64} | dict.fromkeys(FEATURES[:-1], pl.Int32) | {FEATURES[-1]: pl.Float32},
        orient="row",
    )
    assert_frame_equal(collected(asked, log, photos), table)


@pytest.mark.parametrize("stranger", [Entity(2, START), Entity(1, START + 2 * MICROSECOND), Entity(1, START - MICROSECOND)])
def test_a_history_refuses_users_and_moments_that_it_does_not_know(stranger):
    told = entity_frame([Entity(1, START), Entity(1, START + MICROSECOND)]).collect()
    history = History.of(told, event_frame([]), photo_frame([]))
    assert history.ask(told).height == 2
    with pytest.raises(ValueError, match="does not cover"):
        history.ask(entity_frame([stranger]).collect())


def test_entities_keep_their_own_columns_and_nothing_known_is_an_empty_table():
    asked = entity_frame([Entity(1, START)]).with_columns(photo_id=pl.lit(3), note=pl.lit("kept"))
    row = user_features_as_of(asked, event_frame([]), photo_frame([])).collect(engine="streaming")
    assert row.columns[:6] == ["row", "user_id", "as_of", "joined_at", "photo_id", "note"]
    assert row.select(FEATURES).row(0) == (100, 0, 0, 0, 0, 0, 0, None)
    assert user_features_as_of(asked.clear(), event_frame([]), photo_frame([])).collect(engine="streaming").is_empty()


DAYS = [START.date() + n * DAY for n in range(46)]
joiners = pl.LazyFrame(
    {"user_id": [-5, 1, 2, 2**40], "joined_at": [START - DAY, START, START + DAY, START + 20 * DAY]}
).with_columns(pl.col("joined_at").cast(pl.Datetime("us", "UTC")))


@settings(max_examples=25, deadline=None)
@given(true_logs, photo_lists(), st.sampled_from([None, joiners]))
def test_a_range_gives_what_its_days_give_one_by_one_and_one_user_online(log, photos, users):
    days = DAYS[8::12]
    events, photo_table = event_frame(log), photo_frame(photos)
    whole = user_features_for_days(days, events, photo_table, users).collect(engine="streaming")
    for day in days:
        since = day - LOOKBACK_DAYS * DAY
        loaded = events.filter(pl.col("day").is_between(since, day))
        loaded_photos = photo_table.filter(pl.col("posted_at").dt.date().is_between(since, day))
        alone = user_features_for_days([day], loaded, loaded_photos, users).collect(engine="streaming")
        assert_frame_equal(alone, whole.filter(pl.col("day") == day))
        UserFeatures.validate(alone)
    for row in whole.head(3).iter_rows(named=True):
        joined_at = row["as_of"] - row["days_since_joining"] * DAY
        asked = [Entity(row["user_id"], row["as_of"], joined_at)]
        online = collected(asked, log, photos).drop("row")
        assert_frame_equal(online, pl.DataFrame([row], schema=whole.schema).select(FEATURES))


def test_a_day_holds_the_users_who_had_joined_or_else_who_posted_lately():
    photos = photo_frame([Photo(1, 1, START), Photo(2, 2, START + 3 * DAY)])
    days = [START.date() - DAY, START.date(), START.date() + 36 * DAY, START.date() + 37 * DAY]

    def users_by_day(users: pl.LazyFrame | None) -> dict[date, list[int]]:
        rows = user_features_for_days(days, event_frame([]), photos, users).collect(engine="streaming")
        assert rows["as_of"].to_list() == [START + (day - START.date()) + DAY for day in rows["day"]]
        return {day: rows.filter(pl.col("day") == day)["user_id"].to_list() for day in days}

    assert list(users_by_day(None).values()) == [[], [1], [1, 2], [2]]
    assert list(users_by_day(joiners).values()) == [[-5], [-5, 1], [-5, 1, 2, 2**40], [-5, 1, 2, 2**40]]


def test_the_schema_is_kept_by_a_day_of_a_busy_service():
    log = [login(f"{n}", START + n * DAY / 7, user_id=n % 5) for n in range(300)]
    rows = user_features_for_days([START.date() + 30 * DAY], event_frame(log), photo_frame([]), joiners)
    frame = UserFeatures.validate(rows.collect(engine="streaming"))
    assert frame["user_id"].to_list() == [-5, 1, 2, 2**40]
    assert frame["logins_7d"].to_list() == [0, 10, 9, 0]
