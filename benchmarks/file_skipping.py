"""What it costs that the logs of tables have no smallest and largest values: files and CPU of reads, with and without them.

    python -m benchmarks.file_skipping [--days 100] [--repeats 7]

A seeded table of events, a file for each day, in a folder, written twice: by the lake, whose log counts rows only, and with
Delta's statistics of all columns. Days are partitions, so that both prune them. `photo_id` rises with the days, as the ids
of a database do, so that statistics leave nearly one file; `user_id` does not, and no file can be left out.
"""

import argparse
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from deltalake import write_deltalake

from benchmarks.contests import take_turns
from benchmarks.figures import Figure, add_options, at_most, finish
from resources.lake.lake import Lake

FIRST, ROWS = date(2026, 1, 1), 20_000
KINDS = {"rows counted": "counts", "Delta's statistics": "statistics"}


def main() -> None:
    """Write both tables, read them in turns, and report the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--days", type=int, help="days of the table (100; with --quick 10)")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    days = options.days or (10 if options.quick else 100)
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(url=str(Path(folder).resolve()))
        write(lake, days)
        finish(options, "file_skipping", [figure for name in READS for figure in figures(lake, name, days, options.repeats)])


def write(lake: Lake, days: int) -> None:
    """Both tables, one commit a day."""
    for number in range(days):
        rows = events(number)
        lake.replace("counts", [FIRST + timedelta(days=number)], rows)
        write_deltalake(lake.uri("statistics"), rows.to_arrow(), partition_by=["day"], mode="append")


def events(number: int) -> pl.DataFrame:
    """One day's events, seeded by its number."""
    random, day = np.random.default_rng(number), FIRST + timedelta(days=number)
    seconds = np.sort(random.integers(0, 86_400, ROWS))
    return pl.DataFrame(
        {
            "day": pl.Series([day] * ROWS, dtype=pl.Date),
            "event_id": [f"{value:032x}" for value in random.integers(0, 2**63, ROWS)],
            "user_id": random.integers(0, 20_000, ROWS),
            "photo_id": number * 1_000 + random.integers(0, 1_000, ROWS),
            "at": pl.Series(seconds * 10**6).cast(pl.Duration("us")) + datetime(day.year, day.month, day.day, tzinfo=UTC),
        }
    )


READS: dict[str, Callable[[Lake, str, int], pl.LazyFrame]] = {
    "one day": lambda lake, table, days: lake.scan(table, [FIRST + timedelta(days=days // 2)]),
    "one user": lambda lake, table, _: lake.scan(table).filter(user_id=777),
    "one photo": lambda lake, table, days: lake.scan(table).filter(photo_id=days // 2 * 1_000 + 7),
}


def figures(lake: Lake, name: str, days: int, repeats: int) -> list[Figure]:
    """Files and CPU of one read, of both tables."""
    contestants = {kind: (lambda table=table: cpu_s(READS[name](lake, table, days))) for kind, table in KINDS.items()}
    seconds = take_turns(contestants, repeats)
    middles = {kind: statistics.median(values) for kind, values in seconds.items()}
    opened = {kind: files(READS[name](lake, table, days)) for kind, table in KINDS.items()}
    rows = f"{days} days, {days * ROWS:,} rows"
    ratio = middles["rows counted"] / middles["Delta's statistics"]
    return [
        *(Figure(f"{name}: files read, {kind}", opened[kind], "files", note=rows) for kind in KINDS),
        *(Figure(f"{name}: CPU, {kind}", 1000 * middles[kind], "ms") for kind in KINDS),
        Figure(f"{name}: CPU beside Delta's statistics", ratio, "x", LIMITS.get(name)),
    ]


LIMITS = {"one day": at_most(1.2)}
"""What the nightly run reads are days."""


def cpu_s(frame: pl.LazyFrame) -> float:
    """CPU seconds of this process for a read."""
    started = time.process_time()
    frame.collect()
    return time.process_time() - started


def files(frame: pl.LazyFrame) -> int:
    """How many files the plan opens."""
    (scanned,) = re.findall(r"Parquet SCAN \[(.*)\]", frame.explain())
    _, *others = scanned.split(", ")
    return 1 + sum(int(more[1]) if (more := re.match(r"\.\.\. (\d+) other", other)) else 1 for other in others)


if __name__ == "__main__":
    main()
