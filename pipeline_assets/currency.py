"""Which days ought to be there, and which of them are not current: gathers what `versioning/staleness.py` judges.

For a model's night that is the newest one alone: an earlier night is a record of what was known then, and stays.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import polars as pl

from pipeline_assets import nightly
from pipeline_assets.table_asset import DECLARATIONS
from pipeline_assets.versioning import staleness
from resources import ledger


@dataclass(frozen=True)
class Range:
    """Days from first to last, both included."""

    first: date
    last: date

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last


@dataclass(frozen=True)
class Survey:
    """days: asset, day, reason, detail of every day that ought to be there; newest: the ledger's entries of all days."""

    days: pl.DataFrame
    newest: pl.DataFrame

    @property
    def stale(self) -> pl.DataFrame:
        """The days that are not current."""
        return self.days.filter(pl.col("reason").is_not_null())

    def of(self, assets: Sequence[str], within: Range | None) -> "Survey":
        """The part that is of these assets and days."""
        mine = pl.col("asset").is_in(list(assets))
        if within:
            mine &= pl.col("day").is_between(within.first, within.last)
        return Survey(self.days.filter(mine), self.newest.filter(mine))


def rules() -> dict[str, staleness.Rule]:
    """The rule of each asset, as declared."""
    return {name: DECLARATIONS[name].rule for name in nightly.ASSETS}


def survey(resources: Mapping[str, Any], today: date, nights: Range | None = None) -> Survey:
    """Judge all days, from one reading of the ledger and of each source. nights: judge these nights' models too."""
    with ThreadPoolExecutor(len(nightly.ASSETS)) as pool:  # the database and the bucket are waited for at once
        asked = pool.submit(ledger.latest, resources["postgres"], nightly.ASSETS, date.min, date.max)
        logs = nightly.log_days(resources["lake_bucket"])
        newest = asked.result()
        wanted = _wanted(resources, newest, logs, today, nights)
        sources = {name: pool.submit(DECLARATIONS[name].ask_outside, days, resources) for name, days in wanted.items()}
        outside = {name: source.result() for name, source in sources.items()}
    return Survey(staleness.survey(rules(), wanted, newest, outside), newest)


def _wanted(
    resources: Mapping[str, Any], newest: pl.DataFrame, logs: list[date], today: date, nights: Range | None
) -> dict[str, list[date]]:
    """By asset: the days that uploads and logs call for, and those that were computed for another reason."""
    uploads = ledger.upload_days(resources["postgres"], resources["uploads"].bucket)
    wanted: dict[str, set[date]] = {name: set() for name in nightly.ASSETS}
    for launch in nightly.launches(uploads, logs, today):
        for name in launch.assets:
            wanted[name].update(launch.days())
    for (name,), entries in newest.partition_by("asset", as_dict=True).items():
        is_model = name in nightly.MODEL
        wanted[str(name)].update(day for day in entries["day"] if not is_model or (nights and day in nights))
    return {name: sorted(days) for name, days in wanted.items()}


def ranges(days: pl.Series) -> list[Range]:
    """Runs of consecutive days, in order."""
    found: list[Range] = []
    for day in days.sort().to_list():
        if found and day == found[-1].last + timedelta(days=1):
            found[-1] = Range(found[-1].first, day)
        else:
            found.append(Range(day, day))
    return found
