"""`python -m benchmarks [NAME ...] [--quick] [--photos FOLDER] [--scans FOLDER]`: one by one, then the page of all figures.

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
    "variants_photos",
    "variants_media",
    "variants_text",
    "variants_tables",
    "variants_receipts_speed",
    "variants_receipts",
    "variants_styles",
)
OF_PHOTOS = ("classify", "rivals", "increment", "loader", "variants_photos", "variants_styles")
"""Those that take a folder of photos instead of the sample."""
TIMEOUT_S = 1800


def main() -> int:
    """Run them; the exit status is 1 if one crashed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(BENCHMARKS)}; without, all")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that all run, measures nothing to quote")
    parser.add_argument("--photos", type=Path, help="a folder of JPEGs for the benchmarks that classify and decode")
    parser.add_argument("--scans", type=Path, help="a folder of scanned receipts for variants_receipts")
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHMARKS):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}: there are {', '.join(BENCHMARKS)}")
    results = results_folder(options.quick)
    chosen = [name for name in BENCHMARKS if name in (options.names or BENCHMARKS)]
    crashed = [name for name in chosen if not run(name, results, arguments(name, options))]
    target = results / "benchmarks.md" if options.quick else page.PAGE
    page.write(results, target, BENCHMARKS)
    print(f"\nAll figures: {target}")
    if crashed:
        print(f"Failed, see above: {', '.join(crashed)}", file=sys.stderr)
    return 1 if crashed else 0


def arguments(name: str, options: argparse.Namespace) -> list[str]:
    """What a benchmark is told of the options."""
    quick = ["--quick"] if options.quick else []
    if options.scans and name == "variants_receipts":
        return [*quick, "--scans", str(options.scans.resolve())]
    return [*quick, "--photos", str(options.photos.resolve())] if options.photos and name in OF_PHOTOS else quick


def run(name: str, results: Path, told: list[str]) -> bool:
    """Run one in a process of its own; False if it failed. An earlier result goes first, or would hide it."""
    print(f"\n== {name} ==", flush=True)
    (results / f"{name}.json").unlink(missing_ok=True)
    command = [sys.executable, "-m", f"benchmarks.{name}", "--results", str(results), *told]
    started = time.monotonic()
    try:
        status = subprocess.run(command, cwd=ROOT, check=False, timeout=TIMEOUT_S).returncode
    except subprocess.TimeoutExpired:
        print(f"{name} took longer than {TIMEOUT_S} s", file=sys.stderr)
        return False
    print(f"{name} took {time.monotonic() - started:.0f} s", flush=True)
    return status == 0


if __name__ == "__main__":
    sys.exit(main())
