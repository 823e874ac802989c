"""Drift alarms: how often there is one where nothing changed, and whether planted changes are seen on their first day.

    python -m benchmarks.exploration_drift [--days 100] [--rows 1000]

All days are drawn with replacement from one table of ten columns. The reference is the 28 days before a day. Days "of users"
have a user's rows together: each user has on a day none to dozens of rows that are all alike. The rival, in the same run:
scipy's ks_2samp and chi2_contingency on the rows themselves, Holm's correction over the same columns.
"""

import argparse
import time
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from benchmarks.figures import Figure, add_options, at_least, at_most, finish
from pipeline_assets.exploration.profiles.columns import Column, Kind
from pipeline_assets.exploration.profiles.drift import LEVEL, drift
from pipeline_assets.exploration.profiles.profile import profiles
from pipeline_assets.exploration.several_tests import holm

DAYS, ROWS, REFERENCE = 100, 1000, 28
FIRST = date(2026, 1, 1)
POOL, DIMENSION = 20_000, 64
KINDS: dict[str, Kind] = {
    **dict.fromkeys(("brightness", "followers", "likes", "hour", "views"), "number"),
    **{"look": "category", "has_location": "category", "title": "text", "posted_at": "time", "embedding": "embedding"},
}


def pool(generator: np.random.Generator, rows: int) -> pl.DataFrame:
    """The table that days are drawn from."""
    looks = generator.choice([f"look {n}" for n in range(12)], rows, p=np.arange(12, 0, -1) / 78)
    titles = ["x" * n for n in generator.poisson(20, rows)]
    seconds = generator.integers(0, 86_400, rows)
    views = np.where(generator.random(rows) < 0.05, np.nan, generator.gamma(2, 30, rows))
    centres = generator.standard_normal((8, DIMENSION))
    embeddings = centres[generator.integers(0, 8, rows)] + generator.standard_normal((rows, DIMENSION))
    return pl.DataFrame(
        {
            "brightness": generator.beta(4, 4, rows),
            "followers": generator.lognormal(5, 1.5, rows).astype(np.int64),
            "likes": generator.poisson(1.5, rows),
            "hour": generator.integers(0, 24, rows),
            "views": views,
            "look": looks,
            "has_location": generator.random(rows) < 0.4,
            "title": titles,
            "posted_at": seconds,
            "embedding": embeddings.astype(np.float32),
        }
    ).with_columns(pl.col("views").fill_nan(None), pl.col("embedding").cast(pl.List(pl.Float32)))


def dated(rows: pl.DataFrame, day: date) -> pl.DataFrame:
    """Rows as those of a day; `posted_at` becomes a time of it."""
    at = pl.lit(day).cast(pl.Datetime("us")) + pl.duration(seconds="posted_at")
    return rows.with_columns(day=pl.lit(day), posted_at=at)


def independent(source: pl.DataFrame, rows: int, generator: np.random.Generator) -> pl.DataFrame:
    """Rows drawn one by one."""
    return source[generator.integers(0, len(source), rows)]


def clustered(source: pl.DataFrame, rows: int, generator: np.random.Generator, users: int) -> pl.DataFrame:
    """Rows drawn by user: each has one row of the table, repeated as often as the user is active that day."""
    activity = generator.exponential(1.0, users)
    times = generator.multinomial(rows, activity / activity.sum())
    chosen = np.repeat(generator.integers(0, len(source), users), times)
    return source[chosen]


def mean_shift(rows: pl.DataFrame) -> pl.DataFrame:
    """Brightness rises by half a standard deviation."""
    return rows.with_columns(brightness=pl.col("brightness") + 0.5 * pl.col("brightness").std())


def scale(rows: pl.DataFrame) -> pl.DataFrame:
    """Brightness spreads to twice the deviation around the same mean."""
    return rows.with_columns(brightness=2 * pl.col("brightness") - pl.col("brightness").mean())


def new_category(rows: pl.DataFrame) -> pl.DataFrame:
    """5 % of the rows have a look that no earlier day had."""
    is_new = pl.int_range(pl.len()) % 20 == 0
    return rows.with_columns(look=pl.when(is_new).then(pl.lit("sepia")).otherwise("look"))


def nulls_rising(rows: pl.DataFrame) -> pl.DataFrame:
    """15 % more of the views are null."""
    return rows.with_columns(views=pl.when(pl.int_range(pl.len()) % 20 >= 3).then("views"))


def embedding_shift(rows: pl.DataFrame) -> pl.DataFrame:
    """A quarter of the embeddings comes from a new cluster."""
    vectors = rows["embedding"].list.to_array(DIMENSION).to_numpy().copy()
    direction = np.random.default_rng(99).standard_normal(DIMENSION)
    vectors[::4] += 2 * direction.astype(np.float32)
    return rows.with_columns(pl.Series("embedding", vectors).cast(pl.List(pl.Float32)))


PLANTED: dict[str, tuple[Callable[[pl.DataFrame], pl.DataFrame], str]] = {
    "mean shift of half a deviation": (mean_shift, "brightness"),
    "scale doubled": (scale, "brightness"),
    "new category, 5 %": (new_category, "look"),
    "nulls rising by 15 %": (nulls_rising, "views"),
    "embedding shift of a quarter": (embedding_shift, "embedding"),
}


def profile_of(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """Profiles of days, each a frame of rows without a day, from FIRST on."""
    days = {FIRST + timedelta(n): dated(frame, FIRST + timedelta(n)) for n, frame in enumerate(frames)}
    rows = pl.concat(days.values())
    columns = [Column(name, rows.schema[name], kind) for name, kind in KINDS.items()]
    return profiles(rows.lazy(), "photos", columns, {day: "digest" for day in days})


def by_scipy(reference: pl.DataFrame, day: pl.DataFrame) -> np.ndarray:
    """Holm's p-values of scipy's tests on the rows of all columns but the embedding."""
    p_values = []
    for name, kind in KINDS.items():
        before, now = reference[name].drop_nulls(), day[name].drop_nulls()
        if kind == "category":
            values = before.append(now).unique().to_list()
            counts = [[(part == value).sum() for value in values] for part in (before, now)]
            p_values.append(stats.chi2_contingency(np.array(counts)).pvalue)
        elif kind != "embedding":
            numbers = [(part.str.len_chars() if kind == "text" else part).to_numpy() for part in (before, now)]
            p_values.append(stats.ks_2samp(*numbers, method="asymp").pvalue)
    return holm(np.array(p_values))


def false_alarms(draw: Callable[..., pl.DataFrame], source: pl.DataFrame, rows: int, days: int) -> dict[str, Any]:
    """Of `days` days like those before them: those with an alarm, with an adjusted p-value <= 0.05, and the rival's."""
    generator = np.random.default_rng(1)
    frames = [draw(source, rows, generator) for _ in range(REFERENCE + days)]
    began = time.process_time()
    profiled = profile_of(frames)
    profile_s, began = time.process_time() - began, time.process_time()
    found = drift(profiled, [FIRST + timedelta(REFERENCE + n) for n in range(days)], REFERENCE)
    drift_s = time.process_time() - began
    by_day = found.group_by("day").agg(pl.col("is_alarm").any(), is_low=(pl.col("p_adjusted") <= LEVEL).any())
    theirs = sum(
        bool((by_scipy(pl.concat(frames[n : n + REFERENCE]), frames[n + REFERENCE]) <= LEVEL).any()) for n in range(days)
    )
    return {
        "alarms": int(by_day["is_alarm"].sum()),
        "significant": int(by_day["is_low"].sum()),
        "scipy": theirs,
        "profile_s": profile_s,
        "drift_s": drift_s,
    }


def found_of(plant: Callable[[pl.DataFrame], pl.DataFrame], column: str, source: pl.DataFrame, rows: int) -> pl.DataFrame:
    """The drift of the first day with a planted change, 20 times: rows of the column."""
    results = []
    for seed in range(20):
        generator = np.random.default_rng([7, seed])
        frames = [independent(source, rows, generator) for _ in range(REFERENCE + 1)]
        found = drift(profile_of([*frames[:-1], plant(frames[-1])]), [FIRST + timedelta(REFERENCE)], REFERENCE)
        results.append(found.filter(column=column))
    return pl.concat(results)


def main() -> None:
    """Measure, compare, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--days", type=int, default=DAYS, help=f"days without a change ({DAYS})")
    parser.add_argument("--rows", type=int, default=ROWS, help=f"rows of a day ({ROWS})")
    options = parser.parse_args()
    days, rows = (10, 200) if options.quick else (options.days, options.rows)
    source = pool(np.random.default_rng(0), POOL)
    figures, details = [], dict[str, Any]()
    for name, draw, size, target in (
        ("identical days", independent, rows, at_most(0)),
        ("identical days of 60 rows", independent, 60, at_most(0.05 * days)),
        ("days of 60 users", partial(clustered, users=60), rows, at_most(0.05 * days)),
        ("days of 20 users", partial(clustered, users=20), rows, None),
    ):
        measured = false_alarms(draw, source, size, days)
        note = f"{measured['significant']} significant at 5 % whatever their size; scipy on rows: {measured['scipy']}"
        figures.append(Figure(f"{name} with an alarm, of {days}", measured["alarms"], "days", target, note))
        details[name] = measured
    per_day = details["identical days"]
    figures.append(Figure(f"profile of a day of {rows:,} rows, 10 columns", per_day["profile_s"] / days, "CPU s"))
    figures.append(Figure("drift of a day, 10 columns, 28 days of reference", per_day["drift_s"] / days, "CPU s"))
    for name, (plant, column) in PLANTED.items():
        found = found_of(plant, column, source, rows)
        sizes = ", ".join(
            f"{size} {found[size].mean():.2f}" for size in ("psi", "ks", "mmd") if found[size].mean() is not None
        )
        figures.append(Figure(f"{name}: found on its day, of 20", int(found["is_alarm"].sum()), "", at_least(20), sizes))
    finish(options, "exploration_drift", figures, details)


if __name__ == "__main__":
    main()
