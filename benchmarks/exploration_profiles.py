"""Profiles of a large table, beside Polars' own `describe` on the same file, in CPU seconds.

    python -m benchmarks.exploration_profiles [--rows 10000000] [--rounds 3]

Eight columns: two floats, two whole numbers, a time, a boolean, a category and a text with millions of values. `describe`
gives counts, means, deviations, three quartiles and extremes. A profile adds distinct values, frequent values, lengths and a
histogram, by day. Both read the same Parquet file, each in its own process; memory is what the largest resident set
has over that at the start.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.figures import ROOT, Figure, add_options, at_most, finish
from pipeline_assets.exploration.profiles.columns import Column, Kind
from pipeline_assets.exploration.profiles.profile import profiles

ROWS, ROUNDS, MOST = 10_000_000, 3, 2.0
FIRST, DAYS = date(2026, 2, 1), 10
KINDS: dict[str, Kind] = {
    **dict.fromkeys(("brightness", "size", "followers", "likes"), "number"),
    **{"posted_at": "time", "has_location": "category", "look": "category", "title": "text"},
}


def write(path: Path, rows: int) -> None:
    """A table of `DAYS` days, a million rows at a time."""
    generator = np.random.default_rng(0)
    parts = []
    for start in range(0, rows, 1_000_000):
        count = min(1_000_000, rows - start)
        days = np.sort(generator.integers(0, DAYS, count))
        frame = pl.DataFrame(
            {
                "day": np.datetime64(FIRST) + days,
                "brightness": generator.standard_normal(count),
                "size": generator.gamma(2, 10, count).astype(np.float32),
                "followers": generator.lognormal(5, 1.5, count).astype(np.int64),
                "likes": generator.poisson(3, count).astype(np.int32),
                "posted_at": np.datetime64(FIRST, "us") + generator.integers(0, 86_400_000_000, count),
                "has_location": generator.random(count) < 0.4,
                "look": pl.Series(generator.integers(0, 12, count)).cast(pl.String),
                "title": pl.Series(generator.integers(0, rows, count)).cast(pl.String),
            }
        )
        part = path.with_name(f"part-{start}.parquet")
        frame.with_columns(pl.col("day").cast(pl.Date)).write_parquet(part)
        parts.append(part)
    pl.scan_parquet(parts).sort("day").sink_parquet(path, row_group_size=250_000)
    for part in parts:
        part.unlink()


def memory_mb(field: str) -> float:
    """This process's memory: VmRSS, or its largest value so far, VmHWM. Linux alone."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field)]
    return int(line.split()[1]) / 1024


def measure(path: Path, what: str) -> dict[str, float]:
    """CPU seconds, and growth of memory in MB, of `ours` or `describe` in this process."""
    rows = pl.scan_parquet(path)
    before = memory_mb("VmRSS")
    began = time.process_time()
    if what == "ours":
        schema = rows.collect_schema()
        columns = [Column(name, schema[name], kind) for name, kind in KINDS.items()]
        days = rows.select(pl.col("day").unique()).collect()["day"]
        profiles(rows, "photos", columns, dict.fromkeys(days, "digest"))
    else:
        rows.select(list(KINDS)).describe()
    return {"cpu_s": time.process_time() - began, "mb": memory_mb("VmHWM") - before}


def in_process(path: Path, what: str) -> dict[str, float]:
    """The same in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.exploration_profiles", "--measure", what, str(path)]
    result: dict[str, float] = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    return result


def main() -> None:
    """Measure, compare, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--rows", type=int, default=ROWS, help=f"of the table ({ROWS:,})")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of each, in turn ({ROUNDS})")
    parser.add_argument("--measure", nargs=2, metavar=("WHAT", "PATH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(Path(options.measure[1]), options.measure[0])))
        return
    rows = 200_000 if options.quick else options.rows
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        write(path, rows)
        found = {"ours": list[dict[str, float]](), "describe": list[dict[str, float]]()}
        for _ in range(options.rounds):
            for what, measured in found.items():
                measured.append(in_process(path, what))
    cpu_s = {what: statistics.median(one["cpu_s"] for one in measured) for what, measured in found.items()}
    memory = {what: max(one["mb"] for one in measured) for what, measured in found.items()}
    figures = [
        Figure(f"profile of {rows:,} rows, 8 columns, 10 days", cpu_s["ours"], "CPU s"),
        Figure("Polars' describe of the same, without days", cpu_s["describe"], "CPU s"),
        Figure("profile, as a multiple of describe", cpu_s["ours"] / cpu_s["describe"], "", at_most(MOST)),
        Figure("memory of the profile", memory["ours"], "MB", note=f"describe: {memory['describe']:,.0f} MB"),
    ]
    finish(options, "exploration_profiles", figures, {"rounds": found})


if __name__ == "__main__":
    main()
