"""Whether a small transformer that learns masked words of short texts embeds them better than TF-IDF with SVD.

    python -m benchmarks.learning_text [--seeds 5]

Movie snippets of known sentiment (`snippets.py`), of which TESTED are held out for each seed. Both embeddings have 64
dimensions, and are learned from the texts of the rest without labels. A linear probe is then trained on 1, 5, 50 and 500
labels of each class, on either and on both side by side; and with pseudo-labels of the rest. A gain is a difference on the
same draws, with its 95 % interval over seeds by Student's t, and a sign: `+` or `-` where it leaves out 0, else `?`.
"""

import argparse
import time

import numpy as np

from benchmarks.figures import Figure, add_options, at_most, finish, interval
from benchmarks.learning_photos import gain
from benchmarks.snippets import movie_snippets
from pipeline_assets.exploration.learning import few_labels, pseudo, titles
from pipeline_assets.exploration.learning.few_labels import Floats, Ints
from pipeline_assets.exploration.learning.pseudo import Items

LABELS = {"1 label": 1, "5 labels": 5, "50 labels": 50, "500 labels": 500}
SEEDS, TESTED = 5, 2_000
BASE = "TF-IDF and SVD"
OTHERS = ("masked words", "both", "TF-IDF and SVD, pseudo-labels")
QUICK = 600


def main() -> None:
    """Measure, compare, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--seeds", type=int, help=f"draws ({SEEDS}; with --quick 2)")
    options = parser.parse_args()
    texts, truth = movie_snippets()
    labels = truth.astype(np.int64)
    seconds = {BASE: 0.0, "masked words": 0.0}
    runs = []
    for seed in range(options.seeds or (2 if options.quick else SEEDS)):
        order = np.random.default_rng(seed).permutation(len(labels))
        test, pool = (order[:300], order[300 : 300 + QUICK]) if options.quick else (order[:TESTED], order[TESTED:])
        embedded = embeddings(texts, pool, test, seed, seconds)
        runs.append(measured(embedded, labels[pool], labels[test], seed))
    finish(options, "learning_text", figures(runs, seconds), {"items": len(labels), "runs": runs})


def embeddings(
    texts: list[str], pool: Ints, test: Ints, seed: int, seconds: dict[str, float]
) -> dict[str, tuple[Floats, Floats]]:
    """Of the pool's texts and the tested ones, by method; CPU seconds of training are added to `seconds`."""
    learned, asked = [texts[row] for row in pool], [texts[row] for row in test]
    began_s = time.process_time()
    tfidf = titles.fit_tfidf_svd(learned, seed)
    trained_s = time.process_time()
    masked = titles.fit_masked_words(learned, seed)
    seconds["masked words"] += time.process_time() - trained_s
    seconds[BASE] += trained_s - began_s
    found = {name: (model.embed(learned), model.embed(asked)) for name, model in ((BASE, tfidf), ("masked words", masked))}
    sides = [np.hstack([found[name][side] for name in found]) for side in (0, 1)]
    return {**found, "both": (sides[0], sides[1])}


def measured(
    embedded: dict[str, tuple[Floats, Floats]], known_truth: Ints, truth: Ints, seed: int
) -> dict[str, dict[str, float]]:
    """Accuracy on the tested texts, by number of labels and by method."""
    scores = {}
    for name, per_class in LABELS.items():
        known = few_labels.draw(known_truth, per_class, np.random.default_rng(seed))
        others = np.setdiff1d(np.arange(len(known_truth)), known)
        probes = {
            method: few_labels.probe(rows[known], known_truth[known], classes=2) for method, (rows, _) in embedded.items()
        }
        own = Items(embedded[BASE][0])
        trained = pseudo.self_trained(own.rows(known), known_truth[known], own.rows(others), 2, is_consistent=False)
        found = {method: probe.probabilities(embedded[method][1]) for method, probe in probes.items()}
        found[f"{BASE}, pseudo-labels"] = trained.probabilities(embedded[BASE][1])
        scores[name] = {method: float((given.argmax(axis=1) == truth).mean()) for method, given in found.items()}
    return scores


def figures(runs: list[dict[str, dict[str, float]]], seconds: dict[str, float]) -> list[Figure]:
    """The base's accuracies, each followed by what others gain on it, then CPU seconds."""
    report = []
    for name in LABELS:
        mean, half = interval([run[name][BASE] for run in runs])
        report.append(Figure(f"snippets, {name}: {BASE}", mean, "accuracy", note=f"± {half:.3f}"))
        for method in OTHERS:
            report.append(gain(f"snippets, {name}: {method}", [run[name][method] - run[name][BASE] for run in runs], BASE))
    limits = {BASE: None, "masked words": at_most(120)}
    return report + [
        Figure(f"{method}: training, all seeds", spent_s, "CPU s", limits[method]) for method, spent_s in seconds.items()
    ]


if __name__ == "__main__":
    main()
