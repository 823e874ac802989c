"""The training table's point-in-time join against the same join written by hand, in polars and in DuckDB's SQL.

    python -m benchmarks.join [--events 10000000] [--rounds 5] [--largest 30000000]

Seeded data: a photo for ten events, a user for fifty. All read the same Parquet files and write a Parquet file; the tables
are equal (checked). Each run is a process of its own; they take turns; imports are not timed. Then ours alone, at a tenth
of the events and at the largest number, to see that its time is linear.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import polars as pl
from polars.testing import assert_frame_equal

from benchmarks.contests import take_turns
from benchmarks.figures import ROOT, Figure, add_options, at_most, finish
from benchmarks.join_inputs import OBSERVED_UNTIL, write_inputs
from benchmarks.rivals.environments import NotInstallable, python_of

EVENTS_A_PHOTO, EVENTS_A_USER = 10, 50
EVENTS, LARGEST, ROUNDS = 10_000_000, 30_000_000, 5
LINEAR = 1.25
"""How much dearer an event may be at thirty times as many: sorting them is log2(30e6) / log2(1e6) = 1.25 times as much."""
Run = Mapping[str, float]


def contestant(name: str, folder: Path, *arguments: str, python: Path = Path(sys.executable)) -> Callable[[], Run]:
    """One run of `rivals/join_NAME.py` on the inputs in `folder`; leaves NAME.parquet there. Returns s, cpu_s, peak_mb."""
    command = [python, "-m", f"benchmarks.rivals.join_{name}", folder, folder / f"{name}.parquet", *arguments]

    def run() -> Run:
        process = subprocess.run(list(map(str, command)), cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        return json.loads(process.stdout)

    return run


def contestants(folder: Path) -> tuple[dict[str, Callable[[], Run]], str]:
    """All that can run, and why DuckDB can't if so."""
    runners = {"darkroom": contestant("darkroom", folder), "polars": contestant("polars", folder)}
    try:
        runners["duckdb"] = contestant("duckdb", folder, OBSERVED_UNTIL.isoformat(), python=python_of("duckdb"))
    except NotInstallable as error:
        return runners, f"without DuckDB, which can't be installed: {error}"
    return runners, ""


def check_equal(folder: Path, names: Sequence[str]) -> None:
    """Raises AssertionError unless all made the same table, Darkroom's; only rounding may differ, and `split` be absent."""
    ours = pl.read_parquet(folder / "darkroom.parquet")
    for name in names:
        actual = pl.read_parquet(folder / f"{name}.parquet")
        columns = [column for column in ours.columns if column in actual.columns or column != "split"]
        expected = ours.select(columns)
        assert_frame_equal(actual.cast(dict(expected.schema)), expected, rel_tol=1e-5)


def contest(events: int, seed: int, rounds: int) -> tuple[dict[str, list[Run]], str]:
    """The runs of each contestant, by turns, and why one is absent. Raises AssertionError unless their tables are equal."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder, events, events // EVENTS_A_PHOTO, events // EVENTS_A_USER, seed)
        runners, absence = contestants(folder)
        runs = take_turns(runners, rounds)
        check_equal(folder, list(runners))
    return runs, absence


def alone(events: int, seed: int, rounds: int) -> list[Run]:
    """Runs of ours."""
    with tempfile.TemporaryDirectory() as name:
        write_inputs(Path(name), events, events // EVENTS_A_PHOTO, events // EVENTS_A_USER, seed)
        return take_turns({"darkroom": contestant("darkroom", Path(name))}, rounds)["darkroom"]


def median(runs: Sequence[Run], key: str) -> float:
    """Of one number over the runs."""
    return statistics.median(run[key] for run in runs)


def figures(runs: Mapping[str, Sequence[Run]], scaling: Mapping[int, Sequence[Run]], absence: str) -> list[Figure]:
    """Ours beside the faster rival, its memory, and its time for each event at the largest size beside the smallest."""
    seconds = {name: median(contest_runs, "s") for name, contest_runs in runs.items()}
    rival = min(seconds.keys() - {"darkroom"}, key=seconds.__getitem__)
    small, large = min(scaling), max(scaling)
    growth = median(scaling[large], "s") / large / (median(scaling[small], "s") / small)
    report = [
        Figure("beside the faster by hand", seconds["darkroom"] / seconds[rival], "x", at_most(1.1), absence or rival),
        Figure("peak memory", max(run["peak_mb"] for run in runs["darkroom"]), "MB", at_most(1000)),
        Figure(f"time an event, {large:,} beside {small:,}", growth, "x", at_most(LINEAR), "1 is linear"),
    ]
    for name, runs_of in runs.items():
        report += [
            Figure(f"{name}, seconds", median(runs_of, "s"), "s"),
            Figure(f"{name}, CPU seconds", median(runs_of, "cpu_s"), "s"),
        ]
        report += [Figure(f"{name}, peak memory", median(runs_of, "peak_mb"), "MB")] if name != "darkroom" else []
    for events, runs_of in sorted(scaling.items()):
        report += [
            Figure(f"darkroom, {events:,} events", median(runs_of, "s"), "s"),
            Figure(f"darkroom, {events:,} events, peak memory", median(runs_of, "peak_mb"), "MB"),
        ]
    return report


def main() -> None:
    """Generate, run by turns, compare, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--events", type=int, help=f"of the contest ({EVENTS:,}; with --quick 1,000,000)")
    parser.add_argument("--largest", type=int, help=f"of the largest run of ours ({LARGEST:,}; with --quick 3,000,000)")
    parser.add_argument("--rounds", type=int, help=f"of each contestant ({ROUNDS}; with --quick 1)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    shrunk = 10 if options.quick else 1
    events, largest = options.events or EVENTS // shrunk, options.largest or LARGEST // shrunk
    rounds = options.rounds or (1 if options.quick else ROUNDS)
    runs, absence = contest(events, options.seed, rounds)
    scaling = {size: alone(size, options.seed, rounds) for size in (events // 10, largest)}
    details = {"events": events, "seed": options.seed, "runs": runs, "scaling": scaling}
    finish(options, "join", figures(runs, scaling, absence), details)


if __name__ == "__main__":
    main()
