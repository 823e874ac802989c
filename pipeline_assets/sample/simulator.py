"""A simulator of users, posts and logs with a known truth, so that the best reachable score is known too.

`truth` has the formula: views follow from the photo's appeal, its hour, and its owner's followers and recent logins.
The truth frame has the expected views m and log2(m / 7 + 1), to compare with the label log2(views / 7 + 1).

Of views, LIKE_SHARE become likes within two minutes; a few are followed by feedback (`feedback`). Nobody views their own
photo. Viewers are drawn by activity.
Logs arrive within seconds or minutes, about 1% hours late and 0.1% a day or two late. From the middle of the photos'
days on, newer apps add a field to their log lines: `app_version`, null before that and for users on the old app.

Everything is a function of the arguments, and `until` only cuts: a later one adds events and changes none
(up to LIFE_DAYS after the last day; beyond it, logins are drawn again).
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl

from pipeline_assets.features.popularity import popularity
from pipeline_assets.sample import population as pop
from pipeline_assets.sample.annotators import subject_of
from pipeline_assets.sample.feedback import feedback
from pipeline_assets.sample.population import DAY_US, SECOND_US, UTC_TIME, Floats, Ints, Population
from pipeline_assets.sample.posts import details, locations, safe_names, titles
from pipeline_assets.sample.truth import LIFE_DAYS, expected_views, views

LIKE_SHARE = 0.08
HISTORY_DAYS = 30
"""Logins start this many days before the first day, so that its users have a history."""
BURST = 4
"""Number of consecutive uploads that share a day, so that near-duplicates of a burst are in one partition."""

_KINDS = ["login", "post", "view", "like"]


@dataclass(frozen=True)
class Simulation:
    """The frames, each with unique first columns (`user_id`, `photo_id`, `event_id`, `photo_id`).

    users: user_id, joined_at, name, followers (as of `until`; what counted is `details.followers` of each photo).
    photos, in the order of the uploads: photo_id, user_id, day, key, posted_at, title, location, details (JSON).
    events, by arrival: event_id, user_id (who acted), photo_id, kind, at, arrived_at, app_version, label, not_label.
    truth: photo_id, expected_views_7d, expected_popularity.
    """

    users: pl.DataFrame
    photos: pl.DataFrame
    events: pl.DataFrame
    truth: pl.DataFrame


@dataclass(frozen=True)
class _Posts:
    """Photos as arrays, one element per photo; owner is a position in the population, times are microseconds."""

    owner: Ints
    day: Ints
    posted_us: Ints
    followers: Ints
    expected_views: Floats


def simulate(uploads: pl.DataFrame, *, first_day: date, days: int, until: date, users: int, seed: int) -> Simulation:
    """Simulate a service whose users post these uploads over `days` days from `first_day`.

    uploads: name (String), appeal (Float64, nullable), one row per file, in order; see `BURST`.
    until: logs end before this UTC midnight. About 130 events per photo.
    Raises ValueError for fewer than 2 users, 1 day, or an appeal that is not finite.
    """
    appeal = _checked_appeal(uploads, days, users)
    first_us = _midnight_us(first_day)
    # One stream per concern: a change of titles does not affect views.
    streams = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(7)]
    people = pop.people(users, first_us, streams[0])
    horizon_days = max(days + LIFE_DAYS, (until - first_day).days)
    logins = pop.logins(people, first_us - HISTORY_DAYS * DAY_US, HISTORY_DAYS + horizon_days, streams[1])
    posts = _posts(appeal, people, logins, first_us, days, streams[2])
    photos = _photos_frame(uploads["name"].to_list(), posts, people, first_day, streams[3])
    events = _events_frame(posts, people, logins, first_us + days // 2 * DAY_US, streams[4])
    subjects = [subject_of(name) for name in uploads["name"]]
    events = _with_feedback(events, subjects, people, streams[6])
    run = hashlib.sha256(f"{seed} {first_day} {days} {users} {photos['key'].to_list()}".encode()).hexdigest()[:8]
    expected = pl.Series("expected_views_7d", posts.expected_views)
    return Simulation(
        users=pop.users_frame(people, max((until - first_day).days, 0), streams[5]),
        photos=photos,
        events=events.with_columns(event_id=pl.format("{}-{}", pl.lit(run), "event_id"))
        .filter(pl.col("arrived_at") < pl.lit(_midnight(until)))
        .sort("arrived_at", "event_id"),
        truth=pl.DataFrame([photos["photo_id"], expected]).with_columns(
            expected_popularity=popularity(pl.col("expected_views_7d"))
        ),
    )


def _checked_appeal(uploads: pl.DataFrame, days: int, users: int) -> Floats:
    if days < 1 or users < 2:
        raise ValueError(f"a simulation needs at least 1 day and 2 users, not {days} and {users}")
    appeal = uploads["appeal"].cast(pl.Float64).fill_null(0.0).to_numpy()
    if not np.isfinite(appeal).all():
        raise ValueError("an appeal is not finite: use null for a file that does not decode")
    return np.clip(appeal, -3, 3)


def _posts(
    appeal: Floats, people: Population, logins: tuple[Ints, Ints], first_us: int, days: int, rng: np.random.Generator
) -> _Posts:
    count = len(appeal)
    bursts = -(-count // BURST)
    # Shuffled: every day gets its share, and no day a whole folder.
    burst_day = rng.permutation(bursts) * days // max(bursts, 1)
    day = np.repeat(burst_day, BURST)[:count].astype(np.int64)
    weight = np.sqrt(people.activity)
    owner = rng.choice(len(weight), size=count, p=weight / weight.sum()).astype(np.int64)
    posted_us = first_us + day * DAY_US + pop.times_of_day(count, rng)
    followers = people.followers_at(owner, (posted_us - first_us) / DAY_US)
    recent = pop.logins_before(*logins, owner, posted_us, 7 * DAY_US)
    hour = posted_us % DAY_US // (3600 * SECOND_US)
    return _Posts(owner, day, posted_us, followers, expected_views(appeal, hour, followers, recent))


def _photos_frame(
    names: list[str], posts: _Posts, people: Population, first_day: date, rng: np.random.Generator
) -> pl.DataFrame:
    count = len(names)
    owners = people.user_id[posts.owner]
    days = [first_day + timedelta(days=int(day)) for day in posts.day]
    keys = [f"uploads/{day}/{owner}/{name}" for day, owner, name in zip(days, owners, safe_names(names), strict=True)]
    return pl.DataFrame(
        {
            "photo_id": np.arange(1, count + 1),
            "user_id": owners,
            "day": pl.Series(days, dtype=pl.Date),
            "key": pl.Series(keys, dtype=pl.String),
            "posted_at": pl.Series(posts.posted_us).cast(UTC_TIME),
            "title": pl.Series(titles(count, rng), dtype=pl.String),
            "location": pl.Series(locations(count, rng), dtype=pl.String),
            "details": pl.Series(details(posts.followers.tolist(), rng), dtype=pl.String),
        }
    )


def _events_frame(
    posts: _Posts, people: Population, logins: tuple[Ints, Ints], drift_us: int, rng: np.random.Generator
) -> pl.DataFrame:
    """Every event of the whole life of every photo, whenever it arrives; `event_id` is a number here."""
    login_user, login_us = logins
    photo, viewer, view_us = _views(posts, people, rng)
    liked = rng.random(len(photo)) < LIKE_SHARE
    like_us = view_us[liked] + rng.integers(SECOND_US, 120 * SECOND_US, int(liked.sum()))
    none = np.full(len(login_user), -1)
    user = np.concatenate([login_user, posts.owner, viewer, viewer[liked]])
    at = np.concatenate([login_us, posts.posted_us, view_us, like_us])
    sizes = [len(login_user), len(posts.owner), len(photo), len(like_us)]
    arrived = at + _delays(len(at), rng)
    updated = (rng.random(len(people.user_id)) < 0.7)[user] & (arrived >= drift_us)
    version = np.where(arrived < drift_us + 7 * DAY_US, "4.1.0", "4.2.0")
    return pl.DataFrame(
        {
            "event_id": pl.int_range(len(at), eager=True).cast(pl.String).str.zfill(9),
            "user_id": people.user_id[user],
            "photo_id": np.concatenate([none, np.arange(len(posts.owner)), photo, photo[liked]]) + 1,
            "kind": pl.Series(np.repeat(np.arange(4), sizes)).replace_strict(list(range(4)), _KINDS, return_dtype=pl.String),
            "at": pl.Series(at).cast(UTC_TIME),
            "arrived_at": pl.Series(arrived).cast(UTC_TIME),
            "app_version": pl.Series(version, dtype=pl.String),
        }
    ).with_columns(
        photo_id=pl.when(pl.col("photo_id") > 0).then("photo_id"),
        app_version=pl.when(pl.Series(updated)).then("app_version"),
    )


def _with_feedback(
    events: pl.DataFrame, subjects: list[str | None], people: Population, rng: np.random.Generator
) -> pl.DataFrame:
    """The events and, after them, the feedback on views, which no app version is known of."""
    views = events.filter(kind="view").select("user_id", "photo_id", "at")
    said = feedback(views, subjects, people.user_id, rng)
    numbers = pl.int_range(events.height, events.height + said.height, eager=True).cast(pl.String).str.zfill(9)
    delays = pl.Series(_delays(said.height, rng)).cast(pl.Duration("us"))
    return pl.concat([events, said.with_columns(event_id=numbers, arrived_at=pl.col("at") + delays)], how="diagonal")


def _views(posts: _Posts, people: Population, rng: np.random.Generator) -> tuple[Ints, Ints, Ints]:
    """Views as (photo position, viewer position, time)."""
    photo, at = views(posts.expected_views, posts.posted_us, rng)
    users = len(people.user_id)
    viewer = rng.choice(users, size=len(photo), p=people.activity / people.activity.sum())
    someone_else = (posts.owner[photo] + rng.integers(1, users, len(photo))) % users
    return photo, np.where(viewer == posts.owner[photo], someone_else, viewer), at


def _delays(count: int, rng: np.random.Generator) -> Ints:
    """Microseconds from an event to its arrival: mostly under some minutes, 1% by hours, 0.1% by one or two days."""
    usual_s = 1 + rng.exponential(40, count)
    hours_s, days_s = rng.uniform(1, 12, count) * 3600, rng.uniform(1, 2, count) * 86_400
    draw = rng.random(count)
    late_s = np.where(draw < 0.001, days_s, np.where(draw < 0.011, hours_s, usual_s))
    return (late_s * SECOND_US).astype(np.int64)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _midnight_us(day: date) -> int:
    return (day - date(1970, 1, 1)).days * DAY_US
