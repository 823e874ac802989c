"""`python -m benchmarks`: every benchmark at its default size, one after another. Each is also a command of its own."""

import subprocess
import sys
from pathlib import Path

BENCHMARKS = ("store", "join", "classify", "sensor", "stock_sensor")


def main() -> int:
    """Run them all; the exit status is that of the first that failed."""
    status = 0
    for name in BENCHMARKS:
        print(f"\n== {name} ==", flush=True)
        done = subprocess.run([sys.executable, str(Path(__file__).with_name(f"{name}.py")), *sys.argv[1:]], check=False)
        status = status or done.returncode
    return status


if __name__ == "__main__":
    sys.exit(main())
