"""A bounded load of `darkroom serve` on loopback: requests a second, p50 and p99, CPU per request, and memory.

    python -m benchmarks.online_serve [--photos FOLDER] [--seconds 60] [--home HOME]

The server runs on a project with a model and online states: HOME, or the sample, computed first. Predictions are of new
photos' bytes, features of JSON, over a few connections. Client and server share the machine's cores.
"""

import argparse
import asyncio
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.figures import Figure, add_options, at_least, at_most, finish
from benchmarks.photos import photos

BOUNDARY = "darkroom-bench"
USERS = (1001, 1002, 1003, 1004)
"""Users that the sample has."""
PHOTOS = 40


@dataclass(frozen=True)
class Load:
    """What one load measured. Times in milliseconds; megabytes of the server."""

    requests: int
    per_s: float
    p50_ms: float
    p99_ms: float
    server_cpu_ms: float
    mb_before: int
    mb_after: int


@contextmanager
def sample_home(home: Path | None) -> Iterator[dict[str, str]]:
    """The environment of a project with a model and online states: the home, or the sample's in a temporary folder."""
    if home is not None:
        yield {**os.environ, "DARKROOM_HOME": str(home)}
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        own = {key: value for key, value in os.environ.items() if not key.startswith(("DARKROOM_", "DAGSTER_"))}
        environment = {
            **own,
            "DARKROOM_HOME": str(folder / "home"),
            "DARKROOM_DATABASE_URL": f"sqlite:///{folder}/darkroom.db",
            "DARKROOM_UPLOADS_URL": f"file://{folder}/uploads",
            "DARKROOM_LAKE_URL": f"file://{folder}/lake",
        }
        # A store of one's own, as these folders are, is given the sample only when it is asked for.
        subprocess.run([darkroom(), "run", "--photos", "sample"], env=environment, check=True, stdout=subprocess.DEVNULL)
        yield environment


def darkroom() -> str:
    """The command of this environment."""
    return str(Path(sys.executable).with_name("darkroom"))


@contextmanager
def server(environment: dict[str, str]) -> Iterator[tuple[int, psutil.Process]]:
    """The port and the process of a server of this project, on a free port."""
    command = [darkroom(), "serve", "--port", "0"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if match := re.search(r"://127\.0\.0\.1:(\d+)/", line):
                    yield int(match[1]), psutil.Process(process.pid)
                    return
            raise SystemExit(f"the server ended with {process.wait()}")
        finally:
            process.terminate()


def request(path: str, kind: str, body: bytes) -> bytes:
    """The bytes of a POST."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def prediction_of(user_id: int, photo: bytes) -> bytes:
    """A request of a prediction."""
    part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="'
    head = f'{part}user_id"\r\n\r\n{user_id}\r\n{part}photo"; filename="p.jpg"\r\n\r\n'
    body = head.encode() + photo + f"\r\n--{BOUNDARY}--\r\n".encode()
    return request("/v1/predict", f"multipart/form-data; boundary={BOUNDARY}", body)


async def ask(port: int, requests: list[bytes], until: float, seconds: list[float], refusals: Counter[str]) -> None:
    """Send requests over one connection, one after another, until a moment of the monotonic clock.

    refusals: counts the answers other than 200, by status, reason and detail.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.monotonic() < until:
        started = time.perf_counter()
        writer.write(random.choice(requests))
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(int(re.search(rb"content-length: (\d+)", head)[1]))  # type: ignore[index]
        seconds.append(time.perf_counter() - started)
        status = int(head.split(b" ", 2)[1])
        if status != 200:
            refusal = json.loads(body)
            refusals[f"{status} {refusal['reason']}: {refusal['detail']}"] += 1
    writer.close()


def measured(port: int, process: psutil.Process, requests: list[bytes], connections: int, duration_s: float) -> Load:
    """One load, over so many connections, for so long."""
    seconds: list[float] = []
    refusals = Counter[str]()

    async def all_connections() -> None:
        until = time.monotonic() + duration_s
        await asyncio.gather(*(ask(port, requests, until, seconds, refusals) for _ in range(connections)))

    cpu_before, memory_before = sum(process.cpu_times()[:2]), process.memory_info().rss
    started = time.monotonic()
    asyncio.run(all_connections())
    wall_s = time.monotonic() - started
    if refusals:
        counts = "\n".join(f"  {count:,} x {refusal}" for refusal, count in refusals.most_common())
        raise SystemExit(f"The server refused {refusals.total():,} of {len(seconds):,} requests:\n{counts}")
    seconds.sort()
    return Load(
        requests=len(seconds),
        per_s=len(seconds) / wall_s,
        p50_ms=1e3 * seconds[len(seconds) // 2],
        p99_ms=1e3 * seconds[int(0.99 * len(seconds))],
        server_cpu_ms=1e3 * (sum(process.cpu_times()[:2]) - cpu_before) / len(seconds),
        mb_before=memory_before // 2**20,
        mb_after=process.memory_info().rss // 2**20,
    )


def figures_of(features: Load, single: Load, several: Load) -> list[Figure]:
    """The figures of three loads, with the issue's targets."""

    def note(load: Load) -> str:
        return f"{load.requests:,} requests; {load.server_cpu_ms:.2f} CPU ms of the server each"

    return [
        Figure("features, 8 connections", features.per_s, "1/s", at_least(3_000), note(features)),
        Figure("  p99", features.p99_ms, "ms"),
        Figure("prediction, one connection, p50", single.p50_ms, "ms", at_most(25), note(single)),
        Figure("  p99", single.p99_ms, "ms", at_most(80)),
        Figure("predictions, 4 connections", several.per_s, "1/s", at_least(60), note(several)),
        Figure("  p99", several.p99_ms, "ms"),
        Figure("memory of the server after all", several.mb_after, "MB", None, f"{features.mb_before:,} MB before"),
    ]


def main() -> None:
    """Warm the server up, then measure the three loads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="folder of JPEGs; without it, crops of the sample's")
    parser.add_argument("--seconds", type=float, default=30, help="length of each load")
    parser.add_argument("--home", type=Path, help="a project's DARKROOM_HOME; without it, the sample is computed first")
    parser.add_argument("--users", type=int, nargs="+", default=list(USERS), help="users to ask for")
    add_options(parser)
    arguments = parser.parse_args()
    seconds = 2.0 if arguments.quick else arguments.seconds
    features = [
        request("/v1/features", "application/json", json.dumps({"user_id": user}).encode()) for user in arguments.users
    ]
    data = [photo for _, photo in photos(arguments.photos, PHOTOS)]
    predictions = [prediction_of(user, photo) for user in arguments.users for photo in data]
    with sample_home(arguments.home) as environment, server(environment) as (port, process):
        measured(port, process, predictions, 2, 2.0)
        loads = (
            measured(port, process, features, 8, seconds),
            measured(port, process, predictions, 1, seconds),
            measured(port, process, predictions, 4, seconds),
        )
    finish(arguments, "online_serve", figures_of(*loads))


if __name__ == "__main__":
    main()
