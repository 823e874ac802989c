"""The simulated users, their activity and their logins. No photos and no views here.

Activity is a user's constant, log-normal rate of logins per day, so that past logins predict later ones, which makes them a
useful feature. Everything is drawn from generators that are passed in.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
FIRST_USER_ID = 1001
NEWCOMER_SHARE = 0.15
"""Users who joined in the last 30 days before the first day; the others joined up to 900 days earlier."""

_HOURS = [9, 6, 4, 3, 3, 5, 12, 22, 30, 28, 26, 28, 34, 32, 28, 26, 28, 36, 48, 58, 62, 54, 36, 18]
HOUR_SHARE: Floats = np.array(_HOURS) / sum(_HOURS)
"""Share of a day's logins and posts in each UTC hour: low at night, a noon bump, a peak at 20:00."""

_SYLLABLES = ["ba", "be", "do", "fi", "ga", "ka", "lu", "ma", "mi", "no", "pa", "ri", "ro", "sa", "shi", "ta", "zu"]
UTC_TIME = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class Population:
    """Users as arrays, one element per user; times in microseconds since 1970 UTC.

    activity: mean logins per day. followers: on the first day. growth: followers gained per day.
    """

    user_id: Ints
    joined_us: Ints
    activity: Floats
    followers: Floats
    growth: Floats

    def followers_at(self, user: Ints, days: Floats) -> Ints:
        """Followers of users (by position) so many days after the first day; days: same shape as user."""
        return np.floor(self.followers[user] + self.growth[user] * days).astype(np.int64)


def people(users: int, first_us: int, rng: np.random.Generator) -> Population:
    """Draw the users; all have joined before `first_us`."""
    newcomer = rng.random(users) < NEWCOMER_SHARE
    ago_days = np.where(newcomer, rng.uniform(0, 30, users), rng.uniform(30, 900, users))
    followers = np.exp(rng.normal(4.6, 1.2, users)).clip(0, 50_000).round()
    return Population(
        user_id=np.arange(FIRST_USER_ID, FIRST_USER_ID + users),
        joined_us=first_us - 1 - (ago_days * DAY_US).astype(np.int64),
        activity=np.exp(rng.normal(np.log(0.7), 0.9, users)).clip(0.02, 6),
        followers=followers,
        growth=followers * rng.uniform(0, 0.01, users),
    )


def times_of_day(count: int, rng: np.random.Generator) -> Ints:
    """Microseconds since midnight, whole seconds, distributed as `HOUR_SHARE`."""
    hours = rng.choice(24, size=count, p=HOUR_SHARE)
    return (hours * 3600 + rng.integers(0, 3600, count)) * SECOND_US


def logins(population: Population, start_us: int, days: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Each user's logins over the days from `start_us` (a midnight), none before joining.

    Returns (user position, time), ordered by user, then time.
    """
    counts = rng.poisson(population.activity * days)
    user = np.repeat(np.arange(len(counts)), counts)
    at = start_us + rng.integers(0, days, len(user)) * DAY_US + times_of_day(len(user), rng)
    has_joined = at >= population.joined_us[user]
    order = np.lexsort((at[has_joined], user[has_joined]))
    return user[has_joined][order], at[has_joined][order]


def logins_before(login_user: Ints, login_us: Ints, user: Ints, at_us: Ints, window_us: int) -> Ints:
    """For each (user, at): that user's logins in [at - window, at). The logins are ordered by user, then time."""
    # One sorted axis for all users: each has its own lane, wider than any time in it.
    origin = min(login_us.min(initial=0), (at_us - window_us).min(initial=0))
    lane = max(login_us.max(initial=0), at_us.max(initial=0)) - origin + 1
    axis = login_user * lane + (login_us - origin)
    end = np.searchsorted(axis, user * lane + (at_us - origin), side="left")
    start = np.searchsorted(axis, user * lane + (at_us - window_us - origin), side="left")
    return (end - start).astype(np.int64)


def users_frame(population: Population, days_until: float, rng: np.random.Generator) -> pl.DataFrame:
    """The application's `users` table, `days_until` days after the first day."""
    count = len(population.user_id)
    parts = rng.integers(0, len(_SYLLABLES), (count, 3))
    names = [
        "".join(_SYLLABLES[part] for part in row) + f"-{user_id}"
        for row, user_id in zip(parts, population.user_id, strict=True)
    ]
    everyone = np.arange(count)
    return pl.DataFrame(
        {
            "user_id": population.user_id,
            "joined_at": pl.Series(population.joined_us).cast(UTC_TIME),
            "name": pl.Series(names, dtype=pl.String),
            "followers": population.followers_at(everyone, np.full(count, days_until)),
        }
    )
