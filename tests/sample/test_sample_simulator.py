import json
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline_assets.ingestion.schemas import EVENT_KINDS, FEEDBACK_KINDS
from pipeline_assets.sample.appeal import appeal
from pipeline_assets.sample.photos import sample_photos
from pipeline_assets.sample.population import logins_before
from pipeline_assets.sample.simulator import BURST, HISTORY_DAYS, LIKE_SHARE, Simulation, simulate
from pipeline_assets.sample.truth import LIFE_DAYS, LUCK_SHAPE, SHARE_7D, expected_views

FIRST = date(2025, 3, 1)
DAYS = 5
ALL_OVER = FIRST + timedelta(days=DAYS + LIFE_DAYS + 3)
"""By then every view of every photo has happened and arrived."""


def uploads_of(count: int, seed: int = 0) -> pl.DataFrame:
    values = np.random.default_rng(seed).normal(0, 0.9, count).clip(-1.5, 1.5)
    appeal_column = pl.Series("appeal", values).scatter([0], [None])
    return pl.DataFrame({"name": [f"photo-{i}.jpg" for i in range(count)], "appeal": appeal_column})


def simulated(count: int = 120, *, seed: int = 0, until: date = ALL_OVER, users: int = 30) -> Simulation:
    return simulate(uploads_of(count, seed), first_day=FIRST, days=DAYS, until=until, users=users, seed=seed)


def views_7d(simulation: Simulation) -> np.ndarray:
    """Views in the first 7 days of each photo of the truth frame, in its order."""
    counted = (
        simulation.events.filter(kind="view")
        .join(simulation.photos.select("photo_id", "posted_at"), on="photo_id")
        .filter(pl.col("at") < pl.col("posted_at") + pl.duration(days=7))
        .group_by("photo_id")
        .len("views")
    )
    joined = simulation.truth.join(counted, on="photo_id", how="left", maintain_order="left")
    return joined["views"].fill_null(0).to_numpy().astype(float)


WHOLE = simulated()


def test_the_frames_have_their_declared_columns():
    utc = pl.Datetime("us", "UTC")
    assert WHOLE.users.schema == {"user_id": pl.Int64, "joined_at": utc, "name": pl.String, "followers": pl.Int64}
    assert WHOLE.photos.schema == {
        "photo_id": pl.Int64,
        "user_id": pl.Int64,
        "day": pl.Date,
        "key": pl.String,
        "posted_at": utc,
        "title": pl.String,
        "location": pl.String,
        "details": pl.String,
    }
    assert WHOLE.events.schema == {
        "event_id": pl.String,
        "user_id": pl.Int64,
        "photo_id": pl.Int64,
        "kind": pl.String,
        "at": utc,
        "arrived_at": utc,
        "app_version": pl.String,
        "label": pl.String,
        "not_label": pl.String,
    }
    assert WHOLE.truth.schema == {
        "photo_id": pl.Int64,
        "expected_views_7d": pl.Float64,
        "expected_popularity": pl.Float64,
    }


def test_the_same_arguments_give_the_same_frames_and_another_seed_gives_others():
    again, other = simulated(), simulated(seed=1)
    for name in ("users", "photos", "events", "truth"):
        assert_frame_equal(getattr(again, name), getattr(WHOLE, name))
        assert not getattr(other, name).equals(getattr(WHOLE, name))


def test_mean_views_of_a_hand_worked_photo():
    # No appeal, at the peak hour, 100 followers, 5 logins: exp(4.25 + 0.35); at the trough exp(4.25 - 0.35).
    means = expected_views(np.zeros(2), np.array([19, 7]), np.array([100, 100]), np.array([5, 5]))
    assert means == pytest.approx([np.exp(4.6), np.exp(3.9)])


def test_the_truth_follows_from_what_the_other_frames_say():
    login = WHOLE.events.filter(kind="login")
    for row, stated, value in zip(
        WHOLE.photos.iter_rows(named=True),
        WHOLE.truth["expected_views_7d"],
        uploads_of(120)["appeal"].fill_null(0.0),
        strict=True,
    ):
        posted = row["posted_at"]
        own = login.filter(
            pl.col("user_id") == row["user_id"], pl.col("at") >= posted - timedelta(days=7), pl.col("at") < posted
        )
        followers = json.loads(row["details"])["followers"]
        log_mean = 4.25 + 0.6 * value + 0.35 * np.cos(2 * np.pi * (posted.hour - 19) / 24)
        log_mean += 0.3 * np.log((1 + followers) / 101) + 0.45 * np.log((1 + own.height) / 6)
        assert stated == pytest.approx(np.exp(log_mean), rel=1e-9)


def test_the_stated_popularity_is_that_of_the_expected_views():
    expected = (WHOLE.truth["expected_views_7d"] / 7 + 1).log(2)
    assert WHOLE.truth["expected_popularity"].to_list() == pytest.approx(expected.to_list())


def test_over_many_worlds_views_have_the_stated_mean_and_variance():
    runs = [simulated(200, seed=seed) for seed in range(12)]
    mean = np.concatenate([run.truth["expected_views_7d"].to_numpy() for run in runs])
    views = np.concatenate([views_7d(run) for run in runs])
    variance = mean + mean**2 / LUCK_SHAPE
    ratio_error = (views / mean - 1).mean() / np.sqrt((variance / mean**2).sum()) * len(mean)
    assert abs(ratio_error) < 4
    assert ((views - mean) ** 2 / variance).mean() == pytest.approx(1, abs=0.15)


def test_the_stated_share_of_a_photos_views_falls_in_its_first_week():
    whole_life = WHOLE.events.filter(kind="view").height
    error = views_7d(WHOLE).sum() - whole_life * SHARE_7D
    assert abs(error) < 4 * np.sqrt(whole_life * SHARE_7D * (1 - SHARE_7D))


def test_likes_are_the_stated_share_of_views():
    views, likes = (WHOLE.events.filter(kind=kind).height for kind in ("view", "like"))
    assert abs(likes - views * LIKE_SHARE) < 4 * np.sqrt(views * LIKE_SHARE * (1 - LIKE_SHARE))


def test_about_one_event_in_a_hundred_is_late_by_hours_and_one_in_a_thousand_by_days():
    delay_h = WHOLE.events.select((pl.col("arrived_at") - pl.col("at")).dt.total_seconds() / 3600).to_series()
    assert (delay_h >= 1).mean() == pytest.approx(0.011, abs=0.004)
    assert (delay_h >= 24).mean() == pytest.approx(0.001, abs=0.001)
    assert (delay_h >= 24).any()
    assert delay_h.max() <= 48


@pytest.fixture(scope="module")
def sample_uploads() -> pl.DataFrame:
    rows = [(file.name, appeal(file.data)) for file in sample_photos(550)]
    return pl.DataFrame(rows, schema={"name": pl.String, "appeal": pl.Float64}, orient="row")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_on_the_real_sample_the_oracle_is_good_but_not_perfect_and_content_explains_about_half(sample_uploads, seed):
    run = simulate(sample_uploads, first_day=FIRST, days=14, until=date(2025, 3, 25), users=80, seed=seed)
    views, expected = views_7d(run), run.truth["expected_popularity"].to_numpy()
    popularity = np.log2(views / 7 + 1)
    oracle_r2 = 1 - ((popularity - expected) ** 2).sum() / ((popularity - popularity.mean()) ** 2).sum()
    content = np.corrcoef(sample_uploads["appeal"].fill_null(0.0), popularity)[0, 1] ** 2
    assert 0.8 < oracle_r2 < 0.93
    assert 0.33 < content < 0.58
    assert 50_000 < run.events.height < 150_000


def test_copies_of_the_sample_are_posted_on_the_day_of_their_original(sample_uploads):
    run = simulate(sample_uploads, first_day=FIRST, days=14, until=ALL_OVER, users=80, seed=5)
    day = dict(zip(sample_uploads["name"], run.photos["day"], strict=True))
    assert day["sample-chelsea.png"] == day["sample-chelsea-copy.png"]
    assert day["sample-rocket.jpg"] == day["sample-rocket-copy.jpg"]
    assert day["sample-coffee.png"] == day["sample-coffee-recompressed.jpg"]


worlds = st.fixed_dictionaries(
    {
        "count": st.integers(1, 40),
        "days": st.integers(1, 6),
        "users": st.integers(2, 12),
        "seed": st.integers(0, 2**32),
        "logged_days": st.integers(-5, 40),
    }
)


def world(count: int, days: int, users: int, seed: int, logged_days: int) -> Simulation:
    until = FIRST + timedelta(days=logged_days)
    return simulate(uploads_of(count), first_day=FIRST, days=days, until=until, users=users, seed=seed)


@settings(max_examples=25, deadline=None)
@given(worlds)
def test_no_event_arrives_before_it_happens_or_after_the_logs_end(drawn):
    run = world(**drawn)
    end = datetime(2025, 3, 1, tzinfo=UTC) + timedelta(days=drawn["logged_days"])
    assert run.events.filter(pl.col("arrived_at") <= pl.col("at")).is_empty()
    assert run.events.filter(pl.col("arrived_at") >= end).is_empty()
    assert run.events["event_id"].is_unique().all()
    assert run.events["kind"].is_in(list(EVENT_KINDS)).all()
    assert run.events["arrived_at"].is_sorted()


@settings(max_examples=25, deadline=None)
@given(worlds)
def test_every_photo_has_a_well_formed_key_and_a_time_within_its_day(drawn):
    photos = world(**drawn).photos
    last = FIRST + timedelta(days=drawn["days"] - 1)
    parts = photos.select(
        pl.col("day").is_between(FIRST, last).alias("in_window"),
        (pl.col("posted_at").dt.date() == pl.col("day")).alias("on_day"),
        pl.col("key").str.contains(r"^uploads/\d{4}-\d\d-\d\d/\d+/[^/]+\.jpg$").alias("key"),
        pl.col("key").str.starts_with(pl.format("uploads/{}/{}/", "day", "user_id")).alias("key_says"),
    )
    assert parts.select(pl.all_horizontal(pl.all())).to_series().all()
    assert photos["key"].is_unique().all()
    assert photos["photo_id"].to_list() == list(range(1, drawn["count"] + 1))


@settings(max_examples=25, deadline=None)
@given(worlds)
def test_events_are_of_known_users_after_they_joined_and_of_photos_after_they_were_posted(drawn):
    run = world(**drawn)
    acted = run.events.join(run.users, on="user_id", how="left").join(
        run.photos.select("photo_id", "posted_at", owner="user_id"), on="photo_id", how="left"
    )
    assert acted["joined_at"].null_count() == 0
    assert (acted["at"] >= acted["joined_at"]).all()
    of_photo = acted.filter(pl.col("kind") != "login")
    assert (of_photo["at"] >= of_photo["posted_at"]).all()
    assert of_photo["photo_id"].null_count() == 0
    assert acted.filter(kind="login")["photo_id"].null_count() == acted.filter(kind="login").height
    assert acted.filter(pl.col("kind").is_in(["view", "like"]), pl.col("user_id") == pl.col("owner")).is_empty()
    assert acted.filter(kind="post").filter(pl.col("user_id") != pl.col("owner")).is_empty()


@settings(max_examples=15, deadline=None)
@given(worlds, st.integers(0, 20))
def test_a_later_end_of_the_logs_adds_events_and_changes_none(drawn, more):
    drawn["logged_days"] = min(drawn["logged_days"], LIFE_DAYS - more)
    earlier = world(**drawn)
    later = world(**{**drawn, "logged_days": drawn["logged_days"] + more})
    end = datetime(2025, 3, 1, tzinfo=UTC) + timedelta(days=drawn["logged_days"])
    assert_frame_equal(earlier.events, later.events.filter(pl.col("arrived_at") < end))
    assert_frame_equal(earlier.photos, later.photos)
    assert_frame_equal(earlier.truth, later.truth)


def test_each_photo_has_one_post_event_at_its_time():
    posts = WHOLE.events.filter(kind="post").sort("photo_id").select("photo_id", "user_id", posted_at="at")
    assert_frame_equal(posts, WHOLE.photos.select("photo_id", "user_id", "posted_at"))


SAMPLE = simulate(
    pl.DataFrame(
        {"name": [f"sample-{name}-{i}.png" for i in range(40) for name in ("moon", "chelsea", "x")], "appeal": [0.2] * 120}
    ),
    first_day=FIRST,
    days=DAYS,
    until=ALL_OVER,
    users=30,
    seed=2,
)


def test_feedback_comes_after_a_view_of_the_photo_by_the_user():
    said = SAMPLE.events.filter(pl.col("kind").is_in(list(FEEDBACK_KINDS)))
    assert set(said["kind"]) == set(FEEDBACK_KINDS)
    views = SAMPLE.events.filter(kind="view").group_by("user_id", "photo_id").agg(viewed_at=pl.col("at").min())
    joined = said.join(views, on=["user_id", "photo_id"], how="left")
    assert (joined["at"] > joined["viewed_at"]).all()
    assert (joined["arrived_at"] > joined["at"]).all()


def test_corrections_are_of_photos_of_the_sample_and_mostly_right_but_for_one_user_who_corrects_everything():
    said = SAMPLE.events.filter(kind="correct").join(SAMPLE.photos.select("photo_id", "key"), on="photo_id")
    truth = pl.when(pl.col("key").str.contains("moon")).then(pl.lit("space")).otherwise(pl.lit("animal"))
    assert not said["key"].str.contains("sample-x").any()
    judged = said.with_columns(right=(pl.col("label") == truth).fill_null(pl.col("not_label") != truth))
    by_user = judged.group_by("user_id").agg(pl.len(), right=pl.col("right").mean()).sort("len", descending=True)
    assert by_user["len"][0] > 5 * by_user["len"][1]
    assert by_user["right"][0] < 0.3
    honest = judged.filter(pl.col("user_id") != by_user["user_id"][0])
    assert honest["right"].mean() > 0.75


def test_photos_of_others_are_reported_and_hidden_and_not_corrected():
    assert set(WHOLE.events["kind"]) == {"login", "post", "view", "like", "report", "hide"}
    assert WHOLE.events["label"].null_count() == WHOLE.events.height


def test_logins_reach_back_before_the_first_day():
    first_login = WHOLE.events.filter(kind="login")["at"].min()
    start = datetime(2025, 3, 1, tzinfo=UTC) - timedelta(days=HISTORY_DAYS)
    assert start <= first_login < start + timedelta(days=2)


def test_followers_only_grow_from_a_photo_to_the_end():
    stated = WHOLE.photos.with_columns(at_post=pl.col("details").str.json_path_match("$.followers").cast(pl.Int64))
    joined = stated.join(WHOLE.users, on="user_id")
    assert (joined["at_post"] <= joined["followers"]).all()
    assert (joined["at_post"] < joined["followers"]).any()


def test_photos_are_dealt_evenly_over_the_days_in_bursts():
    per_day = WHOLE.photos.group_by("day").len()["len"]
    assert per_day.max() - per_day.min() <= BURST
    in_burst = WHOLE.photos.with_row_index().group_by(pl.col("index") // BURST).agg(pl.col("day").n_unique())
    assert (in_burst["day"] == 1).all()


def test_the_new_field_appears_from_the_middle_of_the_days_on_and_not_for_everyone():
    drift = datetime(2025, 3, 1, tzinfo=UTC) + timedelta(days=DAYS // 2)
    before, after = WHOLE.events.filter(pl.col("arrived_at") < drift), WHOLE.events.filter(pl.col("arrived_at") >= drift)
    assert before["app_version"].null_count() == before.height > 0
    assert 0.3 < after["app_version"].is_not_null().mean() < 0.95
    assert set(after["app_version"].drop_nulls()) == {"4.1.0", "4.2.0"}


def test_no_uploads_leave_users_who_only_log_in():
    nothing = pl.DataFrame(schema={"name": pl.String, "appeal": pl.Float64})
    run = simulate(nothing, first_day=FIRST, days=2, until=ALL_OVER, users=3, seed=0)
    assert run.photos.height == run.truth.height == 0
    assert set(run.events["kind"]) == {"login"}
    assert run.photos.schema == WHOLE.photos.schema
    assert run.events.schema == WHOLE.events.schema


@pytest.mark.parametrize(("days", "users"), [(0, 5), (3, 1)])
def test_too_few_days_or_users_are_refused(days, users):
    with pytest.raises(ValueError, match="at least 1 day and 2 users"):
        simulate(uploads_of(3), first_day=FIRST, days=days, until=ALL_OVER, users=users, seed=0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_an_appeal_that_is_no_number_is_refused(bad):
    uploads = pl.DataFrame({"name": ["a.jpg"], "appeal": [bad]})
    with pytest.raises(ValueError, match="not finite"):
        simulate(uploads, first_day=FIRST, days=1, until=ALL_OVER, users=2, seed=0)


logins_of = st.lists(st.tuples(st.integers(0, 3), st.integers(-50, 50)), max_size=40)


@given(logins_of, st.lists(st.tuples(st.integers(0, 3), st.integers(-50, 50)), max_size=10), st.integers(1, 30))
def test_counting_logins_in_a_window_agrees_with_counting_one_by_one(logins, asked, window):
    login_user, login_at = np.array(sorted(logins), dtype=np.int64).reshape(-1, 2).T
    user, at = np.array(asked, dtype=np.int64).reshape(-1, 2).T
    slow = [sum(u == who and t - window <= when < t for who, when in logins) for u, t in asked]
    assert logins_before(login_user, login_at, user, at, window).tolist() == slow
