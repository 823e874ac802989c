"""Checks of the training tables: no leak from the future, every photo accounted for, a model better than the mean."""

from datetime import date
from typing import Any

import polars as pl

from pipeline_assets.features.postings import SLACK_DAYS, as_of
from pipeline_assets.features.user_features import FEATURES, user_features_as_of
from pipeline_assets.framework.declaration import DayCheck, RunOfDays, Verdict
from pipeline_assets.ingestion.logs.log_days import complete_days
from pipeline_assets.training.observation import Observation
from pipeline_assets.training.training_table import DROP_REASONS, NONE_LEAKING, reconcile


def count_labels(rows: pl.DataFrame) -> dict[str, Any]:
    """Rows by split, how many have a label, and the labels' mean."""
    return {
        "labelled": rows["popularity"].is_not_null().sum(),
        "mean_popularity": rows["popularity"].mean(),
        "splits": dict(rows.group_by("split").len().sort("split").iter_rows()),
    }


def _no_future_leak(day: date, rows: pl.DataFrame, _rejected: pl.DataFrame, run: RunOfDays) -> Verdict:
    """Remove all data known only after the day's median posting: the earlier half must not change.

    A leak is in the code, not in a day, so one day of the run shows it; each day needs six weeks of the log.
    """
    if rows.is_empty() or day != run.days[-1]:
        return Verdict(True, f"checked on {run.days[-1]}" if rows.height else "no rows")
    posted = rows["posted_at"].sort()
    middle = posted[len(posted) // 2]
    earlier_rows = rows.filter(pl.col("posted_at") <= middle)
    photos, log = run.inputs["photo_metadata"], run.inputs["event_log"]
    joining_times = photos.filter(pl.col("day") == day).select("user_id", joined_at="user_joined_at").unique("user_id")
    entities = earlier_rows.lazy().select("photo_id", "user_id", as_of=as_of()).join(joining_times, on="user_id")
    earlier_log = log.filter(pl.max_horizontal("at", "arrived_at") < middle)
    recomputed = user_features_as_of(entities, earlier_log, photos).select("photo_id", *FEATURES).collect(engine="streaming")
    differ = earlier_rows.join(recomputed, on="photo_id", suffix="_again").filter(
        pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_again")) for name in FEATURES)
    )
    return Verdict(
        differ.is_empty(),
        f"{differ.height} of {earlier_rows.height} rows change when what was known only after {middle:%H:%M} is taken away",
        {"rows_checked": earlier_rows.height},
    )


def _reconciles(day: date, rows: pl.DataFrame, _rejected: pl.DataFrame, run: RunOfDays) -> Verdict:
    """Every photo of the day is a row, or has one reason for being dropped."""
    names = ("raw_uploads", "photo_metadata", "photo_classes", "photo_styles")
    frames = (run.inputs[name].filter(pl.col("day") == day) for name in names)
    counts = reconcile(*frames, days=[day], observed=observed(run), leaking=run.once("torn", NONE_LEAKING.clear)).collect()
    facts = {name: int(counts[name].sum()) for name in ("photos", "uploads_ok", *DROP_REASONS, "rows")}
    reasons = ", ".join(f"{facts[name]} {name.replace('_', ' ')}" for name in DROP_REASONS if facts[name]) or "none left out"
    return Verdict(facts["rows"] == rows.height, f"{facts['photos']} photos, {rows.height} rows: {reasons}", facts)


def _users_agree(day: date, rows: pl.DataFrame, _rejected: pl.DataFrame, run: RunOfDays) -> Verdict:
    """Every row's user is in `user_features` of its day with the same joining time: one function computes both."""
    day_features = (
        run.inputs["user_features"].filter(pl.col("day") == day).select("user_id", "as_of", at_end="days_since_joining")
    )
    with_features = rows.join(day_features.collect(), on="user_id", how="left")
    in_the_day = pl.col("posted_at") < pl.col("as_of")
    grown = pl.col("at_end") - pl.col("days_since_joining")
    disagreeing = with_features.filter(pl.col("at_end").is_null() | (in_the_day & ~grown.is_between(0, 1 + SLACK_DAYS)))
    return Verdict(
        disagreeing.is_empty(), f"{disagreeing.height} of {rows.height} rows disagree with user_features of the day"
    )


def _log_is_unbroken(day: date, _rows: pl.DataFrame, _rejected: pl.DataFrame, run: RunOfDays) -> Verdict:
    """No past day of the log that the day's labels need is missing."""
    missing = observed(run).waits_for(day, run.now.date())
    days_named = ", ".join(map(str, missing[:3])) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
    detail = f"no complete log of {days_named}: labels that count these days wait for it"
    return Verdict(not missing, detail if missing else "every day of the log that has ended is complete")


def observed(run: RunOfDays) -> Observation:
    """The observation of the log that this run reads."""
    entries = run.entries.filter(pl.col("asset") == "event_log")
    return run.once("observed", lambda: Observation(complete_days(entries, run.now)))


def _better_than_the_mean(_day: date, rows: pl.DataFrame, _rejected: pl.DataFrame, _run: RunOfDays) -> Verdict:
    worse = rows.filter(pl.col("r2") <= pl.col("r2_mean"))
    values = ", ".join(f"R2 {r2:.3f} against {mean:.3f}" for r2, mean in rows.select("r2", "r2_mean").iter_rows())
    return Verdict(worse.is_empty(), f"model against the mean of the labels: {values}")


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
LOG_IS_UNBROKEN = DayCheck(
    "log_is_unbroken", _log_is_unbroken, "no day of the log that the day's labels count is missing or was read too early"
)
BETTER_THAN_THE_MEAN = DayCheck(
    "better_than_the_mean", _better_than_the_mean, "the model beats predicting the mean of the training labels"
)
