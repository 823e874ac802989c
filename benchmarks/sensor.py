"""The upload sensor over a million objects, beside stock `dagster_aws.s3.sensor.get_objects`.

    python -m benchmarks.sensor [--objects 1000000] [--days 90]

What has targets: a tick over objects that are all known, its memory, and the longest tick of the first listing. The
bucket is `listing_server.py`: HTTP and S3's XML without bytes. The ledger is PostgreSQL; each measurement is a process of
its own, and a tick is the real sensor, evaluated as Dagster's daemon does.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, add_options, at_most, finish
from resources.database import ledger, seen_objects
from resources.database.postgres import Postgres
from resources.objects.backends import boto3_client
from resources.objects.resource import Objects
from resources.objects.upload_queue import UploadQueue
from resources.servers.embedded import Services

HERE = Path(__file__).parent
BUCKET = "benchmark"
TICKS_KNOWN = 7
MB = 1e6
KEYS = {"access_key": "any", "secret_key": "any"}


def peak_mb() -> float:
    """The most memory that this process has had resident."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / MB


class Sensor:
    """The sensor on the definitions, ticking with its cursor kept."""

    def __init__(self, endpoint: str, postgres_url: str, cursor: str | None) -> None:
        import dagster as dg

        from pipeline_assets.definitions import build_defs
        from resources.settings import Settings
        from sensors.uploads import new_uploads

        self.uploads = Objects(url=f"s3://{BUCKET}", endpoint=endpoint, **KEYS)
        self.database = Postgres(url=postgres_url)
        self.cursor = cursor
        self.instance = dg.DagsterInstance.ephemeral()
        self.repository = build_defs(Settings()).get_repository_def()
        self.build, self.sensor = dg.build_sensor_context, new_uploads

    def tick(self) -> float:
        """One tick. Returns its seconds."""
        resources = {"uploads": self.uploads, "database": self.database, "upload_queue": UploadQueue()}
        began = time.perf_counter()
        context = self.build(instance=self.instance, cursor=self.cursor, repository_def=self.repository, resources=resources)
        self.cursor = self.sensor.evaluate_tick(context).cursor
        return time.perf_counter() - began

    def known(self) -> int:
        """Objects in the ledger."""
        return int(self.database.read("select count(*) as n from objects").item())


def first_listing(endpoint: str, postgres_url: str, objects: int) -> dict[str, Any]:
    """Tick until all objects are in the ledger."""
    sensor = Sensor(endpoint, postgres_url, None)
    loaded_mb = peak_mb()
    seconds: list[float] = []
    while (listed := sensor.known()) < objects and len(seconds) < 1000:
        seconds.append(sensor.tick())
        print(f"  tick {len(seconds)}: {seconds[-1]:.1f} s, {listed:,} objects known before it", file=sys.stderr, flush=True)
    return {
        "ticks": len(seconds),
        "longest_s": max(seconds),
        "all_ticks_s": sum(seconds),
        "known": listed,
        "peak_mb": peak_mb(),
        "loaded_mb": loaded_mb,
        "cursor": sensor.cursor,
    }


def known_ticks(endpoint: str, postgres_url: str, cursor: str) -> dict[str, Any]:
    """Ticks over objects that the ledger has and that runs have seen."""
    sensor = Sensor(endpoint, postgres_url, cursor)
    days = seen_objects.object_days(sensor.database, BUCKET).iter_rows(named=True)
    ledger.record(
        sensor.database,
        [
            ledger.Materialization("raw_uploads", d["day"], "d", 1, 0, "c", "i", {"outside": d["digest"]}, 1, None, "r")
            for d in days
        ],
    )
    loaded_mb = peak_mb()
    seconds = [sensor.tick() for _ in range(TICKS_KNOWN)]
    return {
        "median_s": statistics.median(seconds),
        "longest_s": max(seconds),
        "peak_mb": peak_mb(),
        "loaded_mb": loaded_mb,
        "known": sensor.known(),
    }


def stock_tick(endpoint: str) -> dict[str, Any]:
    """One tick of stock `get_objects`, which is told that it has seen everything up to the newest object."""
    from dagster_aws.s3.sensor import get_objects

    client = boto3_client(endpoint, "any", "any", "us-east-1")
    loaded_mb = peak_mb()
    began = time.perf_counter()
    objects_found = get_objects(
        BUCKET, prefix="uploads/", since_last_modified=datetime(2999, 1, 1, tzinfo=UTC), client=client
    )
    return {
        "seconds": time.perf_counter() - began,
        "peak_mb": peak_mb(),
        "loaded_mb": loaded_mb,
        "found": len(objects_found),
    }


MEASUREMENTS = {"first_listing": first_listing, "known_ticks": known_ticks, "stock_tick": stock_tick}


def in_a_process(name: str, *arguments: Any) -> dict[str, Any]:
    """One measurement in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.sensor", "--measure", json.dumps([name, *arguments])]
    process = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    outcome: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return outcome


@contextmanager
def listing_server(objects: int, days: int, newest: date) -> Iterator[str]:
    """The endpoint of a bucket of so many objects."""
    command = [sys.executable, str(HERE / "listing_server.py"), str(objects), str(days), str(newest)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.terminate()


def measure(objects: int, days: int) -> dict[str, dict[str, Any]]:
    """What the first listing, ticks over known objects, and a stock tick took."""
    newest = datetime.now(UTC).date() - timedelta(days=1)
    with (
        tempfile.TemporaryDirectory() as folder,
        Services(Path(folder) / "home") as endpoints,
        listing_server(objects, days, newest) as endpoint,
    ):
        Postgres(url=endpoints.postgres_url).migrate()
        print(f"First listing of {objects:,} objects over {days} days ...", file=sys.stderr, flush=True)
        first = in_a_process("first_listing", endpoint, endpoints.postgres_url, objects)
        print("Ticks over known objects ...", file=sys.stderr, flush=True)
        ticks = in_a_process("known_ticks", endpoint, endpoints.postgres_url, first["cursor"])
        print("Stock get_objects ...", file=sys.stderr, flush=True)
        return {"first": first, "known": ticks, "stock": in_a_process("stock_tick", endpoint)}


def figures(outcomes: dict[str, dict[str, Any]], objects: int) -> list[Figure]:
    """The targets first. Memory is what ticks add to the loaded definitions; the whole process is told beside it."""
    first, ticks, stock = outcomes["first"], outcomes["known"], outcomes["stock"]
    added = {name: outcome["peak_mb"] - outcome["loaded_mb"] for name, outcome in outcomes.items()}
    process_sizes = {name: f"the process has {outcome['peak_mb']:.0f} MB" for name, outcome in outcomes.items()}
    of = f"{objects:,} objects"
    return [
        Figure(f"tick over {of} that are known, median", ticks["median_s"], "s", at_most(2)),
        Figure("memory that these ticks add", added["known"], "MB", at_most(200), process_sizes["known"]),
        Figure(f"first listing of {of}, longest tick", first["longest_s"], "s", at_most(60)),
        Figure("memory that these ticks add", added["first"], "MB", at_most(200), process_sizes["first"]),
        Figure("first listing, objects not in the ledger after it", objects - first["known"], "", at_most(0)),
        Figure("first listing, all ticks", first["all_ticks_s"], "s", note=f"{first['ticks']} ticks"),
        Figure(f"stock get_objects: tick over {of} that are known", stock["seconds"], "s"),
        Figure("stock get_objects: memory that it adds", added["stock"], "MB", note=process_sizes["stock"]),
    ]


def main() -> None:
    """Measure on servers of its own, in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--objects", type=int, help="(1000000; with --quick 20000)")
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        name, *arguments = json.loads(options.measure)
        print(json.dumps(MEASUREMENTS[name](*arguments)))
        return
    objects = options.objects or (20_000 if options.quick else 1_000_000)
    outcomes = measure(objects, options.days)
    finish(
        options,
        "sensor",
        figures(outcomes, objects),
        {name: {**outcome, "cursor": None} for name, outcome in outcomes.items()},
    )


if __name__ == "__main__":
    main()
