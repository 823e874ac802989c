"""A whole partition of `photo_variants`, from S3 to S3, held against the floor that the same machine sets.

    python -m benchmarks.variants_partition [--photos FOLDER] [--limit 1000] [--repeats 3]

The parents are a day of `raw_uploads`, each with four variants at 224 x 224, by all ready-made recipes. The asset's own
function plans them, fetches and verifies the parents, makes the variants, and keeps bytes and rows, in the object store and
PostgreSQL on the same cores; Dagster and the commit to the table are left out. Each run has a seed of its own: nothing of an
earlier one is known to it. Warm: the same again in the same process, nothing being new.

The floor is decoding (with fitting), changing and encoding, each alone on all cores and from memory, as `variants_photos`
measures it.
"""

import argparse
import json
import logging
import resource
import statistics
import time
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks import increment, variants_photos
from benchmarks.contests import take_turns
from benchmarks.figures import Figure, add_options, at_least, at_most, finish
from benchmarks.home import Home, fresh_home, servers_cpu_s
from benchmarks.variants_photos import CHILDREN, WARM_UP
from resources.servers.embedded import Services

SPLITS = ("train", "validation", "test")


def main() -> None:
    """Upload and ingest, measure by turns, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--photos", type=Path, help="a folder of JPEGs; without it, crops of the sample's photos")
    parser.add_argument("--limit", type=int, help="photos (1000; with --quick 64)")
    parser.add_argument("--repeats", type=int, help="runs of each (3; with --quick 1)")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--range", type=int, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        print(json.dumps(STEPS[options.step](options)))
        return
    limit, repeats = options.limit or (64 if options.quick else 1000), options.repeats or (1 if options.quick else 3)
    with fresh_home("benchmarks.variants_partition") as home:
        home.step("upload", "--range", 0, limit, *(["--photos", options.photos] if options.photos else []))
        home.step("ingest")
        seeds = iter(range(1, repeats + 1))
        runs = take_turns(
            {
                "floor": lambda: variants_photos.run_side("floor", options.photos, limit),
                "partition": lambda: run_partition(home, next(seeds), limit),
            },
            repeats,
        )
    finish(options, "variants_partition", figures(runs), {"photos": limit, "children": CHILDREN, "runs": runs})


def run_partition(home: Home, seed: int, limit: int) -> dict[str, Any]:
    """The partition in a process of its own, with the CPU time that the servers spent on it."""
    services = Services(home.folder)
    before_s = servers_cpu_s(services)
    outcome, _ = home.step("partition", "--seed", seed)
    return outcome | {"server_cpu_ms": (servers_cpu_s(services) - before_s) * 1000 / (limit * CHILDREN)}


def partition(options: argparse.Namespace) -> dict[str, Any]:
    """The asset's function over the day: a few variants with another seed, to warm up; all; all again."""
    from pipeline_assets.framework.declaration import RunOfDays
    from pipeline_assets.labeling.schemas import Annotations
    from pipeline_assets.variants.assets import made
    from resources.assembly import resolve
    from resources.servers.services import running
    from resources.settings import load_settings
    from resources.variant_policy import KindPolicy, VariantPolicy

    with running(load_settings()) as settings:
        resources = resolve(settings)
        photos = resources["lake"].scan("raw_uploads", [increment.DAY])

        def variants(rows: pl.LazyFrame, seed: int) -> dict[str, Any]:
            log = logging.getLogger("benchmark")
            inputs = {"raw_uploads": rows, "annotations": Annotations.create_empty().lazy()}
            run = RunOfDays("photo_variants", (increment.DAY,), "benchmark", "benchmark", log, inputs)
            policy = VariantPolicy(seed=seed, photos=KindPolicy(children=CHILDREN, splits=list(SPLITS)))
            wall_s, cpu_s = time.perf_counter(), time.process_time()
            table = made(
                "photos", run, resources["database"], resources["uploads"], resources["objects"], policy, resources["lake"]
            )
            wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
            return {"rows": table.rows.height, "made": table.metadata["made"], "s": wall_s, "cpu_s": cpu_s}

        variants(photos.head(WARM_UP), -options.seed)
        new, nothing = variants(photos, options.seed), variants(photos, options.seed)
    assert new["made"] >= 0.95 * CHILDREN * photos.select(pl.len()).collect().item() and nothing["made"] == 0, (new, nothing)
    return {
        "variants_per_s": new["made"] / new["s"],
        "cpu_ms": new["cpu_s"] * 1000 / new["made"],
        "nothing_s": nothing["s"],
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def figures(runs: dict[str, list[dict[str, Any]]]) -> list[Figure]:
    """The share of the floor first, then what it is made of."""

    def median(side: str, name: str) -> float:
        return statistics.median(run[name] for run in runs[side])

    speed = median("partition", "variants_per_s")
    floor = 1 / sum(1 / median("floor", stage) for stage in ("decode", "change", "encode"))
    note = f"{median('partition', 'cpu_ms'):.2f} CPU ms each, and the servers' "
    note += f"{median('partition', 'server_cpu_ms'):.2f} on the same cores"
    stage_text = ", ".join(f"{stage} {median('floor', stage):,.0f}" for stage in ("decode", "change", "encode", "hash"))
    return [
        Figure("share of the floor", speed / floor, "", at_least(0.85), "perceptual hashes are above the floor"),
        Figure("peak memory", max(run["peak_rss_mb"] for run in runs["partition"]), "MB", at_most(1000)),
        Figure("warm: nothing new", median("partition", "nothing_s"), "s", at_most(1)),
        Figure("variants, from S3 to S3", speed, "variants/s", note=note),
        Figure("the floor: decode, change, encode", floor, "variants/s", note=f"each alone: {stage_text}"),
    ]


STEPS = {"upload": increment.upload, "ingest": increment.ingest, "partition": partition}

if __name__ == "__main__":
    main()
