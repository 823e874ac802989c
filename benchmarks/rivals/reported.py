"""What a contestant says of itself when it is done: one line of JSON, for whoever started it."""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path


def reported(work: Callable[[], object]) -> None:
    """Do the work, then print its seconds, wall and CPU (imports left out), and the whole process's peak in MB."""
    began, cpu = time.perf_counter(), time.process_time()
    work()
    usage = {"s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu, "peak_mb": peak_mb()}
    print(json.dumps(usage))


def peak_mb() -> float:
    """The most memory that this process has had resident."""
    try:  # ru_maxrss counts what the process that started this one had resident, too
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    except (OSError, IndexError):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
