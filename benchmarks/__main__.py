"""All benchmarks or some, one by one, then the page of all their figures.

    python -m benchmarks [NAME ...] [--quick] [--photos FOLDER] [--speech FOLDER] [--scans FOLDER]

Each is also a command of its own, `python -m benchmarks.NAME`, with more options. Results are kept as JSON under
`benchmarks/results/`, from which `docs/benchmarks.md` is written; --quick keeps both apart, in `results/quick/`. One that
fails does not stop the others; the exit status then is 1. A missed target is a figure like any other.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import page
from benchmarks.figures import ROOT, results_folder

BENCHMARKS = (
    "classify",
    "rivals",
    "increment",
    "join",
    "store",
    "sensor",
    "stock_sensor",
    "orchestration",
    "status",
    "loader",
    "versions",
    "large_files",
    "big_day",
    "versions_rows",
    "file_skipping",
    "variants_photos",
    "variants_partition",
    "variants_media",
    "variants_text",
    "variants_tables",
    "variants_receipts_speed",
    "variants_receipts",
    "variants_styles",
    "variants_digits",
    "variants_bytes",
    "labels_weak",
    "labels_queue",
    "labels_agreement",
    "labels_consensus",
    "labels_formats",
    "labels_sync",
    "exploration_profiles",
    "exploration_drift",
    "exploration_slices",
    "exploration_map",
    "exploration_page",
    "exploration_suspects",
    "learning_photos",
    "learning_text",
    "online_historical",
    "online_state",
    "online_store",
    "online_stream",
    "online_serve",
)
FOLDERS = {
    **dict.fromkeys(
        (
            *("classify", "rivals", "increment", "loader", "variants_photos", "variants_partition", "variants_styles"),
            *("exploration_map", "exploration_suspects", "learning_photos", "online_serve"),
        ),
        "photos",
    ),
    "variants_digits": "speech",
    "variants_receipts": "scans",
}
"""Which folder a benchmark takes. Without photos it takes the sample's; the others need theirs."""
TIMEOUT_S = 5400


def main() -> int:
    """Run them; the exit status is 1 if one crashed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(BENCHMARKS)}; without, all")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that all run, measures nothing to quote")
    parser.add_argument("--photos", type=Path, help="a folder of JPEGs for the benchmarks that classify and decode")
    parser.add_argument("--speech", type=Path, help="a folder of {digit}_{speaker}_{take}.wav for the benchmark of digits")
    parser.add_argument("--scans", type=Path, help="a folder of scanned receipts for variants_receipts")
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHMARKS):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}: there are {', '.join(BENCHMARKS)}")
    results = results_folder(options.quick)
    chosen = [name for name in BENCHMARKS if name in (options.names or BENCHMARKS)]
    without_folder = [
        name for name in chosen if FOLDERS.get(name, "photos") != "photos" and not getattr(options, FOLDERS[name])
    ]
    for name in without_folder:
        print(f"{name} is left out: it needs --{FOLDERS[name]} FOLDER; an earlier result stays on the page")
    crashed = [name for name in chosen if name not in without_folder and not run(name, results, arguments(name, options))]
    target = results / "benchmarks.md" if options.quick else page.PAGE
    page.write(results, target, BENCHMARKS)
    print(f"\nAll figures: {target}")
    if crashed:
        print(f"Failed, see above: {', '.join(crashed)}", file=sys.stderr)
    return 1 if crashed else 0


def arguments(name: str, options: argparse.Namespace) -> list[str]:
    """What a benchmark is told of the options."""
    kind = FOLDERS.get(name)
    folder = getattr(options, kind) if kind else None
    return [*(["--quick"] if options.quick else []), *([f"--{kind}", str(folder.resolve())] if folder else [])]


def run(name: str, results: Path, arguments: list[str]) -> bool:
    """Run one in a process of its own; False if it failed. An earlier result goes first, or would hide it."""
    print(f"\n== {name} ==", flush=True)
    (results / f"{name}.json").unlink(missing_ok=True)
    command = [sys.executable, "-m", f"benchmarks.{name}", "--results", str(results), *arguments]
    started_at = time.monotonic()
    try:
        status = subprocess.run(command, cwd=ROOT, check=False, timeout=TIMEOUT_S).returncode
    except subprocess.TimeoutExpired:
        print(f"{name} took longer than {TIMEOUT_S} s", file=sys.stderr)
        return False
    print(f"{name} took {time.monotonic() - started_at:.0f} s", flush=True)
    return status == 0


if __name__ == "__main__":
    sys.exit(main())
