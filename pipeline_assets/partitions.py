"""Every PartitionsDefinition and every window of days, once."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import dagster as dg

from resources.settings import load_settings

# Features that Dagster marks as beta or preview are used on purpose; their notices are not the user's concern.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)

daily = dg.DailyPartitionsDefinition(start_date=load_settings().first_day, timezone="UTC", end_offset=1)
"""UTC upload days, today included: an upload is processed on its day, and again when it is late."""


@dataclass(frozen=True)
class Days:
    """The upstream days that a day reads, as offsets from it, both ends included."""

    start: int = 0
    end: int = 0

    @property
    def mapping(self) -> dg.PartitionMapping:
        """The same for Dagster. Days that do not exist yet, or lie before the first, are read as empty."""
        return dg.TimeWindowPartitionMapping(
            start_offset=self.start, end_offset=self.end, allow_nonexistent_upstream_partitions=True
        )

    def of(self, day: date) -> Iterator[date]:
        """The days that `day` reads."""
        return (day + timedelta(days=offset) for offset in range(self.start, self.end + 1))

    @property
    def is_same_day(self) -> bool:
        """Whether a day reads its own day alone, which then must be there."""
        return self.start == self.end == 0


SAME_DAY = Days()
