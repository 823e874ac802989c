"""Which postings belong to a day of uploads: those near the day, so that a bounded window of days has all their data.

What lives here: how far a posting may be from the day of its upload, and when it becomes known. What does not:
features (`history.py`) and labels (`training/labels.py`).
"""

from datetime import date, timedelta

import polars as pl

SLACK_DAYS = 1
"""Days by which a posting may differ from the UTC day of its upload: clocks, time zones and midnight."""
_SLACK = timedelta(days=SLACK_DAYS)
_DAY = timedelta(days=1)


def is_near_upload() -> pl.Expr:
    """Whether a photo's posting is near its upload; for others, a day's window of the log is incomplete."""
    starts = _starts(pl.col("day"))
    return (pl.col("posted_at") >= starts - _SLACK) & (pl.col("posted_at") < starts + _DAY + _SLACK)


def known_from() -> pl.Expr:
    """When a photo becomes known: its posting, or the beginning of the day of its upload if that is later."""
    return pl.max_horizontal("posted_at", _starts(pl.col("day")))


def as_of() -> pl.Expr:
    """The moment of a photo's features: its posting, or the end of the day of its upload if that is earlier.

    So a day's rows depend on no photo of a later day.
    """
    return pl.min_horizontal("posted_at", _starts(pl.col("day")) + _DAY)


def days_of_posting(days: list[date]) -> list[date]:
    """The days on which photos of these upload days can have been posted, ascending."""
    return sorted({day + timedelta(days=n) for day in days for n in range(-SLACK_DAYS, SLACK_DAYS + 1)})


def _starts(day: pl.Expr) -> pl.Expr:
    return day.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
