"""Checks of the training tables: no leak from the future, every photo accounted for, a model that has learned something."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import polars as pl

from pipeline_assets.features.user_features import FEATURES, user_features_as_of
from pipeline_assets.table_asset import DayCheck, RunOfDays, Verdict
from pipeline_assets.training.training_table import DROP_REASONS, reconcile


def count_labels(rows: pl.DataFrame) -> dict[str, Any]:
    """Rows by split, how many have a label, and the labels' mean."""
    return {
        "labelled": rows["popularity"].is_not_null().sum(),
        "mean_popularity": rows["popularity"].mean(),
        "splits": dict(rows.group_by("split").len().sort("split").iter_rows()),
    }


def _no_future_leak(day: date, rows: pl.DataFrame, _rejected: pl.DataFrame, run: RunOfDays) -> Verdict:
    """Take away all that was known only after the day's middle posting: the earlier half must not change.

    A leak would be in the code, not in a day: one day of the run shows it, and each costs six weeks of the log to read.
    """
    if rows.is_empty() or day != run.days[-1]:
        return Verdict(True, f"checked on {run.days[-1]}" if rows.height else "no rows")
    posted = rows["posted_at"].sort()
    cut = posted[len(posted) // 2]
    earlier = rows.filter(pl.col("posted_at") <= cut)
    photos, log = run.inputs["photo_metadata"], run.inputs["event_log"]
    joined = photos.select("user_id", joined_at="user_joined_at").unique("user_id")
    entities = earlier.lazy().select("photo_id", "user_id", as_of="posted_at").join(joined, on="user_id")
    known = log.filter(pl.max_horizontal("at", "arrived_at") < cut)
    again = user_features_as_of(entities, known, photos).select("photo_id", *FEATURES).collect(engine="streaming")
    differ = earlier.join(again, on="photo_id", suffix="_again").filter(
        pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_again")) for name in FEATURES)
    )
    return Verdict(
        differ.is_empty(),
        f"{differ.height} of {earlier.height} rows change when what was known only after {cut:%H:%M} is taken away",
        {"rows_checked": earlier.height},
    )


def _reconciles(day: date, rows: pl.DataFrame, _rejected: pl.DataFrame, run: RunOfDays) -> Verdict:
    """Every photo of the day is a row, or has one reason why not."""
    names = ("raw_uploads", "photo_metadata", "photo_classes", "photo_styles")
    frames = (run.inputs[name].filter(pl.col("day") == day) for name in names)
    found = reconcile(*frames, days=[day], observed_until=observed_until(run)).collect()
    facts = {name: int(found[name].sum()) for name in ("photos", "uploads_ok", *DROP_REASONS, "rows")}
    told = ", ".join(f"{facts[name]} {name.replace('_', ' ')}" for name in DROP_REASONS if facts[name]) or "none left out"
    return Verdict(facts["rows"] == rows.height, f"{facts['photos']} photos, {rows.height} rows: {told}", facts)


def _users_agree(day: date, rows: pl.DataFrame, _rejected: pl.DataFrame, run: RunOfDays) -> Verdict:
    """Every row's user is in `user_features` of its day, and has been there as long: one function made both."""
    known = run.inputs["user_features"].filter(pl.col("day") == day).select("user_id", "as_of", at_end="days_since_joining")
    joined = rows.join(known.collect(), on="user_id", how="left")
    in_the_day = pl.col("posted_at") < pl.col("as_of")
    grown = pl.col("at_end") - pl.col("days_since_joining")
    off = joined.filter(pl.col("at_end").is_null() | (in_the_day & ~grown.is_between(0, 1)))
    return Verdict(off.is_empty(), f"{off.height} of {rows.height} rows disagree with user_features of the day")


def observed_until(run: RunOfDays) -> datetime:
    """The end of the last event-log day that the run reads: later views can't be known."""
    logs = run.known.filter(pl.col("asset") == "event_log")["day"].max()
    last = logs if isinstance(logs, date) else run.days[0]
    return datetime.combine(last + timedelta(days=1), time(), UTC)


def _better_than_the_mean(_day: date, rows: pl.DataFrame, _rejected: pl.DataFrame, _run: RunOfDays) -> Verdict:
    worse = rows.filter(pl.col("r2") <= pl.col("r2_mean"))
    told = ", ".join(f"R2 {r2:.3f} against {mean:.3f}" for r2, mean in rows.select("r2", "r2_mean").iter_rows())
    return Verdict(worse.is_empty(), f"model against the mean of the labels: {told}")


NO_FUTURE_LEAK = DayCheck(
    "no_future_leak",
    _no_future_leak,
    "features do not change when everything after the posting is taken away",
    blocking=True,
)
ROWS_RECONCILE = DayCheck(
    "rows_reconcile", _reconciles, "every photo of the day is a row or has one reason why not", blocking=True
)
USERS_AGREE = DayCheck(
    "users_agree", _users_agree, "every row's user is in user_features of the day, known for as long", blocking=True
)
BETTER_THAN_THE_MEAN = DayCheck(
    "better_than_the_mean", _better_than_the_mean, "the model beats predicting the mean of the training labels"
)
