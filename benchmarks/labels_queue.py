"""What choosing what to ask next gains against asking at random, with its interval and sign.

    python -m benchmarks.labels_queue [--seeds 20]

Handwritten digits of scikit-learn, a third held out. A softmax regression is trained on START random answers; then ROUNDS
times BATCH items are asked, chosen by the queue from the model's probabilities, and it is trained again. Each strategy has
the whole queue but for its random share; they are compared with random items alone, from the same start. Intervals are 95
percent of the mean over seeds, by Student's t. Slices are the digits' halves by brightness, of which the darker one is asked
less at the start.
"""

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.optimize import minimize

from benchmarks.figures import ROOT, Figure, add_options, at_most, finish, interval
from benchmarks.rivals.environments import python_of
from pipeline_assets.labeling.campaigns.gain import gain
from pipeline_assets.labeling.campaigns.queue import ITEMS, MIN_RANDOM_SHARE, Mix, next_items

START, BATCH, ROUNDS, SEEDS = 40, 40, 5, 20
CLASSES = 10
PENALTY = 1e-3
MANY = 100_000
MIXES = {
    "uncertain": Mix({"uncertain": 1 - MIN_RANDOM_SHARE}),
    "diverse": Mix({"diverse": 1 - MIN_RANDOM_SHARE}),
    "slice": Mix({"slice": 1 - MIN_RANDOM_SHARE}),
    "the default mix": Mix(),
    "random": Mix({}),
}
Floats = npt.NDArray[np.float64]


def digits() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Pixels and digits."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.npz"
        subprocess.run([str(python_of("digits")), "-m", "benchmarks.rivals.digits_data", str(path)], cwd=ROOT, check=True)
        found = np.load(path)
        return found["pixels"], found["digits"].astype(np.int64)


def trained(pixels: npt.NDArray[np.float32], truth: npt.NDArray[np.int64]) -> Floats:
    """Weights (65, CLASSES) of a softmax regression."""
    inputs = np.hstack([pixels, np.ones((len(pixels), 1))]).astype(np.float64)
    wanted = np.eye(CLASSES)[truth]

    def loss(flat: Floats) -> tuple[float, Floats]:
        weights = flat.reshape(-1, CLASSES)
        found = _softmax(inputs @ weights)
        value = -np.log(found[np.arange(len(truth)), truth] + 1e-12).mean() + PENALTY * (weights**2).sum()
        return float(value), (inputs.T @ (found - wanted) / len(truth) + 2 * PENALTY * weights).ravel()

    start = np.zeros(inputs.shape[1] * CLASSES)
    return minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 200}).x.reshape(-1, CLASSES)


def probabilities(weights: Floats, pixels: npt.NDArray[np.float32]) -> Floats:
    """(items, CLASSES)."""
    return _softmax(np.hstack([pixels, np.ones((len(pixels), 1))]) @ weights)


def _softmax(scores: Floats) -> Floats:
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def asked(
    mix: Mix, pixels: npt.NDArray[np.float32], truth: npt.NDArray[np.int64], held_out: npt.NDArray[np.bool_], seed: int
) -> tuple[float, list[float], list[float]]:
    """Accuracy at the end, and for each item asked whether the model was wrong on it: chosen ones, and random ones."""
    pool = np.flatnonzero(~held_out)
    rng = np.random.default_rng(seed)
    bright = pixels.mean(axis=1) > np.median(pixels.mean(axis=1))
    weights_of_start = np.where(bright[pool], 4.0, 1.0)
    known = set(rng.choice(pool, START, replace=False, p=weights_of_start / weights_of_start.sum()).tolist())
    chosen: list[float] = []
    random: list[float] = []
    for number in range(ROUNDS):
        at = sorted(known)
        found = probabilities(trained(pixels[at], truth[at]), pixels[pool])
        items = pl.DataFrame(
            {
                "task_key": [f"{row:06}" for row in pool],
                "confidence": found.max(axis=1),
                "entropy": -(found * np.log(found + 1e-12)).sum(axis=1) / np.log(CLASSES),
                "votes": [int(row in known) for row in pool],
                "consensus": [None] * len(pool),
                "slice": ["bright" if bright[row] else "dark" for row in pool],
                "is_done": [row in known for row in pool],
            },
            schema=dict(ITEMS),
        )
        queue = next_items(items, BATCH, mix, seed * 100 + number, lambda keys: pixels[[int(key) for key in keys]])
        guess = dict(zip(pool.tolist(), found.argmax(axis=1).tolist(), strict=True))
        for key, reason in queue.select("task_key", "reason").iter_rows():
            (random if reason == "random" else chosen).append(float(guess[int(key)] != truth[int(key)]))
        known |= {int(key) for key in queue["task_key"]}
    at = sorted(known)
    final = probabilities(trained(pixels[at], truth[at]), pixels[held_out])
    return float((final.argmax(axis=1) == truth[held_out]).mean()), chosen, random


def queue_seconds(items: int) -> float:
    """CPU seconds of a queue of 1,000 out of so many items with all that can be known of them."""
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "task_key": [f"{number:064x}" for number in range(items)],
            "confidence": rng.random(items),
            "entropy": [None] * items,
            "votes": rng.integers(0, 4, items),
            "consensus": rng.random(items),
            "slice": rng.choice(["a", "b", "c"], items),
            "is_done": rng.random(items) < 0.3,
        },
        schema=dict(ITEMS),
    )
    began_s = time.process_time()
    next_items(frame, 1_000, Mix(), 0, lambda keys: rng.standard_normal((len(keys), 1280), dtype=np.float32))
    return time.process_time() - began_s


def main() -> None:
    """Measure, compare, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--seeds", type=int, help=f"of each strategy ({SEEDS}; with --quick 2)")
    options = parser.parse_args()
    pixels, truth = digits()
    scores: dict[str, list[float]] = {name: [] for name in MIXES}
    wrong: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in MIXES}
    for seed in range(options.seeds or (2 if options.quick else SEEDS)):
        held_out = np.random.default_rng(1_000 + seed).random(len(truth)) < 1 / 3
        for name, mix in MIXES.items():
            score, chosen, random = asked(mix, pixels, truth, held_out, seed)
            scores[name].append(score)
            wrong[name][0].extend(chosen)
            wrong[name][1].extend(random)
    base = scores["random"]
    figures = [Figure("accuracy, random items", float(np.mean(base)), "", note=f"{START + ROUNDS * BATCH} answers")]
    for name in MIXES:
        if name == "random":
            continue
        mean, half = interval([one - other for one, other in zip(scores[name], base, strict=True)])
        sign = "+" if mean - half > 0 else "-" if mean + half < 0 else "?"
        told = gain(*wrong[name], seed=0)
        note = f"{mean - half:+.3f} to {mean + half:+.3f} ({sign}); the model is wrong more often on what is chosen: {told}"
        figures.append(Figure(f"gain of accuracy, {name}", mean, "", note=note))
    figures.append(Figure(f"a queue out of {MANY:,} items", queue_seconds(MANY), "CPU s", at_most(5)))
    finish(options, "labels_queue", figures, {"scores": scores})


if __name__ == "__main__":
    main()
