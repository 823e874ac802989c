"""The runs of a night for `darkroom run`: which assets over which range of days, in which order.

Under the daemon, the schedule and sensors start the same work.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from pipeline_assets.features.popularity import FINAL_DAYS
from pipeline_assets.framework.partitions import existing
from pipeline_assets.ingestion.logs.events import day_of_log
from pipeline_assets.ingestion.logs.log_days import file_by_day
from pipeline_assets.nightly.calendars import LOG_READERS, LOGS, MODEL, NEWEST, PHOTOS, VARIANTS
from resources.objects.resource import Objects


@dataclass(frozen=True)
class Launch:
    """One Dagster run: these assets over this range of days."""

    assets: tuple[str, ...]
    first: date
    last: date

    def days(self) -> list[date]:
        """Each day of the range."""
        return [self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1)]


def launches(upload_days: Sequence[date], log_days: Sequence[date], today: date) -> list[Launch]:
    """The runs that make these days current: logs, photos up to training rows, variants, what reads logs, the newest day's
    states, a night's model.

    The model is that of the last night before today on which labels of uploaded photos became final; there is none before
    that. Days that are no partitions are left out: `partitions.set_aside` reports them.
    """
    runs = []
    upload_days, log_days = existing(upload_days, today), existing(log_days, today)
    if log_days:
        runs.append(Launch(LOGS, min(log_days), max(log_days)))
    if upload_days:
        runs.append(Launch(PHOTOS, min(upload_days), max(upload_days)))
        runs.append(Launch(VARIANTS, min(upload_days), max(upload_days)))
    if log_days:
        runs.append(Launch(LOG_READERS, min(log_days), max(log_days)))
    if past := [day for day in log_days if day < today]:
        runs.append(Launch(NEWEST, max(past), max(past)))
    ready = [night for day in upload_days if (night := day + timedelta(days=FINAL_DAYS)) < today]
    if ready:
        runs.append(Launch(MODEL, max(ready), max(ready)))
    return runs


def log_days(lake_bucket: Objects, today: date) -> list[date]:
    """Days with log files, ascending. A file that lies under a future day counts for the day on which it arrived.

    Lists the folders of days, and files of future days only.
    """
    days = {day for name in lake_bucket.store.folders("events/") if (day := day_of_log(f"events/{name}/-"))}
    later = (
        lake_bucket.store.list("events/", start_after=f"events/{today}/\U0010ffff")
        if max(days, default=today) > today
        else ()
    )
    return sorted(days | file_by_day(later, today).early.keys())
