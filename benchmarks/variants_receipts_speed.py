"""How long a rendered receipt takes: by renderer and samples, over processes; and an unfolding clip.

    python -m benchmarks.variants_receipts_speed [--rounds 3]

CPU seconds of one receipt on one thread, text to file; each receipt is another, after one that is not counted (it compiles).
LLVM is measured if DRJIT_LIBLLVM_PATH names 17 or newer.
"""

import argparse
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from benchmarks.figures import Figure, add_options, at_least, finish
from benchmarks.variants_receipts import task_of
from pipeline_assets.variants.kinds import Made
from pipeline_assets.variants.receipts import KIND
from pipeline_assets.variants.receipts.scene import llvm_reason
from pipeline_assets.variants.recipes import Recipe

SAMPLES = (4, 16, 64)
WIDTH_PX, HEIGHT_PX = 256, 512
LLVM_OVER_SCALAR = 4.0
SCALED = 6
"""Receipts of each process."""


def seconds(number: int, recipe: Recipe) -> float:
    """CPU seconds of one variant on one thread."""
    import drjit

    drjit.set_thread_count(1)
    began = time.process_time()
    ((_, outcome),) = KIND.make([task_of(recipe, number)])
    if not isinstance(outcome, Made):
        raise RuntimeError(f"{outcome.reason}: {outcome.detail}")
    return time.process_time() - began


def still(renderer: str, samples: int) -> Recipe:
    """The recipe that is timed."""
    return Recipe("render", renderer=renderer, samples=samples, width_px=WIDTH_PX, height_px=HEIGHT_PX)


def by_samples(renderer: str, rounds: int, samples: tuple[int, ...]) -> dict[int, float]:
    """The median of each number of samples, in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        seconds_taken = {}
        for count in samples:
            recipe = still(renderer, count)
            runs = [pool.submit(seconds, number, recipe).result() for number in range(rounds + 1)]
            seconds_taken[count] = statistics.median(runs[1:])
    return seconds_taken


def many(count: int) -> float:
    """CPU seconds of so many receipts."""
    return sum(seconds(number, still("scalar", 4)) for number in range(count))


def scaling(count: int) -> list[Figure]:
    """Two processes beside one: receipts in the same time, and CPU seconds of each."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(many, [1, 1]))
        began = time.perf_counter()
        cpu_alone = pool.submit(many, count).result()
        alone_s = time.perf_counter() - began
        began = time.perf_counter()
        cpu_beside = sum(pool.map(many, [count, count])) / 2
        parallel_s = time.perf_counter() - began
    note = "by the clock: other work on the machine lowers it"
    return [
        Figure("two processes against one, scalar: receipts a second", 2 * alone_s / parallel_s, "x", note=note),
        Figure("two processes against one, scalar: CPU of a receipt", cpu_beside / cpu_alone, "x"),
    ]


def main() -> None:
    """Time, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--rounds", type=int, help="receipts of each (3; with --quick 1)")
    options = parser.parse_args()
    rounds, samples = options.rounds or (1 if options.quick else 3), SAMPLES[:1] if options.quick else SAMPLES
    reason = llvm_reason()
    scalar = by_samples("scalar", rounds, samples)
    llvm = {} if reason else by_samples("llvm", rounds, samples)
    figures = []
    for count in samples:
        size = f"{count} samples, {WIDTH_PX} x {HEIGHT_PX}"
        figures.append(Figure(f"scalar, {size}", scalar[count], "CPU s"))
        figures.append(Figure(f"LLVM, {size}", llvm.get(count), "CPU s", note=reason))
        ratio = None if reason else scalar[count] / llvm[count]
        target = at_least(LLVM_OVER_SCALAR) if count == SAMPLES[-1] else None
        figures.append(Figure(f"LLVM faster than scalar, {count} samples, one core", ratio, "x", target, reason))
    figures += scaling(1 if options.quick else SCALED)
    frames = 2 if options.quick else 24
    figures.append(
        Figure(f"unfolding clip of {frames} pictures, scalar", seconds(0, Recipe("unfold", frames=frames)), "CPU s")
    )
    finish(options, "variants_receipts_speed", figures, {"rounds": rounds})


if __name__ == "__main__":
    main()
