"""A bounded load test of `darkroom serve` on loopback: `python -m benchmarks.online_serve [--seconds 60] [--home HOME]`.

It starts the server on a project that has a model and an online state (`darkroom run`), asks for features and predictions
from a few connections, and prints requests a second, p50 and p99, CPU time a request, and the server's memory before and
after. Client and server share the machine's cores: figures of a busy machine are not the server's.
"""

import argparse
import asyncio
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from pipeline_assets.sample.photos import COLOUR_PHOTOS, shipped_file

BOUNDARY = "darkroom-bench"


@contextmanager
def server(home: Path | None) -> Iterator[tuple[int, psutil.Process]]:
    """The port and the process of a server of this project, on a free port."""
    environment = {**os.environ, **({"DARKROOM_HOME": str(home)} if home else {})}
    command = [str(Path(sys.executable).with_name("darkroom")), "serve", "--port", "0"]
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


async def ask(port: int, requests: list[bytes], until: float, seconds: list[float], statuses: dict[int, int]) -> None:
    """Send requests over one connection, one after another, until a moment of the monotonic clock."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.monotonic() < until:
        started = time.perf_counter()
        writer.write(random.choice(requests))
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(re.search(rb"content-length: (\d+)", head)[1]))  # type: ignore[index]
        seconds.append(time.perf_counter() - started)
        status = int(head.split(b" ", 2)[1])
        statuses[status] = statuses.get(status, 0) + 1
    writer.close()


def measured(
    port: int, process: psutil.Process, requests: list[bytes], connections: int, duration_s: float
) -> dict[str, object]:
    """Figures of one load."""
    seconds: list[float] = []
    statuses: dict[int, int] = {}

    async def all_connections() -> None:
        until = time.monotonic() + duration_s
        await asyncio.gather(*(ask(port, requests, until, seconds, statuses) for _ in range(connections)))

    cpu_before, memory_before = sum(process.cpu_times()[:2]), process.memory_info().rss
    started = time.monotonic()
    asyncio.run(all_connections())
    wall_s = time.monotonic() - started
    seconds.sort()
    return {
        "connections": connections,
        "requests": len(seconds),
        "per_s": round(len(seconds) / wall_s, 1),
        "p50_ms": round(1e3 * seconds[len(seconds) // 2], 2),
        "p99_ms": round(1e3 * seconds[int(0.99 * len(seconds))], 2),
        "server_cpu_ms": round(1e3 * (sum(process.cpu_times()[:2]) - cpu_before) / len(seconds), 2),
        "rss_mb_before": memory_before // 2**20,
        "rss_mb_after": process.memory_info().rss // 2**20,
        "statuses": statuses,
    }


def main() -> None:
    """Measure, and print one line of JSON for each load."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--users", type=int, nargs="+", default=[1001, 1002, 1003, 1004])
    arguments = parser.parse_args()
    photos = [shipped_file(name) for name in COLOUR_PHOTOS if name.endswith(".jpg")] + photos_of_shared()
    kind = "application/json"
    features = [request("/v1/features", kind, json.dumps({"user_id": user}).encode()) for user in arguments.users]
    predictions = [prediction_of(user, photo) for user in arguments.users for photo in photos]
    with server(arguments.home) as (port, process):
        measured(port, process, predictions, 2, 2)
        for name, requests, connections in (
            ("features", features, 8),
            ("predict, one at a time", predictions, 1),
            ("predict, four at a time", predictions, 4),
        ):
            print(json.dumps({"load": name, **measured(port, process, requests, connections, arguments.seconds)}))


def photos_of_shared(count: int = 40) -> list[bytes]:
    """Real photos beside the project, if they are there."""
    folder = Path(__file__).parents[2] / "shared" / "photos"
    return [path.read_bytes() for path in sorted(folder.glob("*.JPEG"))[:count]]


if __name__ == "__main__":
    main()
