"""The training table's point-in-time join against the join that one would write by hand, on seeded data.

    python benchmarks/join.py --events 1000000 --photos 100000 --users 20000 [--repeats 5] [--json FILE]

Both read the same Parquet files, give equal tables (checked), and run in processes of their own, by turns. By hand means:
events once by group_by on their id, every user's events joined to every photo of that user, filtered to the windows,
counted. That explodes where a user does a lot; the data here is kind to it (users are equally busy). Printed: median
seconds, the ratio (below 1: ours is faster), and the peak resident memory of each.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from polars.testing import assert_frame_equal

from pipeline_assets.features.popularity import LATE
from pipeline_assets.training.schemas import TrainingTable
from pipeline_assets.training.split import split_of
from pipeline_assets.training.training_table import training_table

START = datetime(2025, 1, 1, tzinfo=UTC)
SPAN_DAYS = 60
DAYS = [date(2025, 1, 1) + timedelta(days=n) for n in range(SPAN_DAYS)]
OBSERVED_UNTIL = START + timedelta(days=SPAN_DAYS)
TIME = pl.Datetime("us", "UTC")
WEEK, MONTH = timedelta(days=7), timedelta(days=30)
DAY_US = 86_400_000_000
INPUTS = ("raw_uploads", "photo_metadata", "photo_classes", "photo_styles", "event_log")
STYLES = ("brightness", "contrast", "saturation", "colourfulness", "sharpness", "aspect")


def write_inputs(folder: Path, events: int, photos: int, users: int, seed: int) -> None:
    """The five inputs as Parquet: 60 days; 60 % views, 20 % logins, 15 % likes, 5 % posts; 1 % delivered twice."""
    rng = np.random.default_rng(seed)
    posted = rng.integers(0, SPAN_DAYS * DAY_US, photos)
    frame = (
        pl.DataFrame({"photo_id": np.arange(photos), "user_id": rng.integers(0, users, photos), "posted": posted})
        .sort("posted")
        .with_columns(posted_at=_moment("posted"), sha256=pl.col("photo_id").cast(pl.String).str.zfill(64))
        .with_columns(day=pl.col("posted_at").dt.date(), key=pl.format("uploads/{}", "photo_id"))
    )
    uploads = frame.select("day", "key", "sha256", version_id=pl.lit("v"), verdict=pl.lit("ok"), uploaded_at="posted_at")
    uploads.write_parquet(folder / "raw_uploads.parquet")
    frame.select(
        *("day", "photo_id", "user_id", "key", "posted_at"),
        title=pl.lit("a title"),
        location=pl.lit(None, pl.String),
        followers_at_post=pl.col("user_id") % 100,
        user_joined_at=pl.lit(START - timedelta(days=90)).cast(TIME),
    ).write_parquet(folder / "photo_metadata.parquet")
    quarter = pl.lit(0.25, pl.Float32)
    frame.select(
        *("day", "sha256"),
        model_id=pl.lit("m"),
        top5_label=pl.concat_list(pl.lit("tabby")),
        top5_probability=pl.concat_list(quarter),
        embedding=pl.concat_list([quarter] * 4),
    ).write_parquet(folder / "photo_classes.parquet")
    frame.select("day", "sha256", *(pl.lit(0.5, pl.Float32).alias(name) for name in STYLES)).write_parquet(
        folder / "photo_styles.parquet"
    )
    _events(rng, events, posted, users).write_parquet(folder / "event_log.parquet")


def _moment(column: str) -> pl.Expr:
    return pl.lit(START).cast(TIME) + pl.duration(microseconds=pl.col(column))


def _events(rng: np.random.Generator, count: int, posted: np.ndarray, users: int) -> pl.DataFrame:
    kind = rng.choice(4, count, p=[0.6, 0.15, 0.2, 0.05]).astype(np.int8)
    photo_id = rng.integers(0, len(posted), count)
    after = (rng.exponential(3.0, count) * DAY_US).astype(np.int64)
    at = np.where(kind < 2, posted[photo_id] + after, rng.integers(0, SPAN_DAYS * DAY_US, count))
    late = (rng.exponential(0.05, count) * DAY_US).astype(np.int64)
    ids = rng.integers(0, 2**63, count)
    user_id = rng.integers(0, users, count)
    kinds = pl.lit(pl.Series(["view", "like", "login", "post"]))
    once = pl.DataFrame({"id": ids, "user_id": user_id, "photo": photo_id, "number": kind, "at": at, "arrived": at + late})
    twice = once.head(count // 100).with_columns(pl.col("arrived") + DAY_US)
    return (
        pl.concat([once, twice])
        .sort("arrived")
        .select(
            "user_id",
            event_id=pl.format("e-{}", pl.col("id").cast(pl.String).str.zfill(30)),
            photo_id=pl.when(pl.col("number") < 2).then("photo"),
            kind=kinds.gather(pl.col("number")),
            at=_moment("at"),
            arrived_at=_moment("arrived"),
        )
        .with_columns(day=pl.col("arrived_at").dt.date())
    )


def by_hand(*inputs: pl.LazyFrame) -> pl.LazyFrame:
    """The straightforward join, of INPUTS: a user's events by the user's photos, filtered and counted."""
    uploads, photos, classes, styles, log = inputs
    once = pl.col("user_id", "photo_id", "kind", "at").first(), pl.col("arrived_at").min()
    counts = counts_by_hand(photos.select("photo_id", "user_id", "posted_at"), log.group_by("event_id").agg(*once))
    ok = uploads.filter(pl.col("verdict") == "ok").sort("uploaded_at", "version_id").unique("key", keep="last")
    moment = pl.col("posted_at")
    is_mature = moment + WEEK <= OBSERVED_UNTIL
    joined = photos.join(ok.select("key", "sha256"), on="key")
    for part in counts:
        joined = joined.join(part, on="photo_id", how="left")
    return (
        joined.join(classes, on=["day", "sha256"])
        .join(styles, on=["day", "sha256"])
        .with_columns(
            pl.col("^(logins|posts|likes)_.*d$").fill_null(0),
            posted_hour=moment.dt.hour(),
            posted_weekday=moment.dt.weekday(),
            title_length=pl.col("title").str.len_chars(),
            has_location=pl.col("location").is_not_null(),
            days_since_joining=(moment - pl.col("user_joined_at")).dt.total_days(),
            top_class=pl.col("top5_label").list.first(),
            top_probability=pl.col("top5_probability").list.first(),
            split=split_of(pl.col("user_id")),
            views_7d=pl.when(is_mature).then(pl.col("views_7d").fill_null(0)),
        )
        .with_columns(popularity=(pl.col("views_7d") / 7 + 1).log(2))
        .select(pl.col(name).cast(kind) for name, kind in TrainingTable.create_empty().schema.items())
        .sort("day", "photo_id")
    )


def counts_by_hand(photos: pl.LazyFrame, events: pl.LazyFrame) -> list[pl.LazyFrame]:
    """Frames by photo_id of what was known at its posting, and of its views. photos: photo_id, user_id, posted_at."""
    at, arrived, moment, kind = pl.col("at"), pl.col("arrived_at"), pl.col("posted_at"), pl.col("kind")
    seen = (at < moment, arrived < moment, at >= moment - MONTH)
    acts = events.filter(kind != "view").select("user_id", "kind", "at", "arrived_at")
    is_login = kind == "login"
    own = photos.join(acts, on="user_id").filter(*seen).group_by("photo_id")
    owned = photos.select("photo_id", owner="user_id", liked_at="posted_at")
    likes = events.filter(kind == "like").join(owned, on="photo_id").filter(pl.col("owner") != pl.col("user_id"))
    received = photos.join(likes.drop("photo_id", "user_id"), left_on="user_id", right_on="owner").filter(
        *seen, pl.col("liked_at") < moment, pl.col("liked_at") >= moment - MONTH - WEEK
    )
    viewed = events.filter(kind == "view").join(photos.select("photo_id", "posted_at"), on="photo_id")
    views = (
        viewed.filter(at >= moment, at < moment + WEEK)
        .group_by("photo_id")
        .agg(
            views_7d=((arrived < OBSERVED_UNTIL) & (arrived < moment + WEEK + LATE)).sum(),
            early=(arrived < moment + WEEK).sum(),
        )
    )
    early = (pl.col("early").fill_null(0) / 7 + 1).log(2)
    matured = photos.join(views, on="photo_id", how="left").select("user_id", mature_at=moment + WEEK, early=early)
    earlier = photos.join(matured, on="user_id").filter(pl.col("mature_at") < moment, pl.col("mature_at") >= moment - MONTH)
    return [
        own.agg(
            logins_1d=(is_login & (at >= moment - timedelta(days=1))).sum(),
            logins_7d=(is_login & (at >= moment - WEEK)).sum(),
            logins_30d=is_login.sum(),
            posts_30d=(kind == "post").sum(),
            likes_given_30d=(kind == "like").sum(),
        ),
        received.group_by("photo_id").agg(likes_received_30d=pl.len()),
        views,
        earlier.group_by("photo_id").agg(mean_popularity_30d=pl.col("early").mean()),
    ]


def run_one(side: str, folder: Path) -> None:
    """One timed run of `side` in this process; leaves its table in `folder`, prints seconds and MB as JSON."""
    inputs = [pl.scan_parquet(folder / f"{name}.parquet") for name in INPUTS]
    started = time.perf_counter()
    ours = side == "ours"
    lazy = training_table(*inputs, days=DAYS, observed_until=OBSERVED_UNTIL) if ours else by_hand(*inputs)
    table = lazy.collect(engine="streaming")
    seconds = time.perf_counter() - started
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"s": seconds, "cpu_s": usage.ru_utime + usage.ru_stime, "peak_mb": usage.ru_maxrss / 1024}))
    table.write_parquet(folder / f"{side}.parquet")


def main() -> None:
    """Generate, run by turns, compare, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, default in (("events", 1_000_000), ("photos", 100_000), ("users", 20_000), ("repeats", 5), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--side", choices=("ours", "by_hand"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        run_one(given.side, given.folder)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder, given.events, given.photos, given.users, given.seed)
        runs: dict[str, list[dict[str, float]]] = {"ours": [], "by_hand": []}
        for _ in range(given.repeats):
            for side, found in runs.items():
                command = [sys.executable, __file__, "--side", side, "--folder", name]
                found.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        assert_frame_equal(*(pl.read_parquet(folder / f"{side}.parquet") for side in runs), rel_tol=1e-5)
    figures: dict[str, dict[str, float]] = {
        side: {key: statistics.median(run[key] for run in found) for key in found[0]} for side, found in runs.items()
    }
    for side, figure in figures.items():
        print(f"{side:8} {figure['s']:7.2f} s {figure['cpu_s']:8.2f} CPU s {figure['peak_mb']:8.0f} MB peak")
    figures["ratio"] = {key: figures["ours"][key] / figures["by_hand"][key] for key in figures["ours"]}
    print(f"ratio    {figures['ratio']['s']:7.2f}   (equal tables: {given.photos:,} photos, {given.events:,} events)")
    if given.json:
        given.json.write_text(json.dumps(vars(given) | figures, default=str, indent=2))


if __name__ == "__main__":
    main()
