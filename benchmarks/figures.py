"""What a benchmark reports: figures with their targets, printed as a table and kept as JSON.

A benchmark module builds `Figure`s and ends with `finish`; `page.py` makes the page of all of them.
"""

import argparse
import json
import math
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from scipy.stats import t as student

from benchmarks.machine import machine

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("results")
_RESULTS = (":!benchmarks/results", ":!docs/benchmarks.md")


@dataclass(frozen=True)
class Target:
    """A bound that a value must keep, itself included."""

    limit: float
    side: Literal["least", "most"]

    def is_met(self, value: float) -> bool:
        """Whether the value keeps the bound."""
        return value >= self.limit if self.side == "least" else value <= self.limit

    def __str__(self) -> str:
        return f"{'>=' if self.side == 'least' else '<='} {number(self.limit)}"


def at_least(limit: float) -> Target:
    """A target for what should be large."""
    return Target(limit, "least")


def at_most(limit: float) -> Target:
    """A target for what should be small."""
    return Target(limit, "most")


@dataclass(frozen=True)
class Figure:
    """One measured number. value: None where it could not be measured, and `note` then says why."""

    name: str
    value: float | None
    unit: str
    target: Target | None = None
    note: str = ""
    command: str = ""
    """What measures it; empty: the command of its benchmark."""

    def __post_init__(self) -> None:
        if self.value is None and not self.note:
            raise ValueError(f"{self.name} has no value: say in its note why.")

    @property
    def ok(self) -> bool | None:
        """Whether the target is met; None if there is none. What could not be measured has not met it."""
        if self.target is None:
            return None
        return self.value is not None and self.target.is_met(self.value)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half of its 95% interval by Student's t; NaN of one value."""
    mean, freedom = statistics.mean(values), len(values) - 1
    if not freedom:
        return mean, math.nan
    return mean, float(student.ppf(0.975, freedom)) * statistics.stdev(values) / math.sqrt(len(values))


def number(value: float | None) -> str:
    """Three significant digits or all whole ones, thousands grouped; a dash for nothing."""
    if value is None:
        return "-"
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def verdict(ok: bool | None) -> str:
    """The word for the last column."""
    return {True: "ok", False: "missed", None: ""}[ok]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The two options that every benchmark has: --quick and --results."""
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it runs, measures nothing to quote")
    parser.add_argument("--results", type=Path, help="folder for the result's JSON; without it, one in this folder")


def results_folder(is_quick: bool) -> Path:
    """Where results lie: those of small sizes apart, so that no page quotes them."""
    return RESULTS / "quick" if is_quick else RESULTS


def finish(
    options: argparse.Namespace, benchmark: str, figures: Sequence[Figure], details: Mapping[str, Any] | None = None
) -> None:
    """Print a benchmark's figures and write RESULTS/BENCHMARK.json. details: what else to keep, such as each run."""
    show(benchmark, figures)
    folders = "".join(f" --{name} FOLDER" for name in ("photos", "speech", "scans") if getattr(options, name, None))
    command = f"python -m benchmarks.{benchmark}{folders}{' --quick' if options.quick else ''}"
    write(options.results or results_folder(options.quick), benchmark, figures, command, details or {})


def show(title: str, figures: Sequence[Figure]) -> None:
    """Print figures as a table."""
    table = Table(title=title)
    for column in ("figure", "value", "unit", "target", "", "note"):
        table.add_column(column, justify="right" if column == "value" else "left")
    for figure in figures:
        target = str(figure.target) if figure.target else ""
        table.add_row(figure.name, number(figure.value), figure.unit, target, verdict(figure.ok), figure.note)
    Console().print(table)


def write(folder: Path, benchmark: str, figures: Sequence[Figure], command: str, details: Mapping[str, Any]) -> Path:
    """Write one benchmark's JSON: benchmark, measured_at, commit, machine, figures, details. Returns its path."""
    result = {
        "benchmark": benchmark,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": machine(),
        "figures": [as_json(figure, command) for figure in figures],
        "details": dict(details),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{benchmark}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return path


def as_json(figure: Figure, command: str) -> dict[str, Any]:
    """One figure as the JSON keeps it; its target as text beside the verdict."""
    return {
        **asdict(figure),
        "target": str(figure.target) if figure.target else None,
        "ok": figure.ok,
        "command": figure.command or command,
    }


def _commit() -> str | None:
    """The commit that was measured, with `+` if the tree has changes but results; None outside a repository."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "--", ".", *_RESULTS) else "")
    except (OSError, subprocess.CalledProcessError):
        return None
