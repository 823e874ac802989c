"""The event log as a sum: every event once, however often the log delivered it.

What lives here: which deliveries count, and how duplicates are taken out without holding ten million ids. What does
not: windows (`windows.py`), and the reading of log files (`ingestion`).
"""

from datetime import timedelta
from functools import cache

import polars as pl

CLOCK_SKEW = timedelta(days=1)
"""An event that claims to happen longer than this after it arrived is not believed: it bounds how far back to read."""

_DETAILS = ("user_id", "photo_id", "kind", "at", "arrived_at")


def known_at() -> pl.Expr:
    """The moment from which on an event can be known: it has happened, and it has arrived."""
    return pl.max_horizontal("at", "arrived_at")


def weighted_events(events: pl.LazyFrame) -> pl.LazyFrame:
    """Rows whose weights (+1, -1) add up to each event once, however often and on whatever days it was delivered.

    Of several deliveries of one `event_id` the one known first counts (then the first to arrive, then by content). Every
    use of the log here is a sum, so a duplicate need not be removed: its row is followed by one of weight -1. That leaves
    the main scan without ids, and only the few repeated ones are compared. A strict consequence: a delivery known at or
    after t changes no sum of what was known before t, even if it repeats an id with other content.

    What the look-back cuts off can't be compared: that it changes nothing holds if deliveries of an id agree in `at`.

    Returns user_id, photo_id, kind, at, arrived_at, weight (Int32).
    """
    credible = events.filter(pl.col("at") <= pl.col("arrived_at") + CLOCK_SKEW)
    details = credible.select(_DETAILS)
    # They are few, and all that is made of this frame reads them: found once, they cost two passes over the ids.
    surplus = pl.defer(cache(lambda: _surplus_deliveries(events, credible)), schema=details.collect_schema())
    return pl.concat([details.with_columns(weight=pl.lit(1, pl.Int32)), surplus.with_columns(weight=pl.lit(-1, pl.Int32))])


def _surplus_deliveries(events: pl.LazyFrame, credible: pl.LazyFrame) -> pl.DataFrame:
    """All credible deliveries of an event but the one that counts.

    Hashes, of all events as ids alone are read faster, only narrow the search: ids themselves decide.
    """
    hashed = pl.col("event_id").hash()
    hashes = events.select(hashed).collect(engine="streaming").to_series().sort()
    repeated = hashes.filter(hashes == hashes.shift(1)).unique()
    return (
        # Not a semi join, which would hold the log until its other side is known.
        credible.filter(hashed.is_in(repeated.implode()))
        .select("event_id", *_DETAILS)
        .sort("event_id", known_at(), "arrived_at", "at", "user_id", "photo_id", "kind", nulls_last=True)
        .filter(pl.col("event_id") == pl.col("event_id").shift(1))
        .select(_DETAILS)
        .collect(engine="streaming")
    )
