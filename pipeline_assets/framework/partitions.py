"""The daily partitions, and windows of days."""

import warnings
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import dagster as dg

from pipeline_assets.errors import SettingsDiffer
from resources.settings import Settings, load_settings

# Dagster's beta and preview features are used on purpose: users need no notice.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)

DECLARED = load_settings()
"""The settings with which this process loaded the assets; declarations contain some of them, see `require_declared`."""
FIXED = ("first_day", "training_window_days", "max_quarantined_share")
"""Settings in declarations: of partitions, windows of days and checks. All others come with resources."""

daily = dg.DailyPartitionsDefinition(start_date=DECLARED.first_day, timezone="UTC", end_offset=1)
"""UTC upload days, today included: an upload is processed on its day, and again when it is late."""


@dataclass(frozen=True)
class Days:
    """The upstream days that a day reads, as offsets from it, both ends included.

    may_be_missing: whether a day is computed without the same day of the input, too. Days of a longer window always may.
    """

    start: int = 0
    end: int = 0
    may_be_missing: bool = False

    @property
    def mapping(self) -> dg.PartitionMapping:
        """The same as Dagster's mapping. Days before the first partition, and those that do not exist yet, read as empty."""
        return dg.TimeWindowPartitionMapping(
            start_offset=self.start, end_offset=self.end, allow_nonexistent_upstream_partitions=True
        )

    def of(self, day: date) -> Iterator[date]:
        """The days that `day` reads."""
        return (day + timedelta(days=offset) for offset in range(self.start, self.end + 1))

    @property
    def is_same_day(self) -> bool:
        """Whether a day reads only the same day, which must exist then."""
        return self.start == self.end == 0 and not self.may_be_missing


SAME_DAY = Days()
SAME_DAY_IF_ANY = Days(may_be_missing=True)


def require_declared(settings: Settings) -> None:
    """Raise SettingsDiffer if these settings differ from those in the declarations of this process."""
    for name in FIXED:
        declared, requested = getattr(DECLARED, name), getattr(settings, name)
        if declared != requested:
            variable = f"DARKROOM_{name.upper()}"
            raise SettingsDiffer(
                f"the assets were loaded with {variable}={declared}, and can't change to {requested} in the same process: "
                f"set {variable} in the environment before it starts"
            )


EARLIEST = date(1970, 1, 1)
"""Keys may contain any day: messages never suggest an earlier first partition."""


def existing(days: Iterable[date], today: date) -> list[date]:
    """The days that are partitions by now, in the given order."""
    return [day for day in days if daily.start.date() <= day <= today]


def set_aside(what: str, days: Collection[date], today: date) -> list[str]:
    """Sentences about days that are no partitions, one for each cause, with what to do.

    what: uploads, or logs. Uploaders choose keys, and clocks may be wrong: such days do not affect others.
    """
    first, outside = daily.start.date(), sorted(set(days) - set(existing(days, today)))
    impossible = [day for day in outside if day < EARLIEST]
    early = [day for day in outside if EARLIEST <= day < first]
    late = [day for day in outside if day >= max(first, EARLIEST)]
    sentences = []
    if impossible:
        sentences.append(
            f"{what} of {_span(impossible)} are set aside: no day before {EARLIEST} can be a partition, "
            "so their keys are wrong."
        )
    if early:
        sentences.append(
            f"{what} of {_span(early)} are set aside: before the first partition, {first}. To take them in, "
            f"set DARKROOM_FIRST_DAY={early[0]}."
        )
    if late:
        sentences.append(f"{what} of {_span(late)} are set aside: a day is taken in once it has begun.")
    return sentences


def _span(days: list[date]) -> str:
    return str(days[0]) if len(days) == 1 else f"{len(days):,} days from {days[0]} to {days[-1]}"
