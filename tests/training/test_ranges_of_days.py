"""A run over a range of days gives what runs over its parts give, whatever the log lacks and whenever photos were posted."""

from datetime import date, timedelta

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import example, given, settings
from polars.testing import assert_frame_equal
from test_training_table import D0, DAY, HOUR, START, World, classes, event, photo, styles, table_of, upload

from pipeline_assets.features.user_features import LOOKBACK_DAYS, user_features_for_days
from pipeline_assets.ingestion.schemas import EventLog, PhotoMetadata
from pipeline_assets.training.observation import DAYS_AFTER, DAYS_BEFORE, Observation

SPAN = 12
PHOTOS = 10
RANGE = [D0 + n * DAY for n in range(SPAN)]

places = st.tuples(st.integers(-45, SPAN - 1), st.sampled_from([0, 5, 12, 23, 24, 30, 47, 48, 100, -1, -24, -25, -60 * 24]))
"""Of a photo: its day of upload, and hours from that day's beginning to its posting."""
logged = st.tuples(
    st.sampled_from(["login", "view", "view", "view", "like", "like", "post"]),
    st.integers(1, PHOTOS),
    st.sampled_from([1, 2, 3]),
    st.integers(0, 9 * 24),
    st.sampled_from([0, 1, 30, 24 * 9]),
)
"""Of an event: what, of which photo, by whom, hours after the photo's posting, hours until it arrived."""
holes = st.frozensets(st.integers(-45, SPAN + 10), max_size=4)
cuts = st.frozensets(st.integers(1, SPAN - 1), max_size=4)


def world_of(postings: list[tuple[int, int]], log: list[tuple[str, int, int, int, int]]) -> World:
    """A world with a photo for each place; of the log what arrives by the days that any run reads."""
    photos = [
        photo(n, day=D0 + day * DAY, posted_at=START + day * DAY + hours * HOUR, user_id=n % 3 + 1)
        for n, (day, hours) in enumerate(postings, start=1)
    ]
    days = {row["photo_id"]: row["day"] for row in photos}
    events = [
        event(f"e{number}", kind, photos[of - 1]["posted_at"] + after * HOUR, of, by, late * HOUR)
        for number, (kind, of, by, after, late) in enumerate(log)
    ]
    return World(
        photos=photos,
        uploads=[upload(n, day=day) for n, day in days.items()],
        classified=[classes(n, day=day) for n, day in days.items()],
        styled=[styles(n, day=day) for n, day in days.items()],
        events=events,
    )


def within(rows: list[dict[str, object]], first: date, last: date) -> list[dict[str, object]]:
    return [row for row in rows if first <= row["day"] <= last]


def run_over(world: World, days: list[date], observed: Observation) -> pl.DataFrame:
    """What a run over these days computes: it reads their windows and nothing else."""
    first, last = days[0], days[-1]
    read = World(
        photos=within(world.photos, first - DAYS_BEFORE * DAY, last),
        uploads=within(world.uploads, first, last),
        classified=within(world.classified, first, last),
        styled=within(world.styled, first, last),
        events=within(world.events, first - DAYS_BEFORE * DAY, last + DAYS_AFTER * DAY),
    )
    known = Observation.of(day for day in observed.complete if first - DAYS_BEFORE * DAY <= day <= last + DAYS_AFTER * DAY)
    return read.rows(days, known)


def parts(at: frozenset[int]) -> list[list[date]]:
    ends = [*sorted(at), SPAN]
    return [RANGE[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def others(*few: tuple[int, int]) -> list[tuple[int, int]]:
    """Places of all photos: these, which are of users 2, 3, 1, 2 ..., and others at noon."""
    return [*few, *[(0, 12)] * (PHOTOS - len(few))]


LIKED = [("like", 1, 3, 0, 0)]
"""The first photo is liked as soon as it is posted, by another than its owner, who has the fourth too."""
SPLIT_AFTER_THE_FIRST = frozenset({1})


@pytest.mark.slow
@example(others((-45, 45 * 24 - 1), (0, 0), (0, 0), (0, 12)), LIKED, frozenset(), SPLIT_AFTER_THE_FIRST)
@example(others((1, 0), (0, 0), (0, 0), (0, 30)), LIKED, frozenset(), SPLIT_AFTER_THE_FIRST)
@example(others((1, -2), (0, 0), (0, 0), (0, 23)), LIKED, frozenset(), SPLIT_AFTER_THE_FIRST)
@settings(max_examples=40)
@given(st.lists(places, min_size=PHOTOS, max_size=PHOTOS), st.lists(logged, max_size=40), holes, cuts)
def test_a_range_gives_bit_for_bit_what_any_split_of_it_into_runs_gives(postings, log, missing, at):
    world = world_of(postings, log)
    observed = Observation.of(D0 + n * DAY for n in range(-60, SPAN + 11) if n not in missing)
    whole = run_over(world, RANGE, observed)
    split = pl.concat([run_over(world, days, observed) for days in parts(at)])
    assert_frame_equal(split, whole, check_exact=True)
    everything = world.rows(RANGE, observed)  # nor does it matter what else is there
    assert_frame_equal(everything, whole, check_exact=True)


@pytest.mark.slow
@settings(max_examples=30)
@given(st.lists(places, min_size=PHOTOS, max_size=PHOTOS), st.lists(logged, max_size=40), cuts)
def test_users_at_the_ends_of_days_are_the_same_in_any_split_into_runs(postings, log, at):
    world = world_of(postings, log)
    users = pl.LazyFrame({"user_id": [1, 2, 3]}).with_columns(joined_at=pl.lit(START - 90 * DAY))

    def run(days: list[date]) -> pl.DataFrame:
        first, last = days[0] - timedelta(days=LOOKBACK_DAYS), days[-1]
        events, photos = within(world.events, first, last), within(world.photos, first, last)
        found = user_features_for_days(days, table_of(EventLog, events), table_of(PhotoMetadata, photos), users)
        return found.collect(engine="streaming")

    assert_frame_equal(pl.concat([run(days) for days in parts(at)]), run(RANGE), check_exact=True)


@pytest.mark.slow
@settings(max_examples=30)
@given(st.lists(places, min_size=PHOTOS, max_size=PHOTOS), st.lists(logged, max_size=60))
def test_a_label_is_the_number_of_views_that_the_whole_log_has_or_there_is_none(postings, log):
    world = world_of(postings, log)
    found = run_over(world, RANGE, Observation.of(D0 + n * DAY for n in range(-60, SPAN + 11)))
    views = {row["photo_id"]: 0 for row in world.photos}
    posted = {row["photo_id"]: row["posted_at"] for row in world.photos}
    for row in world.events:
        at, arrived, start = row["at"], row["arrived_at"], posted[row["photo_id"]]
        if row["kind"] == "view" and start <= at < start + 7 * DAY and arrived < start + 8 * DAY:
            views[row["photo_id"]] += 1
    assert found.select("photo_id", "views_7d").rows() == [(n, views[n]) for n in found["photo_id"]]


def test_a_photo_whose_key_is_of_another_day_is_the_same_in_a_range_and_alone_and_costs_its_day_nothing():
    upload_of = {1: D0, 2: D0 + DAY, 3: D0 + DAY}
    world = World(
        photos=[photo(1), photo(2), photo(3, day=D0 + DAY, posted_at=START + DAY)],
        uploads=[upload(n, day=day) for n, day in upload_of.items()],
        classified=[classes(n, day=day) for n, day in upload_of.items()],
        styled=[styles(n, day=day) for n, day in upload_of.items()],
    )
    days = [D0, D0 + DAY]
    observed = Observation.of([])
    alone = pl.concat([run_over(world, [day], observed) for day in days])
    assert_frame_equal(run_over(world, days, observed), alone)
    assert alone["photo_id"].to_list() == [1, 3]
    assert world.counts(days, observed).select("photos", "not_uploaded", "rows").rows() == [(2, 1, 1), (1, 0, 1)]
