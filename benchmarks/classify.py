"""Classifying in steady state, from S3, as the asset does it, held against the floor that the same machine sets.

    python -m benchmarks.classify [--photos FOLDER] [--limit 8000] [--repeats 3]

The floor is decoding alone (with the styles that the same decode serves) and then the network alone, each on all cores and
from memory, in the same run. The pipeline does more: it fetches from a server on the same cores, verifies each hash, and
keeps results in the object store and PostgreSQL. Each run is a process of its own. Top-1 needs names that begin with a
WordNet id, as `n01443537_goldfish.JPEG`; the reference is the network as published, in float32, on the same crops.
"""

import argparse
import hashlib
import json
import logging
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.contests import take_turns
from benchmarks.figures import Figure, add_options, at_least, at_most, finish
from benchmarks.home import servers_cpu_s
from benchmarks.photos import accuracy, photos
from resources.database.postgres import Postgres
from resources.objects import s3
from resources.objects.backends import boto3_client
from resources.objects.resource import Objects
from resources.objects.store import ObjectStore
from resources.servers.embedded import Services
from resources.servers.endpoints import Endpoints

BUCKET = "classify"
WARM_UP = 64
IN_MEMORY = 1_600
"""Photos that the floor is measured on: more would only take longer."""


def main() -> None:
    """Upload, measure by turns, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--photos", type=Path, help="a folder of JPEGs; without it, crops of the sample's photos")
    parser.add_argument("--limit", type=int, help="photos (8000; with --quick 256)")
    parser.add_argument("--repeats", type=int, help="runs of each (3; with --quick 1)")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    limit, repeats = options.limit or (256 if options.quick else 8000), options.repeats or (1 if options.quick else 3)
    if options.side:
        print(json.dumps(SIDES[options.side](options.photos, limit)))
        return
    with tempfile.TemporaryDirectory() as name:
        services = Services(Path(name) / "home")
        with services as endpoints:
            upload(endpoints, options.photos, limit)
            in_memory = min(limit, IN_MEMORY)
            runs = take_turns(
                {
                    "decode": lambda: run_side("decode", options.photos, in_memory),
                    "model": lambda: run_side("model", options.photos, in_memory),
                    "pipeline": lambda: run_pipeline(services, endpoints, options.photos, limit),
                },
                repeats,
            )
        reference = run_side("reference", options.photos, in_memory)
    finish(options, "classify", figures(runs, reference, limit), {"photos": limit, "runs": runs})


def upload(endpoints: Endpoints, folder: Path | None, limit: int) -> None:
    """Put the photos where users put them."""
    access = asdict_access(endpoints)
    s3.ensure_bucket(boto3_client(*access.values()), BUCKET)
    s3.ensure_bucket(boto3_client(*access.values()), f"{BUCKET}-results", versioning=False)
    for _, error in ObjectStore.open(f"s3://{BUCKET}", **access).put_many(photos(folder, limit)):
        if error:
            raise error


def asdict_access(endpoints: Endpoints) -> dict[str, str]:
    """What opens a store."""
    fields = asdict(endpoints)
    return {
        "endpoint": fields["s3_endpoint"],
        "access_key": fields["access_key"],
        "secret_key": fields["secret_key"],
        "region": fields["region"],
    }


def run_side(side: str, folder: Path | None, limit: int, **env: str) -> dict[str, Any]:
    """One measurement in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.classify", "--side", side, "--limit", str(limit)]
    command += ["--photos", str(folder)] if folder else []
    process = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **env})
    return dict(json.loads(process.stdout.splitlines()[-1]))


def run_pipeline(services: Services, endpoints: Endpoints, folder: Path | None, limit: int) -> dict[str, Any]:
    """The pipeline's run, with the CPU time that the servers spent on it; results of earlier runs are forgotten."""
    database = Postgres(url=endpoints.postgres_url)
    database.migrate()
    database.execute("delete from results")
    before_s = servers_cpu_s(services)
    access = {f"BENCH_{name.upper()}": value for name, value in asdict_access(endpoints).items()}
    outcome = run_side("pipeline", folder, limit, BENCH_POSTGRES_URL=endpoints.postgres_url, **access)
    return outcome | {"server_cpu_ms": (servers_cpu_s(services) - before_s) * 1000 / limit}


def decode_alone(folder: Path | None, limit: int) -> dict[str, Any]:
    """Decode and measure styles, nothing else."""
    from pipeline_assets.classify.pipeline import classify_photos
    from pipeline_assets.classify.styles import CLASSIFIER as STYLES

    photo_list = list(photos(folder, limit))
    return timed(lambda some: classify_photos(iter(some), classifier=None, further=[STYLES]), photo_list)


def model_alone(folder: Path | None, limit: int) -> dict[str, Any]:
    """The network with its preprocessing and ranking, on crops in memory."""
    import torch

    from pipeline_assets.classify.models import load_classifier
    from pipeline_assets.classify.pipeline import choose_runner
    from pipeline_assets.classify.runners import CpuRunner, single_threaded_pool
    from pipeline_assets.runtime.allocators import keep_freed_memory
    from pipeline_assets.runtime.cores import core_count

    keep_freed_memory()
    classifier = load_classifier()
    crops = [crop for _, crop in decoded(folder, limit)]
    runner = choose_runner(classifier, torch.device("cpu"), batch_size=WARM_UP, cache=None)
    assert isinstance(runner, CpuRunner)

    def classify(some: list[Any]) -> Iterator[None]:
        with single_threaded_pool(core_count()) as pool:
            for _ in pool.map(runner.score, [some[at : at + runner.rows] for at in range(0, len(some), runner.rows)]):
                yield None

    return timed(classify, crops)


def decoded(folder: Path | None, limit: int) -> Iterator[tuple[str, Any]]:
    """Names and crops, each small enough to hold."""
    from pipeline_assets.classify.decode import decode
    from pipeline_assets.classify.model_files import Preprocessing

    for name, data in photos(folder, limit):
        yield name, decode(data, Preprocessing()).crop.copy(order="K")


def pipeline(folder: Path | None, limit: int) -> dict[str, Any]:
    """What the assets do for a day whose photos are all new: fetch, verify, classify, keep."""
    from pipeline_assets.classify.assets import compute, fetch, model_of
    from pipeline_assets.framework.declaration import RunOfDays
    from resources.classifier import ClassifierChoice
    from resources.objects.results import Results

    access = {name: os.environ[f"BENCH_{name.upper()}"] for name in ("endpoint", "access_key", "secret_key", "region")}
    uploads = Objects(url=f"s3://{BUCKET}", **access)
    results = Results(Postgres(url=os.environ["BENCH_POSTGRES_URL"]), Objects(url=f"s3://{BUCKET}-results", **access).store)
    names = {hashlib.sha256(data).hexdigest(): name for name, data in photos(folder, limit)}
    rows = pl.DataFrame({"sha256": list(names), "key": list(names.values()), "version_id": "etag-"})
    run = RunOfDays("photo_classes", (date(2026, 1, 1),), "benchmark", "benchmark", logging.getLogger("benchmark"))
    choice = ClassifierChoice(model="efficientnet-lite0", device="auto", cache=tempfile.gettempdir())

    def classify(some: pl.DataFrame) -> Iterator[None]:
        failed = compute(run, some["sha256"].to_list(), fetch(some, uploads), results, choice)
        assert not failed, failed[:3]
        yield None

    outcome = timed(classify, rows)
    outcome["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    predictions = pl.concat(part.select("result_key", "top5_index") for part in results.parts(model_of(choice), list(names)))
    top1 = {names[key]: top5[0] for key, top5 in predictions.iter_rows()}
    outcome["top1"] = accuracy({name: index for name, index in top1.items() if name in _first(folder, limit)})
    return outcome


def reference(folder: Path | None, limit: int) -> dict[str, Any]:
    """Top-1 of the network as published, in float32."""
    import torch

    from pipeline_assets.classify.models import load_classifier
    from pipeline_assets.classify.runners import Network

    classifier = load_classifier()
    network = Network(classifier, classifier.module, torch.device("cpu"))
    crops = [(name, crop) for name, crop in decoded(folder, limit) if name in _first(folder, limit)]
    top1 = {}
    with torch.inference_mode():
        for at in range(0, len(crops), WARM_UP):
            chunk = crops[at : at + WARM_UP]
            index, _, _ = network(torch.stack([torch.from_numpy(crop) for _, crop in chunk]))
            top1 |= {name: int(top) for (name, _), top in zip(chunk, index[:, 0], strict=True)}
    return {"top1": accuracy(top1)}


def _first(folder: Path | None, limit: int) -> set[str]:
    """Names of the distinct pictures: those that are not gone through again."""
    if folder is None:
        return {name for name, _ in photos(None, min(limit, IN_MEMORY))}
    return {path.name for path in folder.iterdir()}


def timed(work: Callable[[Any], Iterator[Any]], items: Any) -> dict[str, Any]:
    """Photos a second and CPU time a photo, from the first to the last, after a warm-up: filling and draining count."""
    for _ in work(items[:WARM_UP]):
        pass
    remaining = items[WARM_UP:]
    started_at, started_cpu_s = time.perf_counter(), time.process_time()
    for _ in work(remaining):
        pass
    wall_s, cpu_s = time.perf_counter() - started_at, time.process_time() - started_cpu_s
    return {"photos_per_s": len(remaining) / wall_s, "cpu_ms": cpu_s * 1000 / len(remaining)}


def figures(runs: dict[str, list[dict[str, Any]]], reference: dict[str, Any], limit: int) -> list[Figure]:
    """The share of the floor first, then what it is made of."""

    def median(side: str, name: str) -> float:
        return statistics.median(run[name] for run in runs[side])

    speed = {side: median(side, "photos_per_s") for side in runs}
    floor = 1 / (1 / speed["decode"] + 1 / speed["model"])
    top1 = runs["pipeline"][0]["top1"]
    top1_loss = None if top1 is None else reference["top1"] - top1
    note = {side: f"{median(side, 'cpu_ms'):.2f} CPU ms a photo" for side in runs}
    note["pipeline"] += f", and the servers' {median('pipeline', 'server_cpu_ms'):.2f} on the same cores"
    return [
        Figure("share of the floor", speed["pipeline"] / floor, "", at_least(0.85)),
        Figure("peak memory", max(run["peak_rss_mb"] for run in runs["pipeline"]), "MB", at_most(1000)),
        Figure(
            "top-1 below the float32 reference",
            top1_loss,
            "",
            at_most(0.003),
            "names do not begin with WordNet ids" if top1_loss is None else f"{top1:.4f} against {reference['top1']:.4f}",
        ),
        Figure(f"{limit} photos from S3", speed["pipeline"], "photos/s", note=note["pipeline"]),
        Figure("the floor: decode, then network", floor, "photos/s"),
        Figure("decode and styles alone", speed["decode"], "photos/s", note=note["decode"]),
        Figure("network alone", speed["model"], "photos/s", note=note["model"]),
    ]


SIDES: dict[str, Callable[[Path | None, int], dict[str, Any]]] = {
    "decode": decode_alone,
    "model": model_alone,
    "pipeline": pipeline,
    "reference": reference,
}

if __name__ == "__main__":
    main()
