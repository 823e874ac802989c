"""What Dagster and this project's own bookkeeping cost a day: a year of the light assets in one run, beside an empty asset.

    python -m benchmarks.orchestration [--days 365] [--photos 730] [--repeats 3]

Each repeat is a process of its own with new servers: photos are imported, then one run over all days each of an empty asset
of stock Dagster, of `photo_metadata`, `event_log` and `user_features`, of these three again with nothing new, and of the
empty one with events stored in batches, as this project sets it. Dagster's storage is the embedded PostgreSQL. A light
asset's time is all of it: its rows are made too.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from benchmarks.contests import measured
from benchmarks.figures import Figure, add_options, finish

LIGHT = ("photo_metadata", "event_log", "user_features")
MARGIN_DAYS = 60
"""Partitions begin this long before the year: logs and features look back."""


def main() -> None:
    """Run the repeats, tell ms a partition."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--days", type=int, help="partitions (365; with --quick 30)")
    parser.add_argument("--photos", type=int, help="over all days (two a day)")
    parser.add_argument("--repeats", type=int, help="(3; with --quick 1)")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    days = options.days or (30 if options.quick else 365)
    photos, repeats = options.photos or 2 * days, options.repeats or (1 if options.quick else 3)
    if options.inside:
        print(json.dumps(one_year(days, photos)))
        return
    runs = [in_own_process(days, photos) for _ in range(repeats)]
    finish(options, "orchestration", figures(runs, days), {"days": days, "photos": photos, "seconds": runs})


def in_own_process(days: int, photos: int) -> dict[str, float]:
    """One repeat under a home of its own; the first day of the partitions is read when modules are imported."""
    first = datetime.now(UTC).date() - timedelta(days=days + MARGIN_DAYS)
    with tempfile.TemporaryDirectory() as home:
        environment = {"DARKROOM_HOME": home, "DARKROOM_FIRST_DAY": first.isoformat()}
        sizes = ["--days", str(days), "--photos", str(photos)]
        usage = measured([sys.executable, "-m", "benchmarks.orchestration", "--inside", home, *sizes], env=environment)
    return json.loads(usage.output.splitlines()[-1])


def one_year(days: int, photos: int) -> dict[str, float]:
    """Seconds of each run."""
    from pipeline_assets.definitions import build_defs
    from pipeline_assets.nightly import dagster_runs, night
    from resources.servers import services
    from resources.settings import load_settings

    with services.running(load_settings()) as settings:
        first, last = import_photos(settings, days, photos)
        defs, empty = build_defs(settings), empty_asset(first - timedelta(days=1))
        with dg.DagsterInstance.from_config(str(settings.dagster_home), "cli.yaml") as instance:

            def run(assets: dg.Definitions, *names: str) -> float:
                return seconds_of(lambda: dagster_runs.execute(assets, instance, night.Launch(names, first, last)))

            def stock() -> float:
                with plain_dagster():
                    return run(empty, "empty")

            stock()  # the first run of a process pays for imports
            seconds = {"empty": stock()}
            seconds |= {name: run(defs, name) for name in LIGHT}
            seconds["nothing new"] = run(defs, *LIGHT)
            seconds["empty, batched"] = run(empty, "empty")
            seconds["empty again"] = stock()
    return seconds


@contextmanager
def plain_dagster() -> Iterator[None]:
    """Dagster as it comes, which stores materializations one by one."""
    saved = os.environ.pop("DAGSTER_EVENT_BATCH_SIZE")
    try:
        yield
    finally:
        os.environ["DAGSTER_EVENT_BATCH_SIZE"] = saved


def import_photos(settings: Any, days: int, photos: int) -> tuple[date, date]:
    """Photos over the days with simulated users and logs, as `darkroom import` does. Returns the first and last day."""
    from benchmarks.photos import photos as some_photos
    from pipeline_assets.features.popularity import FINAL_DAYS
    from pipeline_assets.sample import importing
    from resources.assembly import resolve

    resources = resolve(settings)
    files = [importing.File(name, data.__bytes__) for name, data in some_photos(None, photos)]
    today = datetime.now(UTC).date()
    importing.import_files(
        "benchmark",
        files,
        database=resources["database"],
        uploads=resources["uploads"].store,
        lake_bucket=resources["lake_bucket"].store,
        days=days,
        today=today,
        tell=lambda line: None,
    )
    first = today - timedelta(days=FINAL_DAYS + days)
    return first, first + timedelta(days=days - 1)


def empty_asset(first: date) -> dg.Definitions:
    """A daily asset of stock Dagster that does nothing, for a backfill in one run."""

    @dg.asset(
        partitions_def=dg.DailyPartitionsDefinition(start_date=first.isoformat(), timezone="UTC"),
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def empty() -> None:
        return None

    return dg.Definitions(assets=[empty], executor=dg.in_process_executor)


def seconds_of(run: Callable[[], dg.ExecuteInProcessResult]) -> float:
    """How long a run takes that succeeds."""
    began = time.perf_counter()
    result = run()
    seconds = time.perf_counter() - began
    assert result.success, "the run failed"
    return seconds


def figures(runs: list[dict[str, float]], days: int) -> list[Figure]:
    """Milliseconds a partition, and beside the empty asset's."""
    empty = statistics.median(run[name] for run in runs for name in ("empty", "empty again"))
    report = [Figure(f"empty asset of stock Dagster, {days} days in one run", empty / days * 1000, "ms a partition")]
    batched = statistics.median(run["empty, batched"] for run in runs)
    report.append(Figure("empty asset, events stored in batches as here", batched / days * 1000, "ms a partition"))
    for name in LIGHT:
        seconds = statistics.median(run[name] for run in runs)
        report.append(Figure(name, seconds / days * 1000, "ms a partition"))
        report.append(Figure(f"{name} beside the empty asset", seconds / empty, "x"))
    unchanged = statistics.median(run["nothing new"] for run in runs) / len(LIGHT)
    report.append(Figure("the three with nothing new", unchanged / days * 1000, "ms a partition"))
    report.append(Figure("the three with nothing new, beside the empty asset", unchanged / empty, "x"))
    return report


if __name__ == "__main__":
    main()
