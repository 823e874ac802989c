"""Variants of photos beside albumentations 2.0.8 with the same operations in the same run, and the floor of the asset.

    python -m benchmarks.variants_photos [--photos FOLDER] [--limit 1000] [--repeats 3]

Each photo has four variants at 224 x 224, as JPEGs of quality 92; the ready-made recipes take turns, so that each makes as
many. Photos come from memory and variants go nowhere. One process each, on all its cores: ours; albumentations as its
documentation writes it, a loop, with OpenCV's own threads; and albumentations with a thread a core, which no page of its
shows. All decode a photo once for its four variants, and scale it down with antialiasing. Ours also hashes each variant
perceptually, for its row; held against the others, it does not.

The floor is decoding (with fitting), changing and encoding, each alone on all cores.
"""

import argparse
import hashlib
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.contests import take_turns
from benchmarks.figures import Figure, add_options, at_least, at_most, finish
from benchmarks.photos import photos
from benchmarks.rivals.environments import HERE, NotInstallable, python_of
from pipeline_assets.errors import UnfitParent
from pipeline_assets.runtime.cores import core_count
from pipeline_assets.variants.kinds import Parent, Task, Work
from pipeline_assets.variants.photos import KIND

CHILDREN = 4
WARM_UP = 32
CHUNK = 64
"""Photos that the floor takes through each stage in turn: pixels of more would not fit into the memory allowed."""


def main() -> None:
    """Write the photos for all, measure by turns, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--photos", type=Path, help="a folder of JPEGs; without it, crops of the sample's photos")
    parser.add_argument("--limit", type=int, help="photos (1000; with --quick 64)")
    parser.add_argument("--repeats", type=int, help="runs of each (3; with --quick 1)")
    parser.add_argument("--side", choices=("make", "same", "floor"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    limit, repeats = options.limit or (64 if options.quick else 1000), options.repeats or (1 if options.quick else 3)
    if options.side:
        print(json.dumps(SIDES[options.side](options.photos, limit)))
        return
    absence = ""
    with tempfile.TemporaryDirectory() as name:
        contestants: dict[str, Callable[[], dict[str, Any]]] = {
            side: partial(run_side, side, options.photos, limit) for side in SIDES
        }
        try:
            contestants |= rivals(Path(name), options.photos, limit)
        except NotInstallable as error:
            absence = f"can't be installed: {error}"
        runs = take_turns(contestants, repeats)
    finish(options, "variants_photos", figures(runs, absence), {"photos": limit, "children": CHILDREN, "runs": runs})


def names_of(index: int) -> list[str]:
    """The recipes of a photo's variants: all in turn."""
    all_names = list(KIND.recipes)
    return [all_names[(index * CHILDREN + child) % len(all_names)] for child in range(CHILDREN)]


def work(parents: list[Parent]) -> Iterator[Work]:
    """The tasks of a partition; a second photo is the one before."""
    for index, parent in enumerate(parents):
        for name in names_of(index):
            recipe = KIND.complete(KIND.recipes[name])
            task_parents = (parent, parents[index - 1]) if KIND.operations.parents(recipe) == 2 else (parent,)
            yield Task.of([parent_used.sha256 for parent_used in task_parents], recipe, run_seed=0), task_parents


def held(folder: Path | None, limit: int) -> list[Parent]:
    """Photos in memory."""
    return [Parent(hashlib.sha256(data).hexdigest(), data) for _, data in photos(folder, limit)]


def measure_make(folder: Path | None, limit: int) -> dict[str, Any]:
    """The kind's `make` on all."""
    tasks = list(work(held(folder, limit)))
    for _ in KIND.make(tasks[: WARM_UP * CHILDREN]):
        pass
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    unfit = sum(isinstance(outcome, UnfitParent) for _, outcome in KIND.make(tasks))
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    count = len(tasks) - unfit
    return {"variants_per_s": count / wall_s, "cpu_ms": cpu_s * 1000 / count, "unfit": unfit, "peak_rss_mb": peak_mb}


def measure_same(folder: Path | None, limit: int) -> dict[str, Any]:
    """`make` without what the others do not do."""
    from pipeline_assets.variants.photos import codec

    codec.perceptual_hash = lambda _: "0" * 16
    return measure_make(folder, limit)


def measure_floor(folder: Path | None, limit: int) -> dict[str, Any]:
    """Each stage alone on all cores: variants a second if it were the only one."""
    import torch

    from pipeline_assets.classify.runners import single_threaded_pool
    from pipeline_assets.runtime.allocators import keep_freed_memory
    from pipeline_assets.variants.photos import codec, maker

    keep_freed_memory()
    recent, cpu = maker.Recent(), torch.device("cpu")

    def change(prepared: list[Any]) -> list[Any]:
        with torch.inference_mode():
            return list(maker.change(prepared, cpu))

    def encode(changed: list[Any]) -> list[int]:
        return [
            len(codec.encoded(item[1], item[0].job.recipe.encoding))
            for _, item in changed
            if not isinstance(item, UnfitParent)
        ]

    def hashed(changed: list[Any]) -> list[str]:
        return [codec.perceptual_hash(item[1]) for _, item in changed if not isinstance(item, UnfitParent)]

    seconds = dict.fromkeys(("decode", "change", "encode", "hash"), 0.0)
    tasks, count = list(work(held(folder, limit))), 0
    for _ in KIND.make(tasks[: WARM_UP * CHILDREN]):
        pass
    groups = maker.grouped(iter(tasks))
    with single_threaded_pool(core_count()) as pool:

        def timed(stage: str, function: Callable[[Any], Any], items: list[Any]) -> list[Any]:
            started_at = time.perf_counter()
            results = list(pool.map(function, items))
            seconds[stage] += time.perf_counter() - started_at
            return results

        while chunk := list(islice(groups, CHUNK)):
            count += sum(map(len, chunk))
            prepared = timed("decode", lambda group: maker.prepare(group, recent), chunk)
            fours = [
                [item for group in prepared[at : at + maker.GROUPS] for item in group]
                for at in range(0, len(prepared), maker.GROUPS)
            ]
            changed = timed("change", change, fours)
            timed("encode", encode, changed)
            timed("hash", hashed, changed)
    return {stage: count / seconds_taken for stage, seconds_taken in seconds.items()}


def run_side(side: str, folder: Path | None, limit: int) -> dict[str, Any]:
    """One measurement in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.variants_photos", "--side", side, "--limit", str(limit)]
    command += ["--photos", str(folder)] if folder else []
    process = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(process.stdout.splitlines()[-1]))


def rivals(work_folder: Path, folder: Path | None, limit: int) -> dict[str, Callable[[], dict[str, Any]]]:
    """Rivals on the same photos: a loop, and a thread a core. Raises NotInstallable."""
    python = python_of("albumentations")
    tasks = []
    for index, (name, data) in enumerate(photos(folder, limit)):
        (work_folder / name).write_bytes(data)
        tasks.append((name, names_of(index)))
    tasks_path = work_folder / "tasks.json"
    tasks_path.write_text(json.dumps(tasks))

    def run(threads: int) -> dict[str, Any]:
        command = [str(python), str(HERE / "with_albumentations.py"), str(work_folder), str(tasks_path), str(threads)]
        process = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, env={"NO_ALBUMENTATIONS_UPDATE": "1"}
        )
        return dict(json.loads(process.stdout.splitlines()[-1]))

    return {"loop": partial(run, 1), "threads": partial(run, core_count())}


def figures(runs: dict[str, list[dict[str, Any]]], absence: str) -> list[Figure]:
    """The ratio first, then what ours and theirs are made of."""

    def median(side: str, name: str = "variants_per_s") -> float:
        return statistics.median(run[name] for run in runs[side])

    darkroom_rate, same_rate = median("make"), median("same")
    floor = 1 / sum(1 / median("floor", stage) for stage in ("decode", "change", "encode"))
    report = []
    for side, name, target in (("loop", "albumentations", at_least(2)), ("threads", "albumentations in threads", None)):
        ratio = same_rate / median(side) if side in runs else None
        report.append(Figure(f"faster than {name}", ratio, "x", target, absence))
    report += [
        Figure(
            "variants, all stages overlapping",
            darkroom_rate,
            "variants/s",
            note=f"{median('make', 'cpu_ms'):.2f} CPU ms each",
        ),
        Figure("the same without hashes", same_rate, "variants/s", note=f"{median('same', 'cpu_ms'):.2f} CPU ms each"),
        Figure(
            "share of the floor", darkroom_rate / floor, "", note="photos from memory; perceptual hashes are above the floor"
        ),
        Figure("peak memory", max(run["peak_rss_mb"] for run in runs["make"]), "MB", at_most(1000), "with the photos"),
        Figure("the floor: decode, change, encode", floor, "variants/s"),
    ]
    stage_titles = {
        "decode": "decode and fit alone",
        "change": "change alone",
        "encode": "encode alone",
        "hash": "hash alone",
    }
    report += [Figure(title, median("floor", stage), "variants/s") for stage, title in stage_titles.items()]
    for side, name in (("loop", "albumentations"), ("threads", "albumentations in threads")):
        if side in runs:
            ms = {stage: statistics.median(run["ms"][stage] for run in runs[side]) for stage in runs[side][0]["ms"]}
            note = ", ".join(f"{stage} {value:.2f} ms" for stage, value in ms.items())
            report.append(Figure(f"{name}", median(side), "variants/s", note=f"{note}, {median(side, 'cpu_ms'):.2f} CPU ms"))
    return report


SIDES: dict[str, Callable[[Path | None, int], dict[str, Any]]] = {
    "make": measure_make,
    "same": measure_same,
    "floor": measure_floor,
}

if __name__ == "__main__":
    main()
