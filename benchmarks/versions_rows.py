"""A table of a million rows: pinning it, and what two pins differ in.

    python -m benchmarks.versions_rows [--rows 1000000] [--repeats 3]

A seeded training_table on the embedded S3, of 100 days with all its columns, its embeddings of 32 numbers instead of 1,280.
Then 1,000 rows become others, of which 100 are new and 100 are gone: all of one day, or ten of each day, so that no day's
file is the one before. Whole commands are timed, `darkroom pin` and `darkroom diff`, with the start of Python and the
memory of all of its process. Pinning moves no photo: all of it is work beyond the bytes.
"""

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.contests import Used, measured
from benchmarks.figures import Figure, add_options, at_most, finish
from benchmarks.home import Home, fresh_home
from pipeline_assets.training.schemas import SPLITS, TrainingTable
from resources.assembly import resolve
from resources.database import ledger
from resources.servers.services import running
from resources.settings import load_settings

ROWS, DAYS, CHANGED, EMBEDDING = 1_000_000, 100, 1_000, 32
FIRST = date(2026, 1, 1)
PLACES = {"one day": 1, "every day": DAYS}
"""In how many days the changed rows lie."""


def training_rows(number: int, rows: int, first_id: int = 0) -> pl.DataFrame:
    """One day of the table, seeded by its number; photos are numbered from first_id."""
    random = np.random.default_rng(number)
    schema = TrainingTable.create_empty().schema
    day = FIRST + timedelta(days=number)
    views = random.poisson(60, rows)
    columns: dict[str, Any] = {
        name: random.gamma(2.0, 3.0, rows).astype(np.float32) for name, dtype in schema.items() if dtype.is_numeric()
    }
    columns |= {
        "photo_id": np.arange(rows) + number * 10**7 + first_id,
        "user_id": random.integers(0, 20_000, rows),
        "posted_at": random.integers(0, 86_400, rows),
        "has_location": random.random(rows) < 0.4,
        "top_class": [f"class {label}" for label in random.integers(0, 150, rows)],
        "embedding": pl.Series(random.random((rows, EMBEDDING), np.float32)).arr.to_list(),
        "split": random.choice(SPLITS, rows),
        "views_7d": views,
        "popularity": np.log2(views / 7 + 1),
    }
    midnight = pl.lit(datetime.combine(day, time(), UTC))
    return (
        pl.DataFrame(columns)
        .with_columns(
            day=pl.lit(day),
            sha256=pl.Series([hashlib.sha256(f"{photo_id}".encode()).hexdigest() for photo_id in columns["photo_id"]]),
            posted_at=midnight + pl.duration(seconds="posted_at"),
            model_id=pl.lit("efficientnet-lite0-benchmark"),
        )
        .select(schema.names())
        .cast(dict(schema))
    )


def changed(rows: pl.DataFrame, number: int, count: int) -> pl.DataFrame:
    """The day with so many rows that are others: a tenth new, a tenth gone, the rest with another label."""
    tenth = max(count // 10, 1)
    new = training_rows(number, tenth, first_id=5 * 10**6)
    moved = pl.int_range(pl.len()) < count - 2 * tenth
    unchanged = rows.head(-tenth).with_columns(pl.when(moved).then(pl.col("views_7d") + 7).otherwise("views_7d"))
    return pl.concat([unchanged, new])


def uploads_of(rows: pl.DataFrame) -> pl.DataFrame:
    """The columns of raw_uploads that pinning reads."""
    return rows.select(
        "day",
        "sha256",
        size_bytes=pl.lit(100_000, pl.Int64),
        bucket=pl.lit("uploads"),
        key=pl.format("{}/1/{}.jpg", "day", "photo_id"),
        version_id=pl.col("sha256").str.tail(16),
        media_type=pl.lit("image/jpeg"),
    )


def write(frames: Sequence[pl.DataFrame]) -> None:
    """Replace days of both tables and enter them into the ledger, as a run would."""
    with running(load_settings()) as settings:
        resources = resolve(settings)
        lake, database = resources["lake"], resources["database"]
        days = [frame["day"][0] for frame in frames]
        for asset, frames_of in (("raw_uploads", [uploads_of(frame) for frame in frames]), ("training_table", frames)):
            version = lake.replace(asset, days, pl.concat(frames_of))
            entries = [
                ledger.Materialization(
                    asset, day, ledger.digest_of([f"{day} {version}"]), frame.height, 0, "code", "", {}, version, None, "run"
                )
                for day, frame in zip(days, frames_of, strict=True)
            ]
            ledger.record(database, entries)


def make(rows: int) -> None:
    """The whole table, ten days at a time."""
    a_day = rows // DAYS
    for start in range(0, DAYS, 10):
        write([training_rows(number, a_day) for number in range(start, start + 10)])


def change(rows: int, days: int) -> None:
    """CHANGED rows become others, in so many days."""
    a_day = rows // DAYS
    for start in range(0, days, 10):
        numbers = range(start, min(start + 10, days))
        write([changed(training_rows(number, a_day), number, CHANGED // days) for number in numbers])


def darkroom(home: Home, repository: Path, *words: str) -> Used:
    """One command of Darkroom in a repository, measured."""
    command = [sys.executable, "-m", "pipeline_assets.cli", *words]
    return measured(command, cwd=repository, env={"DARKROOM_HOME": str(home.folder), **home.settings})


def contest(rows: int, repeats: int) -> dict[str, Any]:
    """Pins of a fresh table and of two changed ones, and their differences, measured."""
    with fresh_home("benchmarks.versions_rows") as home:
        repository = home.folder.parent / "repository"
        repository.mkdir()
        git(repository, "init", "--quiet")
        git(repository, "commit", "--quiet", "--allow-empty", "--message", "start")
        home.step("make", "--rows", rows)
        pin = ["pin", "before", "--allow-stale"]
        outcomes: dict[str, Any] = {"pin": [darkroom(home, repository, *pin) for _ in range(repeats)]}
        outcomes["json_bytes"] = (repository / "datasets" / "before.json").stat().st_size
        for place, days in PLACES.items():
            home.step("change", "--rows", rows, "--changed-days", days)
            darkroom(home, repository, "pin", "after", "--allow-stale")
            runs = [darkroom(home, repository, "diff", "before", "after", "--json") for _ in range(repeats)]
            outcomes[place] = runs
            check(json.loads(runs[0].output)["rows"])
    return outcomes


def check(rows: Mapping[str, Any]) -> None:
    """Raises AssertionError unless a difference is the one that was made."""
    tenth = CHANGED // 10
    assert (rows["added"], rows["removed"], rows["changed"]) == (tenth, tenth, CHANGED - 2 * tenth), rows


def git(folder: Path, *words: str) -> None:
    """Run git as somebody."""
    author = ["-c", "user.name=benchmark", "-c", "user.email=benchmark@example.org"]
    subprocess.run(["git", *author, *words], cwd=folder, check=True)


def figures(outcomes: Mapping[str, Any]) -> list[Figure]:
    """Medians of the seconds, the worst of the memory."""
    pins: list[Used] = outcomes["pin"]
    report = [
        Figure("pin, beyond the bytes", statistics.median(run.wall_s for run in pins), "s", at_most(30)),
        Figure("pin, peak memory", max(run.peak_mb for run in pins), "MB"),
        Figure("the reference", outcomes["json_bytes"], "bytes", at_most(4095)),
    ]
    for place in PLACES:
        runs: list[Used] = outcomes[place]
        seconds = statistics.median(run.wall_s for run in runs)
        memory = max(run.peak_mb for run in runs)
        report += [
            Figure(f"diff, {CHANGED:,} rows in {place}", seconds, "s", at_most(5)),
            Figure(f"diff, {CHANGED:,} rows in {place}, peak memory", memory, "MB", at_most(500)),
        ]
    return report


def main() -> None:
    """Generate, pin, change, compare, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--rows", type=int, help=f"of the table ({ROWS:,}; with --quick 200,000)")
    parser.add_argument("--repeats", type=int, help="of each command (3; with --quick 1)")
    parser.add_argument("--step", choices=("make", "change"), help=argparse.SUPPRESS)
    parser.add_argument("--changed-days", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    rows = options.rows or (200_000 if options.quick else ROWS)
    if options.step:
        make(rows) if options.step == "make" else change(rows, options.changed_days)
        print("{}")
        return
    runs = contest(rows, options.repeats or (1 if options.quick else 3))
    details = {name: [vars(run) | {"output": ""} for run in runs[name]] for name in ("pin", *PLACES)}
    finish(options, "versions_rows", figures(runs), {"rows": rows, "days": DAYS, **details})


if __name__ == "__main__":
    main()
