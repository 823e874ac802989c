"""Large files checked out from S3, beside a plain `cp` of them and their raw download by obstore, by turns.

    python -m benchmarks.large_files [--files 4] [--megabytes 1000] [--rounds 3]

Ours is the whole command with an empty cache: it hashes every byte and keeps the contents in its cache, which the files
share by link. What is written is on the disk before the clock stops, for all three (`sync`). The slower of the two others is
the floor.
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
from pathlib import Path

import numpy as np

from benchmarks.contests import measured, take_turns
from benchmarks.figures import Figure, add_options, at_least, finish
from benchmarks.versioners import BUCKET, CONTENTS, assert_same, darkroom, settings
from resources.objects import s3
from resources.objects.backends import S3Access, boto3_client
from resources.objects.store import ObjectStore
from resources.servers.embedded import Services
from resources.servers.endpoints import Endpoints

PIECE_BYTES = 8 * 1024**2
AT_ONCE = 4
SHARE = 0.8
"""Of the floor's speed."""
OURS, COPY, RAW = "darkroom checkout", "cp", "obstore"


def main() -> None:
    """Run on servers of its own, in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--files", type=int, default=4)
    parser.add_argument("--megabytes", type=int, help="of each (1000; with --quick 20)")
    parser.add_argument("--rounds", type=int, help="of each contestant (3; with --quick 1)")
    options = parser.parse_args()
    megabytes, rounds = options.megabytes or (20 if options.quick else 1000), options.rounds or (1 if options.quick else 3)
    with tempfile.TemporaryDirectory(prefix="large-") as name, Services(Path(name) / "home") as endpoints:
        source = Path(name) / "source"
        write(source, options.files, megabytes)
        contestants = prepare(Path(name), source, endpoints)
        runs = take_turns(contestants, rounds)
    sizes = {"files": options.files, "megabytes": megabytes, "seconds": runs}
    finish(options, "large_files", figures(runs, options.files * megabytes), sizes)


def write(folder: Path, files: int, megabytes: int) -> None:
    """Files of noise, each another."""
    folder.mkdir()
    for number in range(files):
        noise = np.random.default_rng(number)
        with (folder / f"{number}.bin").open("wb") as file:
            for _ in range(megabytes):
                file.write(noise.bytes(1_000_000))


def prepare(folder: Path, source: Path, endpoints: Endpoints) -> dict[str, Callable[[], float]]:
    """The contestants, once the files are pinned and so in the store."""
    access = (endpoints.s3_endpoint, endpoints.access_key, endpoints.secret_key, endpoints.region)
    s3.ensure_bucket(boto3_client(*access), BUCKET, versioning=False)
    work = folder / "work"
    env = settings(work / ".darkroom", f"s3://{BUCKET}/large", endpoints)
    work.mkdir()
    (work / ".gitignore").write_text(".darkroom\n")
    who = ["-c", "user.name=bench", "-c", "user.email=bench@example.org"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "begin"]):
        subprocess.run(["git", *command], cwd=work, check=True)
    measured(darkroom("pin", "large", "--folder", str(source)), cwd=work, env=env)
    target = folder / "target"

    def checkout() -> None:
        measured(darkroom("checkout", "large", str(target)), cwd=work, env=env)

    def copy() -> None:
        subprocess.run(["cp", "-r", str(source), str(target)], check=True)

    def download() -> None:
        target.mkdir()
        asyncio.run(raw(S3Access(BUCKET, "", *access), target))

    def timed(act: Callable[[], None], *, is_whole: bool) -> Callable[[], float]:
        def run() -> float:
            shutil.rmtree(target, ignore_errors=True)
            shutil.rmtree(work / CONTENTS, ignore_errors=True)
            os.sync()
            began = time.perf_counter()
            act()
            os.sync()
            seconds = time.perf_counter() - began
            if is_whole:
                assert_same(source, target)
            return seconds

        return run

    return {OURS: timed(checkout, is_whole=True), COPY: timed(copy, is_whole=True), RAW: timed(download, is_whole=False)}


async def raw(access: S3Access, target: Path) -> None:
    """Every large object of the lake into a file, as obstore streams it, a few at once."""
    store = access.obstore
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(key: str) -> None:
        async with gate:
            found = await store.get_async(access.full(key))
            with (target / key.replace("/", "-")).open("wb", buffering=0) as file:
                async for piece in found.stream(min_chunk_size=PIECE_BYTES):
                    file.write(piece)

    keys = [
        info.key for info in ObjectStore(f"s3://{BUCKET}", store, access).list("large/objects/") if info.size > PIECE_BYTES
    ]
    await asyncio.gather(*(one(key) for key in keys))


def figures(runs: dict[str, list[float]], megabytes: int) -> list[Figure]:
    """Our speed as a share of the floor's, then everyone's."""
    speeds = {name: megabytes / statistics.median(seconds) for name, seconds in runs.items()}
    floor = min((COPY, RAW), key=speeds.__getitem__)
    share = Figure("checkout beside the floor", speeds[OURS] / speeds[floor], "x", at_least(SHARE), f"the floor is {floor}")
    return [share, *(Figure(name, speed, "MB/s") for name, speed in speeds.items())]


if __name__ == "__main__":
    main()
