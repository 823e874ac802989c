"""How right labels by crude labeling functions are: majority, weights of a development set, and snorkel's LabelModel.

    python -m benchmarks.labels_weak [--development 200] [--seeds 10]

Sentiment of movie snippets (`snippets.py`), by seven crude functions that look for words and signs. Accuracy is of the items
on which any function votes, and that are not in the development set; a tie counts half. Intervals are 95 percent of the mean
over draws of the development set, by Student's t.
"""

import argparse
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.figures import ROOT, Figure, add_options, finish, interval
from benchmarks.rivals.environments import NotInstallable, python_of
from benchmarks.snippets import movie_snippets
from pipeline_assets.labeling.weak import model
from pipeline_assets.labeling.weak.functions import apply, labeling_function

CLASSES = ("negative", "positive")
DEVELOPMENT, SEEDS = 200, 10
GOOD = "good|great|best|funny|beautiful|moving|brilliant|smart|charming|enjoyable|powerful|delightful|fascinating"
BAD = "bad|worst|dull|boring|fails|lacks|mess|tedious|silly|flat|lame|awful|unfunny|pointless|predictable"


def _has(words: str, sentiment: str) -> pl.Expr:
    return pl.when(pl.col("text").str.contains(rf"(?i)\b({words})\b")).then(pl.lit(sentiment))


FUNCTIONS = [
    labeling_function(name=name, classes=[sentiment])(lambda items, found=found: found)
    for name, sentiment, found in (
        ("good words", "positive", _has(GOOD, "positive")),
        ("bad words", "negative", _has(BAD, "negative")),
        ("a but", "negative", _has("but|however|unfortunately|despite", "negative")),
        ("a not", "negative", _has("not|never|no|isn't|doesn't|won't", "negative")),
        ("too much", "negative", _has("too|only|just|than|like", "negative")),
        ("family", "positive", _has("love|heart|family|life|human|performances?|director", "positive")),
        ("long", "positive", pl.when(pl.col("text").str.len_chars() > 160).then(pl.lit("positive"))),
    )
]


def accuracy(probabilities: npt.NDArray[np.float64], truth: model.Truth, covered: npt.NDArray[np.bool_]) -> float:
    """Share of the covered items whose most probable class is right; a tie counts half."""
    return float(model.correct(probabilities, truth)[covered].mean())


def theirs(votes: model.Votes) -> tuple[npt.NDArray[np.float64] | None, float, str]:
    """Snorkel's probabilities and CPU seconds, or why there are none."""
    try:
        python = python_of("snorkel")
    except NotInstallable as error:
        return None, 0.0, f"snorkel can't be installed: {error}"
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "votes.npz", Path(folder) / "labels.npz"
        np.savez(given, votes=votes, balance=np.array([0.5, 0.5]))
        command = [str(python), "-m", "benchmarks.rivals.weak_snorkel", str(given), str(found)]
        process = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
        if process.returncode:
            return None, 0.0, f"snorkel failed: {process.stderr.strip().splitlines()[-1][:200]}"
        labels = np.load(found)
        return labels["probabilities"], float(labels["cpu_s"]), ""


def main() -> None:
    """Measure, compare, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--development", type=int, default=DEVELOPMENT, help=f"items of known truth ({DEVELOPMENT})")
    parser.add_argument("--seeds", type=int, help=f"draws of the development set ({SEEDS}; with --quick 2)")
    options = parser.parse_args()
    texts, truth = movie_snippets()
    began_s = time.process_time()
    said, faults = apply(FUNCTIONS, pl.DataFrame({"text": texts}), CLASSES)
    applied_s = time.process_time() - began_s
    votes = model.encode(said, CLASSES)
    covered = (votes != model.ABSTAIN).any(axis=1)
    rival, rival_s, absence = theirs(votes)
    scores: dict[str, list[float]] = {"majority": [], "weighted": [], "chosen": [], "snorkel": []}
    fell_back = []
    own_s = 0.0
    for seed in range(options.seeds or (2 if options.quick else SEEDS)):
        known = np.zeros(len(truth), bool)
        known[np.random.default_rng(seed).choice(len(truth), options.development, replace=False)] = True
        tested = covered & ~known
        began = time.process_time()
        weighted = model.weighted(votes, votes[known], truth[known], 2)
        own_s += time.process_time() - began
        majority = model.majority(votes, votes[known], truth[known], 2)
        labels = model.label(votes, votes[known], truth[known], 2)
        fell_back.append(labels.fell_back)
        scores["majority"].append(accuracy(majority, truth, tested))
        scores["weighted"].append(accuracy(weighted, truth, tested))
        scores["chosen"].append(accuracy(majority if labels.fell_back else weighted, truth, tested))
        if rival is not None:
            scores["snorkel"].append(accuracy(rival, truth, tested))
    notes: Mapping[str, str] = {
        "weighted": f"{own_s / len(fell_back):.3f} CPU s",
        "chosen": f"fell back to majority in {sum(fell_back)} of {len(fell_back)} draws",
        "snorkel": absence or f"fitted without a development set; {rival_s:.1f} CPU s",
    }
    figures = [
        Figure(f"accuracy, {name}", float(np.mean(found)) if found else None, "", note=_note(found, notes.get(name, "")))
        for name, found in scores.items()
    ]
    figures.append(Figure("items on which a function votes", float(covered.mean()), ""))
    figures.append(Figure("functions applied", applied_s, "CPU s", note=f"{len(texts):,} texts"))
    finish(options, "labels_weak", figures, {"items": len(texts), "scores": scores, "faults": len(faults)})


def _note(found: list[float], more: str) -> str:
    if not found:
        return more
    mean, half = interval(found)
    return f"{mean - half:.3f} to {mean + half:.3f}; {more}".strip("; ")


if __name__ == "__main__":
    main()
