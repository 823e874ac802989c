"""Objects up and down: ours against boto3 on threads and bare obstore, interleaved, on the embedded S3 server.

    python -m benchmarks.store --objects 1000 --kilobytes 110 --rounds 5

Prints JSON: seconds of each round, MB/s of the median round, and each one's ratio to ours (above 1: ours is faster).
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from resources import s3
from resources.embedded import Endpoints, Services
from resources.object_backends import S3Access, boto3_client
from resources.objects import ObjectStore

UP_CONCURRENCY, DOWN_CONCURRENCY, BOTO_THREADS = 16, 32, 16
BUCKET = "benchmark"
Contestant = tuple[Callable[[str], None], Callable[[str], None]]


def ours(access: dict[str, str], data: dict[str, bytes]) -> Contestant:
    """ObjectStore: put_many and get_many."""

    def up(prefix: str) -> None:
        store = ObjectStore.open(f"s3://{BUCKET}/{prefix}", **access)
        assert not [error for _, error in store.put_many(data.items(), concurrency=UP_CONCURRENCY) if error]

    def down(prefix: str) -> None:
        store = ObjectStore.open(f"s3://{BUCKET}/{prefix}", **access)
        for key, found in store.get_many(data, key=str, concurrency=DOWN_CONCURRENCY):
            assert found == data[key]

    return up, down


def boto3_threads(access: dict[str, str], data: dict[str, bytes]) -> Contestant:
    """boto3 with one client and 16 threads."""
    client = boto3_client(access["endpoint"], access["access_key"], access["secret_key"], access["region"], BOTO_THREADS)

    def up(prefix: str) -> None:
        with ThreadPoolExecutor(BOTO_THREADS) as threads:
            list(
                threads.map(
                    lambda item: client.put_object(Bucket=BUCKET, Key=f"{prefix}/{item[0]}", Body=item[1]), data.items()
                )
            )

    def down(prefix: str) -> None:
        def one(key: str) -> None:
            assert client.get_object(Bucket=BUCKET, Key=f"{prefix}/{key}")["Body"].read() == data[key]

        with ThreadPoolExecutor(BOTO_THREADS) as threads:
            list(threads.map(one, data))

    return up, down


def bare_obstore(access: dict[str, str], data: dict[str, bytes]) -> Contestant:
    """Obstore's async calls in one event loop, all written at once: the floor for anything built on it."""

    async def all_of(keys: dict[str, bytes], limit: int, work: Callable[[str], Any]) -> None:
        gate = asyncio.Semaphore(limit)

        async def one(key: str) -> None:
            async with gate:
                await work(key)

        await asyncio.gather(*(one(key) for key in keys))

    def up(prefix: str) -> None:
        store = S3Access(BUCKET, "", **access).obstore()
        asyncio.run(all_of(data, UP_CONCURRENCY, lambda key: store.put_async(f"{prefix}/{key}", data[key])))

    def down(prefix: str) -> None:
        store = S3Access(BUCKET, "", **access).obstore()

        async def one(key: str) -> None:
            assert bytes(await (await store.get_async(f"{prefix}/{key}")).bytes_async()) == data[key]

        asyncio.run(all_of(data, DOWN_CONCURRENCY, one))

    return up, down


def measure(endpoints: Endpoints, objects: int, kilobytes: int, rounds: int) -> dict[str, Any]:
    """Seconds a round, by contestant and direction; the order of the contestants turns with each round."""
    noise = np.random.default_rng(0)
    data = {f"{i:05d}": noise.bytes(kilobytes * 1000) for i in range(objects)}
    access = {
        "endpoint": endpoints.s3_endpoint,
        "access_key": endpoints.access_key,
        "secret_key": endpoints.secret_key,
        "region": endpoints.region,
    }
    s3.ensure_bucket(boto3_client(*access.values()), BUCKET, versioning=False)
    contestants = [(made.__name__, *made(access, data)) for made in (ours, boto3_threads, bare_obstore)]
    seconds: dict[str, dict[str, list[float]]] = {name: {"up": [], "down": []} for name, _, _ in contestants}
    for round_number in range(rounds):
        turn = round_number % len(contestants)
        for name, up, down in contestants[turn:] + contestants[:turn]:
            prefix = f"{name}-{round_number}"
            for direction, work in (("up", up), ("down", down)):
                began = time.perf_counter()
                work(prefix)
                seconds[name][direction].append(time.perf_counter() - began)
    megabytes = objects * kilobytes / 1000
    medians = {name: {way: statistics.median(taken) for way, taken in ways.items()} for name, ways in seconds.items()}
    return {
        "objects": objects,
        "kilobytes": kilobytes,
        "megabytes_per_second": {
            name: {way: round(megabytes / taken, 1) for way, taken in ways.items()} for name, ways in medians.items()
        },
        "times_ours": {
            name: {way: round(taken / medians["ours"][way], 2) for way, taken in ways.items()}
            for name, ways in medians.items()
        },
        "seconds": {
            name: {way: [round(t, 3) for t in taken] for way, taken in ways.items()} for name, ways in seconds.items()
        },
    }


def main() -> None:
    """Run on servers of its own, in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=1000)
    parser.add_argument("--kilobytes", type=int, default=110)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Services(Path(folder) / "home") as endpoints:
        print(json.dumps(measure(endpoints, options.objects, options.kilobytes, options.rounds), indent=1))


if __name__ == "__main__":
    main()
