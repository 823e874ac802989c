"""Krippendorff's alpha on real ratings of crowds, beside the package krippendorff, and what it takes.

    python -m benchmarks.labels_agreement [--rounds 5]

The ratings are fetched by pip into build/ once (`crowd_answers.py`): four sets, up to 200,000 ratings from -4 to 4. CPU
seconds count from the ratings on; an interval takes 400 resamples of the items.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.crowd_answers import FILES, NoCrowd, Ratings, ratings
from benchmarks.figures import ROOT, Figure, add_options, at_most, finish
from benchmarks.rivals.environments import NotInstallable, python_of
from pipeline_assets.labeling.consensus.agreement import Measure, Scale, alpha, cohen_kappa, counts, fleiss_kappa

SCALES: tuple[Scale, ...] = ("nominal", "ordinal", "interval")
MOST_DIFFERENCE, MOST_CPU_S = 1e-9, 1.0
ROUNDS = 5
LARGEST = "movie"


def ours(rated: Ratings, scale: Scale, seed: int | None = None) -> Measure:
    """Alpha from ratings on."""
    return alpha(counts(rated.item, rated.value.astype(np.float64)), scale, seed)


def theirs(rated: Ratings) -> dict[str, dict[str, float]]:
    """The package's alpha and CPU seconds by scale. Raises NotInstallable."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ratings.npz"
        np.savez(path, item=rated.item, value=rated.value)
        command = [str(python_of("crowd")), "-m", "benchmarks.rivals.agreement_krippendorff", str(path)]
        process = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if process.returncode:
        raise NotInstallable(f"its run failed: {process.stderr.strip().splitlines()[-1][:200]}")
    result: dict[str, dict[str, float]] = json.loads(process.stdout)
    return result


def cpu_s(work: Callable[[], Any], rounds: int) -> float:
    """The median of CPU seconds."""
    used = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        used.append(time.process_time() - began)
    return statistics.median(used)


def main() -> None:
    """Measure, compare, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of each measured time ({ROUNDS})")
    options = parser.parse_args()
    figures, details = [], dict[str, Any]()
    try:
        sets = {name: ratings(name) for name in FILES}
    except NoCrowd as error:
        finish(options, "labels_agreement", [Figure("alpha of the four sets", None, "", note=str(error))])
        return
    rival_s = None
    for name, rated in sets.items():
        measured = {scale: ours(rated, scale, seed=0) for scale in SCALES}
        values = {scale: measure.value for scale, measure in measured.items()}
        note = ", ".join(f"{scale} {value:.4f}" for scale, value in values.items())
        try:
            rival = theirs(rated)
        except NotInstallable as error:
            figures.append(Figure(f"{name}: difference from krippendorff", None, "", at_most(MOST_DIFFERENCE), str(error)))
        else:
            difference = max(abs((values[scale] or 0.0) - rival[scale]["alpha"]) for scale in SCALES)
            figures.append(
                Figure(f"{name}: difference from krippendorff", difference, "", at_most(MOST_DIFFERENCE), f"alpha: {note}")
            )
            if name == LARGEST:
                rival_s = sum(rival[scale]["cpu_s"] for scale in SCALES)
        details[name] = {scale: vars(measure) for scale, measure in measured.items()} | {"ratings": len(rated.value)}
    largest = sets[LARGEST]
    count, rounds = len(largest.value), options.rounds
    rated, codes = counts(largest.item, largest.value.astype(np.float64)), largest.value + 4
    all_scales = cpu_s(lambda: [ours(largest, scale) for scale in SCALES], rounds)
    figures += [
        Figure(f"alpha of {count:,} ratings, three scales", all_scales, "CPU s", at_most(MOST_CPU_S), beside(rival_s)),
        *(
            Figure(f"its bootstrap interval, {scale}", cpu_s(lambda scale=scale: alpha(rated, scale, 0), rounds), "CPU s")
            for scale in SCALES
        ),
        Figure("Fleiss' kappa", cpu_s(lambda: fleiss_kappa(rated), rounds), "CPU s"),
        Figure(
            "Cohen's kappa over pairs of 6,635 annotators",
            cpu_s(lambda: cohen_kappa(largest.item, largest.annotator, codes, 0), 1),
            "CPU s",
        ),
    ]
    finish(options, "labels_agreement", figures, details)


def beside(rival_s: float | None) -> str:
    """The rival's seconds as a note."""
    return "" if rival_s is None else f"{rival_s:.2f} by krippendorff"


if __name__ == "__main__":
    main()
