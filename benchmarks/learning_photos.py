"""What can be learned from few labels, or none: photos in coarse classes, and digits.

    python -m benchmarks.learning_photos --photos FOLDER [--seeds 5]

For each seed a third is held out. 1, 5 or all labels of each class of the rest are known; the others of the rest are there
without. Representations: the embedding as it is, its first principal components, and those trained by contrast between an
item and its variants; each by a linear probe and by the nearest neighbour. Then self-training of the probe: with the
variants of labelled items, with pseudo-labels, and with pseudo-labels that variants must agree on and learn; and labels that
spread to near items, alone and as pseudo-labels of the probe. scikit-learn's SelfTrainingClassifier and LabelSpreading have
the same rows. A gain is a difference on the same draws, with its 95 % interval over seeds by Student's t, and a sign: `+` or
`-` where the interval leaves out 0, else `?`.

The settings of the methods were chosen on other draws of the same items (seeds 100 to 102).
"""

import argparse
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.figures import ROOT, Figure, add_options, finish, interval
from benchmarks.learning_data import Labels, digit_items, photo_items
from benchmarks.rivals.environments import NotInstallable, python_of
from pipeline_assets.exploration.learning import contrast, few_labels, pseudo
from pipeline_assets.exploration.learning.pseudo import Items

LABELS = {"1 label": 1, "5 labels": 5, "all labels": None}
SEEDS = 5
HELD_OUT = 1 / 3
Scores = dict[str, dict[str, float]]


def main() -> None:
    """Measure, compare, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument(
        "--photos", type=Path, help="a folder of JPEGs named by ImageNet's classes; without it, digits alone"
    )
    parser.add_argument("--seeds", type=int, help=f"draws ({SEEDS}; with --quick 2)")
    options = parser.parse_args()
    seeds = options.seeds or (2 if options.quick else SEEDS)
    data = {"digits": digit_items()}
    if options.photos:
        data = {"photos": photo_items(options.photos, 120 if options.quick else 800), **data}
    figures, details = [], {}
    for name, (items, labels) in data.items():
        began_s = time.process_time()
        runs = [measured(items, labels, seed) for seed in range(seeds)]
        figures += of_data(name, runs)
        figures.append(Figure(f"{name}: all of it", time.process_time() - began_s, "CPU s", note=f"{len(labels)} items"))
        details[name] = {"items": len(labels), "classes": int(labels.max()) + 1, "runs": runs}
    finish(options, "learning_photos", figures, details)


def measured(items: Items, labels: Labels, seed: int) -> Scores:
    """Accuracy on the held-out third, by number of labels and by method."""
    order = np.random.default_rng(seed).permutation(len(labels))
    test, pool = order[: round(HELD_OUT * len(order))], order[round(HELD_OUT * len(order)) :]
    views = np.concatenate([view[pool] for view in (items.originals, *items.variants)])
    families = np.tile(pool, 1 + len(items.variants))
    projections = {
        "components": contrast.fit(views, families, seed, steps=0).project,
        "contrast": contrast.fit(views, families, seed).project,
    }
    scores: Scores = {}
    draws = {}
    for name, per_class in LABELS.items():
        known = draws[name] = pool[few_labels.draw(labels[pool], per_class, np.random.default_rng(seed))]
        others = np.setdiff1d(pool, known)
        scores[name] = by_representation(items, labels, known, others, test)
        for title, project in projections.items():
            projected = Items(project(items.originals), [project(view) for view in items.variants])
            for method, score in by_representation(projected, labels, known, others, test).items():
                scores[name][f"{title}, {method}"] = score
    for name, found in rivals(few_labels.unit(items.originals), labels, pool, draws, test).items():
        draw, method = name.split("/")
        scores[draw][f"scikit-learn, {method}"] = found
    return scores


def by_representation(items: Items, labels: Labels, known: Labels, others: Labels, test: Labels) -> dict[str, float]:
    """Accuracy by method; those that need unlabelled items only where there are some."""
    classes = int(labels.max()) + 1
    asked, truth = items.originals[test], labels[test]
    labelled, unlabelled = items.rows(known), items.rows(others)

    def accuracy(found: Labels) -> float:
        return float((found == truth).mean())

    probes = {
        "probe": pseudo.supervised(labelled, labels[known], classes),
        "probe with variants": pseudo.supervised(labelled, labels[known], classes, with_variants=True),
    }
    if len(others):
        for name, is_consistent in (("pseudo-labels", False), ("pseudo-labels and consistency", True)):
            probes[name] = pseudo.self_trained(labelled, labels[known], unlabelled, classes, is_consistent=is_consistent)
        probes["pseudo-labels by spreading"] = pseudo.taught_by_spreading(labelled, labels[known], unlabelled, classes)
    scores = {name: accuracy(one.probabilities(asked).argmax(axis=1)) for name, one in probes.items()}
    if len(others):
        spread = few_labels.spread(labelled.originals, labels[known], unlabelled.originals, asked, classes)
        scores["label spreading"] = accuracy(spread.argmax(axis=1))
    nearest = few_labels.nearest(labelled.originals, labels[known], asked)
    return {**scores, "nearest neighbour": accuracy(nearest)}


def rivals(
    embeddings: few_labels.Floats, labels: Labels, pool: Labels, draws: Mapping[str, Labels], test: Labels
) -> Mapping[str, float]:
    """scikit-learn's accuracy on the same rows, by DRAW/METHOD; nothing if it can't be installed."""
    try:
        python = python_of("digits")
    except NotInstallable:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        given, told = Path(folder) / "given.npz", Path(folder) / "told.npz"
        named = {f"known {name}": known for name, known in draws.items()}
        np.savez(given, embeddings=embeddings, labels=labels, pool=pool, test=test, **named)
        command = [str(python), "-m", "benchmarks.rivals.learning_sklearn", str(given), str(told)]
        subprocess.run(command, cwd=ROOT, check=True)
        found = np.load(told)
        return {name: float((found[name] == labels[test]).mean()) for name in found.files}


BASES = {
    "components, probe": "probe",
    "contrast, probe": "probe",
    "components, nearest neighbour": "nearest neighbour",
    "contrast, nearest neighbour": "nearest neighbour",
    "probe with variants": "probe",
    "pseudo-labels": "probe",
    "pseudo-labels and consistency": "probe with variants",
    "label spreading": "probe",
    "pseudo-labels by spreading": "probe",
    "contrast, probe with variants": "contrast, probe",
    "contrast, pseudo-labels": "contrast, probe",
    "contrast, pseudo-labels and consistency": "contrast, probe with variants",
    "contrast, label spreading": "label spreading",
    "scikit-learn, SelfTrainingClassifier": "scikit-learn, LogisticRegression",
    "scikit-learn, LabelSpreading": "scikit-learn, LogisticRegression",
}
"""Each method, and the one that it adds something to."""


def of_data(data: str, runs: list[Scores]) -> list[Figure]:
    """Accuracies of what others are held against, then gains."""
    figures = []
    for name in LABELS:
        for base in dict.fromkeys(BASES.values()):
            if base in runs[0][name]:
                mean, half = interval([run[name][base] for run in runs])
                figures.append(Figure(f"{data}, {name}: {base}", mean, "accuracy", note=f"± {half:.3f}"))
        for method, base in BASES.items():
            if method in runs[0][name]:
                figures.append(
                    gain(f"{data}, {name}: {method}", [run[name][method] - run[name][base] for run in runs], base)
                )
    return figures


def gain(name: str, differences: list[float], base: str) -> Figure:
    """A difference with its interval and sign."""
    mean, half = interval(differences)
    sign = "+" if mean - half > 0 else "-" if mean + half < 0 else "?"
    return Figure(name, mean, "gain", note=f"{mean - half:+.3f} to {mean + half:+.3f} ({sign}) against {base}")


if __name__ == "__main__":
    main()
