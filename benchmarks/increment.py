"""What is new costs, and nothing else: 100 photos on top of 1,000, and none at all.

    python -m benchmarks.increment [--photos FOLDER] [--repeats 3]

Warm: in a process that has its model loaded, the asset's own look-up over the day's photos, from bytes in S3 to rows of the
table. Whole: a process that makes one Dagster run of raw_uploads, photo_classes and photo_styles over the day, held against
the same process with one empty asset instead.
"""

import argparse
import json
import logging
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from benchmarks.figures import Figure, add_options, at_most, finish
from benchmarks.home import fresh_home, run_assets
from benchmarks.photos import photos
from pipeline_assets.definitions import build_defs
from pipeline_assets.framework.partitions import daily
from pipeline_assets.ingestion.schemas import IS_PHOTO
from pipeline_assets.nightly.bucket import discover
from resources.assembly import resolve
from resources.servers.services import running
from resources.settings import Settings, load_settings

DAY = datetime.now(UTC).date() - timedelta(days=20)
ASSETS = ("raw_uploads", "photo_classes", "photo_styles")
USER = 1


def main() -> None:
    """Known photos first; then, by rounds, an empty run, a run over what is new, and one over nothing new."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--photos", type=Path, help="a folder of JPEGs; without it, crops of the sample's photos")
    parser.add_argument("--repeats", type=int, help="rounds (3; with --quick 1)")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--range", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        print(json.dumps(STEPS[options.step](options)))
        return
    first_count, new_count = (64, 8) if options.quick else (1000, 100)
    repeats = options.repeats or (1 if options.quick else 3)
    runs: dict[str, list[float]] = {name: [] for name in ("empty", "new", "nothing")}
    with fresh_home("benchmarks.increment") as home:

        def step(step_name: str, first: int = 0, last: int = 0) -> dict[str, Any]:
            chosen = ["--photos", options.photos] if options.photos else []
            outcome, usage = home.step(step_name, "--range", first, last, *chosen)
            return {**outcome, "s": usage.wall_s}

        step("upload", 0, first_count)
        step("assets")
        warm = []
        for turn in range(repeats):
            first = first_count + 3 * turn * new_count
            step("upload", first, first + 2 * new_count)
            step("ingest")
            warm.append(step("warm"))
            runs["empty"].append(step("empty")["s"])
            step("upload", first + 2 * new_count, first + 3 * new_count)
            runs["new"].append(step("assets")["s"])
            runs["nothing"].append(step("assets")["s"])
    finish(options, "increment", figures(runs, warm, first_count, new_count), {"runs": runs, "warm": warm})


def upload(options: argparse.Namespace) -> dict[str, Any]:
    """Upload these photos as if on the day, and have them in the ledger."""
    with running(load_settings()) as settings:
        resources = resolve(settings)
        first, last = options.range
        photo_list = list(photos(options.photos, last))[first:]
        items = ((f"uploads/{DAY}/{USER}/{name}", data) for name, data in photo_list)
        errors = [error for _, error in resources["uploads"].store.put_many(items) if error]
        assert not errors, errors[:3]
        return {"new": discover(resources["database"], resources["uploads"])}


def assets(_options: argparse.Namespace) -> dict[str, Any]:
    """One Dagster run of the three assets over the day."""
    run_assets(ASSETS, DAY)
    return {}


def ingest(_options: argparse.Namespace) -> dict[str, Any]:
    """One Dagster run of raw_uploads alone, so that the classifiers' work is still to do."""
    run_assets(ASSETS[:1], DAY)
    return {}


def empty(_options: argparse.Namespace) -> dict[str, Any]:
    """The same process with one asset that does nothing."""
    run_assets(("nothing",), DAY, with_an_empty_asset)
    return {}


def with_an_empty_asset(settings: Settings) -> dg.Definitions:
    """The whole graph, and beside it an asset that does nothing."""

    @dg.asset(partitions_def=daily, backfill_policy=dg.BackfillPolicy.single_run())
    def nothing() -> None:
        """Do nothing."""

    return dg.Definitions.merge(dg.Definitions(assets=[nothing]), build_defs(settings))


def warm(_options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of the look-up over the day's photos: with half of what is new, which loads the model; with the other half
    new; with nothing new.
    """
    from pipeline_assets.classify import assets as classify
    from pipeline_assets.framework.declaration import RunOfDays
    from resources.objects.results import Results

    with running(load_settings()) as settings:
        resources = resolve(settings)
        results = Results(resources["database"], resources["objects"].store)
        rows = resources["lake"].scan("raw_uploads", [DAY]).filter(IS_PHOTO).collect()
        model = classify.model_of(resources["classifier"])
        new = results.missing(model, rows["sha256"].to_list())
        half = rows.filter(~pl.col("sha256").is_in(new[len(new) // 2 :]))
        run = RunOfDays("photo_classes", (DAY,), "benchmark", "benchmark", logging.getLogger("benchmark"))
        seconds = []
        for batch in (half, rows, rows):
            started_at = time.perf_counter()
            parts = (results, resources["uploads"], resources["classifier"], resources["lake"])
            looked_up = classify.look_up(run, model, batch.lazy(), *parts)
            height = sum(part.height for part in looked_up.rows)
            seconds.append(time.perf_counter() - started_at)
            assert height == batch["sha256"].n_unique()
        return {"photos": rows.height, "new_photos": len(new) - len(new) // 2, "new_s": seconds[1], "nothing_s": seconds[2]}


def figures(runs: dict[str, list[float]], warm: list[dict[str, Any]], first_count: int, new_count: int) -> list[Figure]:
    """Seconds, medians over the rounds."""
    medians = {name: statistics.median(seconds) for name, seconds in runs.items()}
    warm_s = {name: statistics.median(run[name] for run in warm) for name in ("new_s", "nothing_s")}
    on_top = f"on top of {first_count:,} and more"
    return [
        Figure(f"warm: {new_count} new photos {on_top}", warm_s["new_s"], "s", at_most(1)),
        Figure("warm: nothing new", warm_s["nothing_s"], "s", at_most(0.2)),
        Figure(
            f"whole Dagster run: {new_count} new photos, beyond an empty asset",
            medians["new"] - medians["empty"],
            "s",
            at_most(4),
        ),
        Figure("whole Dagster run: nothing new, beyond an empty asset", medians["nothing"] - medians["empty"], "s"),
        Figure("whole Dagster run of an empty asset", medians["empty"], "s"),
    ]


STEPS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "upload": upload,
    "ingest": ingest,
    "assets": assets,
    "empty": empty,
    "warm": warm,
}

if __name__ == "__main__":
    main()
