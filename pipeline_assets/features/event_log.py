"""Deduplicates the event log as a sum: every event counts once, however often the log delivers it.

What lives here: which deliveries count, and how duplicates are removed without ten million ids in memory. What does not:
windows (`windows.py`), and the reading of log files (`ingestion`).
"""

from datetime import timedelta
from functools import cache

import polars as pl

CLOCK_SKEW = timedelta(days=1)
"""Events that claim to happen longer than this after their arrival are ignored, which bounds the look-back."""

_DETAILS = ("user_id", "photo_id", "kind", "at", "arrived_at")


def known_at() -> pl.Expr:
    """When an event is known: it has happened, and it has arrived."""
    return pl.max_horizontal("at", "arrived_at")


def weighted_events(events: pl.LazyFrame) -> pl.LazyFrame:
    """Rows whose weights (+1, -1) count each event once, however often and on whatever days it was delivered.

    Of several deliveries of one `event_id` the one known first counts (then the first to arrive, then by content). Every use
    of the log is a sum, so a duplicate is cancelled by a row of weight -1. So the main scan needs no ids, and only the few
    repeated ones are compared. It follows that a delivery known at or after t changes no sum of what was known before t,
    even if it repeats an id with other content.

    Deliveries before the look-back can't be compared: they change nothing if deliveries of an id agree in `at`.

    Returns user_id, photo_id, kind, at, arrived_at, weight (Int32).
    """
    credible = events.filter(pl.col("at") <= pl.col("arrived_at") + CLOCK_SKEW)
    details = credible.select(_DETAILS)
    # They are few, and every query on this frame reads them: computed once, they cost two passes over the ids.
    surplus = pl.defer(cache(lambda: _surplus_deliveries(events, credible)), schema=details.collect_schema())
    return pl.concat([details.with_columns(weight=pl.lit(1, pl.Int32)), surplus.with_columns(weight=pl.lit(-1, pl.Int32))])


def _surplus_deliveries(events: pl.LazyFrame, credible: pl.LazyFrame) -> pl.DataFrame:
    """All credible deliveries of an event except the one that counts.

    Hashes only narrow the search (of all events, as ids alone are read faster); the ids decide.
    """
    hashed = pl.col("event_id").hash()
    hashes = events.select(hashed).collect(engine="streaming").to_series().sort()
    repeated = hashes.filter(hashes == hashes.shift(1)).unique()
    return (
        # Not a semi join, which would keep the log in memory until its other side is known.
        credible.filter(hashed.is_in(repeated.implode()))
        .select("event_id", *_DETAILS)
        .sort("event_id", known_at(), "arrived_at", "at", "user_id", "photo_id", "kind", nulls_last=True)
        .filter(pl.col("event_id") == pl.col("event_id").shift(1))
        .select(_DETAILS)
        .collect(engine="streaming")
    )
