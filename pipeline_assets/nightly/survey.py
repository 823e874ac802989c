"""Which days should exist, and which of them are not current: gathers the arguments of `framework/staleness.py`.

Of the nights of a model, and of what exists for the newest day alone, only the newest is judged: an earlier one records
what was known then, and stays.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from pipeline_assets.framework import lost_days, recomputing, staleness
from pipeline_assets.framework.declaration import DECLARATIONS
from pipeline_assets.framework.partitions import daily, existing, set_aside
from pipeline_assets.ingestion.logs.log_days import complete_days
from pipeline_assets.nightly import calendars, night, photo_days
from pipeline_assets.training.observation import Observation
from resources.database import ledger, rejects, seen_objects


@dataclass(frozen=True)
class Range:
    """Days from first to last, both included."""

    first: date
    last: date

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last


@dataclass(frozen=True)
class Survey:
    """days: asset, day, reason, detail of every day that should exist; newest: the ledger's newest entry of each day.

    set_aside: sentences about uploads and logs of days that are no partitions. log_gaps: ascending days without a log that
    labels wait for.
    """

    days: pl.DataFrame
    newest: pl.DataFrame
    set_aside: tuple[str, ...] = ()
    log_gaps: tuple[date, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether the ledger has no upload, and nothing was computed."""
        return self.newest.is_empty() and self.days.filter(pl.col("asset") == "raw_uploads").is_empty()

    @property
    def stale(self) -> pl.DataFrame:
        """The days that are not current."""
        return self.days.filter(pl.col("reason").is_not_null())

    def of(self, assets: Sequence[str], within: Range | None) -> "Survey":
        """The survey restricted to these assets and days."""
        selected = pl.col("asset").is_in(list(assets))
        if within:
            selected &= pl.col("day").is_between(within.first, within.last)
        return Survey(self.days.filter(selected), self.newest.filter(selected), self.set_aside, self.log_gaps)


def rules(resources: Mapping[str, Any]) -> dict[str, staleness.Rule]:
    """The staleness rule of each asset, with the parts that these resources decide, such as the classifier."""
    return {name: DECLARATIONS[name].with_resources(resources).rule for name in calendars.ASSETS}


def survey(resources: Mapping[str, Any], today: date, nights: Range | None = None) -> Survey:
    """Judge all days from one reading of the ledger and of each source. nights: judge the models of these nights, too."""
    with ThreadPoolExecutor(len(calendars.ASSETS)) as pool:  # the database and the bucket answer at the same time
        entries = pool.submit(ledger.latest, resources["database"], calendars.ASSETS, date.min, date.max)
        logs = night.log_days(resources["lake_bucket"], today)
        newest = entries.result()
        uploads = seen_objects.upload_days(resources["database"], resources["uploads"].bucket)
        expected = _expected_days(uploads, newest, logs, today, nights)
        lost = pool.submit(lost_days.find, resources["lake"], resources["database"], newest)
        sources = {name: pool.submit(DECLARATIONS[name].source_digests, days, resources) for name, days in expected.items()}
        outside = {name: source.result() for name, source in sources.items()}
    sentences = [*set_aside("uploads", uploads, today), *set_aside("logs", logs, today)]
    sentences += [
        *photo_days.set_aside(resources["database"], daily.start.date(), today),
        *rejects.set_aside(resources["database"]),
    ]
    rules_by_asset = rules(resources)
    verdicts = staleness.survey(rules_by_asset, expected, newest, outside, lost_days.reasons(lost.result()))
    verdicts = recomputing.as_runs_will(verdicts, rules_by_asset, newest)
    return Survey(verdicts, newest, tuple(sentences), log_gaps(verdicts, newest, datetime.now(UTC)))


def log_gaps(verdicts: pl.DataFrame, newest: pl.DataFrame, now: datetime) -> tuple[date, ...]:
    """Past days without a log that labels of stored rows wait for, except days whose log the next run reads."""
    observation = Observation(complete_days(newest.filter(pl.col("asset") == "event_log"), now))
    rows = newest.filter(pl.col("asset") == "training_table", pl.col("rows") > 0)["day"]
    missing = {gap for day in rows for gap in observation.waits_for(day, now.date())}
    unread = verdicts.filter(pl.col("asset") == "event_log", pl.col("reason").is_not_null())["day"]
    return tuple(sorted(missing - set(unread)))


def _expected_days(
    uploads: Sequence[date], newest: pl.DataFrame, logs: Sequence[date], today: date, nights: Range | None
) -> dict[str, list[date]]:
    """The days by asset that should exist: those of uploads and logs, and those that were computed before."""
    expected: dict[str, set[date]] = {name: set() for name in calendars.ASSETS}
    for launch in night.launches(uploads, logs, today):
        for name in launch.assets:
            expected[name].update(launch.days())
    for (name,), entries in newest.partition_by("asset", as_dict=True).items():
        is_of_one_day = name in (*calendars.MODEL, *calendars.NEWEST)
        expected[str(name)].update(day for day in entries["day"] if not is_of_one_day or (nights and day in nights))
    return {name: sorted(existing(days, today)) for name, days in expected.items()}


def ranges(days: pl.Series) -> list[Range]:
    """The ranges of consecutive days, ascending."""
    spans: list[Range] = []
    for day in days.sort().to_list():
        if spans and day == spans[-1].last + timedelta(days=1):
            spans[-1] = Range(spans[-1].first, day)
        else:
            spans.append(Range(day, day))
    return spans
