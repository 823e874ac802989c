"""The observation of the log: until when a photo's views are known. Pure functions of the log's complete days.

A label counts views in an unbroken run of complete days of the log from the day of the posting: a missing day is not a day
without views. Nothing here depends on the days of a run.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import polars as pl

from pipeline_assets.features.popularity import FINAL_DAYS
from pipeline_assets.features.postings import SLACK_DAYS, days_of_posting
from pipeline_assets.features.user_features import LOOKBACK_DAYS

DAYS_BEFORE = LOOKBACK_DAYS + SLACK_DAYS
"""Partitions before a day of uploads that its rows need, of the event log and of photo metadata."""
DAYS_AFTER = FINAL_DAYS + SLACK_DAYS
"""Partitions of the event log after a day of uploads that can change its labels."""
_DAY = timedelta(days=1)
_TIME = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class Observation:
    """The complete days of the log, from `ingestion.log_days`."""

    complete: frozenset[date]

    @classmethod
    def of(cls, days: Iterable[date]) -> "Observation":
        """An observation of these complete days."""
        return cls(frozenset(days))

    def until(self, posted: date) -> datetime:
        """Until when the log has observed a photo posted on this day: the beginning of the day if not at all."""
        end = posted
        while end in self.complete and end - posted <= timedelta(days=FINAL_DAYS):
            end += _DAY
        return _start(end)

    def rows_until(self, day: date) -> datetime:
        """Photos of this day of uploads must be posted before this to be rows: the end of the last complete log day.

        The end of the day itself if there is no log of this day or of any day that its rows read.
        """
        days_read = [day + timedelta(days=n) for n in range(-DAYS_BEFORE, DAYS_AFTER + 1)]
        return _start(max((log_day for log_day in days_read if log_day in self.complete), default=day) + _DAY)

    def labels_until(self, days: Sequence[date]) -> pl.Expr:
        """`until` of each photo of these days of uploads, by its `posted_at`; null for others."""
        posted = days_of_posting(list(days))
        untils = pl.Series([self.until(posted_day) for posted_day in posted], dtype=_TIME)
        keys = pl.Series(posted, dtype=pl.Date)
        return pl.col("posted_at").dt.date().replace_strict(keys, untils, default=None, return_dtype=_TIME)

    def is_posted(self, days: Sequence[date]) -> pl.Expr:
        """Whether a photo of these days of uploads was posted before its day's `rows_until`."""
        untils = pl.Series([self.rows_until(upload_day) for upload_day in days], dtype=_TIME)
        keys = pl.Series(list(days), dtype=pl.Date)
        return pl.col("posted_at") < pl.col("day").replace_strict(keys, untils, default=None, return_dtype=_TIME)

    def source_text(self, day: date) -> str:
        """The part that a day of uploads depends on, as text: constant once all labels are final."""
        near = "".join("+" if day + timedelta(days=n) in self.complete else "-" for n in range(-SLACK_DAYS, DAYS_AFTER + 1))
        return f"{near} {self.rows_until(day):%Y-%m-%d}" if "+" not in near else near

    def waits_for(self, day: date, today: date) -> list[date]:
        """The missing days of the log before `today` that labels of this day of uploads wait for, ascending.

        Photos count as posted on their day; empty if the log begins only after it.
        """
        past_days = [log_day for n in range(FINAL_DAYS + 1) if (log_day := day + timedelta(days=n)) < today]
        return [log_day for log_day in past_days if log_day not in self.complete]


def first_day_of_night(
    yesterday: date, observed: Observation, recorded: Mapping[date, str], families: Mapping[date, str]
) -> date:
    """The first day of uploads that a night must consider, so that no missed day keeps labels waiting.

    Yesterday's log can change labels of uploads DAYS_AFTER older, as can each day of the log that was not read since; and
    days whose rows were computed from less than the current log are unfinished. recorded: by day of uploads, the text that
    its rows were computed from, which is `source_text` followed by the entry in `families`. families: texts of the days
    that the model learns from, on which a photo of yesterday can have a relative in another split.
    """
    unread = max(observed.complete, default=yesterday) + _DAY
    behind = (
        day
        for day, text in recorded.items()
        if not text.startswith(text_now := observed.source_text(day))
        or text != text_now + families.get(day, text[len(text_now) :])
    )
    return min([min(unread, yesterday) - timedelta(days=DAYS_AFTER), *behind])


def _start(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
