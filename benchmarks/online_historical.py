"""Features of a million asks at their own moments: ours beside Feast's offline stores and polars' `join_asof`.

    python -m benchmarks.online_historical [--rows 1000000] [--rounds 1] [--feast PYTHON]

Seeded logs of 60 days: 300,000 events of 6,000 users. Ours are computed from the events, and exact at the asked microsecond;
the others look up the newest of daily snapshots, which are computed before and not timed. All eight features, each run a
process of its own, in turns; imports are not timed. Feast's file store takes 9 GB of memory for a million rows.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.contests import take_turns
from benchmarks.figures import ROOT, Figure, add_options, at_least, at_most, finish
from benchmarks.join_inputs import DAY_US, DAYS, SPAN_DAYS, START, TIME, write_inputs
from benchmarks.rivals.environments import NotInstallable, python_of
from pipeline_assets.features.history import FEATURES
from pipeline_assets.features.user_features import user_features_for_days

ROWS, USERS, EVENTS, PHOTOS = 1_000_000, 6_000, 300_000, 30_000
FIRST_DAY = 5
"""Of the asks: each has a snapshot before it."""
OURS = {"darkroom": "Darkroom", "polars": "join_asof of snapshots"}
FEAST = {"file": "Feast's file store", "duckdb": "Feast's DuckDB store"}
CPU_TARGETS = {"file": 20, "duckdb": 8}
MEMORY_TARGETS = {"file": 10}
Run = Mapping[str, float]


def write_asks(folder: Path, rows: int, seed: int) -> None:
    """Events, photos, asks (row, user_id, as_of, joined_at) and daily snapshots, as Parquet."""
    write_inputs(folder, EVENTS, PHOTOS, USERS, seed)
    rng = np.random.default_rng(seed)
    joined_at = pl.lit(START - timedelta(days=90)).cast(TIME)
    offset = rng.integers(FIRST_DAY * DAY_US, SPAN_DAYS * DAY_US, rows)
    asks = pl.DataFrame({"row": np.arange(rows), "user_id": rng.integers(0, USERS, rows), "offset": offset})
    moment = pl.lit(START).cast(TIME) + pl.duration(microseconds="offset")
    asks.select("row", "user_id", as_of=moment, joined_at=joined_at).write_parquet(folder / "asks.parquet")
    events, photos = (pl.scan_parquet(folder / f"{name}.parquet") for name in ("event_log", "photo_metadata"))
    users = pl.LazyFrame({"user_id": range(USERS)}).with_columns(joined_at=joined_at)
    snapshots = user_features_for_days(DAYS, events, photos, users).collect()
    snapshots.select("user_id", "as_of", *FEATURES).write_parquet(folder / "snapshots.parquet")


def contestant(python: Path, module: str, name: str, folder: Path) -> Callable[[], Run]:
    """One run, which leaves NAME.parquet in the folder. Returns s, cpu_s, peak_mb."""
    command = [python, "-m", f"benchmarks.rivals.{module}", name, folder]

    def run() -> Run:
        done = subprocess.run(list(map(str, command)), cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        result: Run = json.loads(done.stdout.splitlines()[-1])
        return result

    return run


def different(folder: Path, left: str, right: str) -> int:
    """Rows in which a feature differs; what is not known may be null or NaN."""
    frames = [
        pl.read_parquet(folder / f"{name}.parquet").select(pl.col(FEATURES).cast(pl.Float64)) for name in (left, right)
    ]
    first, second = (frame.fill_nan(None) for frame in frames)
    pairs = first.hstack(second.rename({name: f"{name}_right" for name in FEATURES}))
    same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"{name}_right")) for name in FEATURES)
    return int(pairs.select((~same).sum()).item())


def figures_of(runs: Mapping[str, list[Run]], folder: Path, rows: int, why: str) -> list[Figure]:
    """CPU and memory of each, Feast's as multiples of ours, and whose rows differ."""
    middle = {name: {key: statistics.median(run[key] for run in some) for key in some[0]} for name, some in runs.items()}
    figures = []
    for name, label in (OURS | FEAST).items():
        if one := middle.get(name):
            figures.append(Figure(f"{label}: CPU", one["cpu_s"], "s", note=f"{one['s']:.1f} s of the clock"))
            figures.append(Figure(f"{label}: peak memory", one["peak_mb"], "MB"))
    ours = middle["darkroom"]
    for name, label in FEAST.items():
        one = middle.get(name)
        cpu, memory = (one[key] / ours[key] if one else None for key in ("cpu_s", "peak_mb"))
        figures.append(Figure(f"{label}: CPU, as a multiple of ours", cpu, "", at_least(CPU_TARGETS[name]), why))
        target = at_least(MEMORY_TARGETS[name]) if name in MEMORY_TARGETS else None
        figures.append(Figure(f"{label}: memory, as a multiple of ours", memory, "", target, why))
        if one:
            figures.append(
                Figure(f"{label}: rows other than by join_asof", different(folder, name, "polars"), "", at_most(0))
            )
    share = 100 * different(folder, "polars", "darkroom") / rows
    return [*figures, Figure("rows for which the snapshot differs from the exact features", share, "%")]


def main() -> None:
    """Measure, compare, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--feast", type=Path, help="a Python that has feast and ibis-framework[duckdb]; without it, one is made"
    )
    options = parser.parse_args()
    rows = 20_000 if options.quick else options.rows
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_asks(folder, rows, options.seed)
        here = Path(sys.executable)
        contestants = {name: contestant(here, "historical_ours", name, folder) for name in OURS}
        why = ""
        try:
            python = options.feast or python_of("feast")
            contestants |= {name: contestant(python, "historical_feast", name, folder) for name in FEAST}
        except NotInstallable as error:
            why = f"Feast can't be installed: {error}"
        runs = take_turns(contestants, options.rounds)
        finish(options, "online_historical", figures_of(runs, folder, rows, why), {"runs": runs})


if __name__ == "__main__":
    main()
