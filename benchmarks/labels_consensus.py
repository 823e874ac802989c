"""How often the consensus of a real crowd is right, beside crowd-kit and cleanlab, and whether random annotators are told.

    python -m benchmarks.labels_consensus [--seeds 5]

Ratings of movie snippets (`crowd_answers.py`) are votes for positive or negative, and are drawn anew for each seed: some
annotators of each batch of 30 snippets, a share of whom answers at random. The rivals see the first seed's votes; the slow
ones, one cell. An item without an answer, as a tie, counts as half. Gold for tiers is each annotator's whole batch.
"""

import argparse
import statistics
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from benchmarks.crowd_answers import NoCrowd, Ratings, accuracy, movie_gold, part, ratings, signs
from benchmarks.figures import ROOT, Figure, Target, add_options, at_least, at_most, finish
from benchmarks.rivals.environments import NotInstallable, python_of
from pipeline_assets.labeling.consensus.agreement import Ints
from pipeline_assets.labeling.consensus.choices import Votes, answers_given, majority, one_coin
from pipeline_assets.labeling.consensus.dawid_skene import dawid_skene
from pipeline_assets.labeling.consensus.quality import Bars, tier, wilson

CELLS = ((3, 0.0), (5, 0.0), (5, 0.2), (9, 0.4), (3, 0.4))
"""Votes an item, and the share of annotators who answer at random."""
SEEDS, RANDOM_SHARES = 5, (0.2, 0.4)
FAST = ("crowd-kit MajorityVote", "crowd-kit DawidSkene", "crowd-kit OneCoinDawidSkene")
SLOW, SLOW_CELL = ("crowd-kit GLAD", "cleanlab CROWDLAB"), (5, 0.2)
LEAST_ACCURACY, LEAST_GAIN, LEAST_AUC, MOST_CPU_S = {(5, 0.2): 0.955, (9, 0.4): 0.955}, -0.002, 0.95, 1.0
TIMEOUT_S = 1800


@dataclass(frozen=True)
class Cell:
    """Means over seeds."""

    majority: float
    one_coin: float
    dawid_skene: float
    auc: float | None
    cpu_s: float


def measured(whole: Ratings, gold: Ints, per_item: int, share: float, seeds: int) -> Cell:
    """One cell of the table."""
    rows = []
    for seed in range(1, seeds + 1):
        rated, at_random = part(whole, per_item, share, seed)
        votes, people = signs(rated, len(gold))
        began = time.process_time()
        accuracies = one_coin(votes)
        answers = answers_given(votes, accuracies)
        cpu_s = time.process_time() - began
        right = [accuracy(given.answer, gold) for given in (majority(votes), answers, dawid_skene(votes))]
        rows.append((*right, auc(-accuracies.value, np.isin(people, at_random)) if share else None, cpu_s))
    means = [None if column[0] is None else statistics.mean(column) for column in zip(*rows, strict=True)]
    return Cell(*means)  # type: ignore[arg-type]


def auc(score: np.ndarray, is_positive: np.ndarray) -> float:
    """How often one of the positives has a higher score than one of the others."""
    ranks, positives = rankdata(score), int(is_positive.sum())
    return float((ranks[is_positive].sum() - positives * (positives + 1) / 2) / (positives * (len(is_positive) - positives)))


def tiers(whole: Ratings, gold: Ints, share: float) -> dict[str, int]:
    """Annotators by tier, and how many tiers are wrong: promoted below the bar, or answering at random."""
    rated, at_random = part(whole, 9, share, 1)
    votes, people = signs(rated, len(gold))
    known = gold[votes.item] >= 0
    golden = np.bincount(votes.annotator[known], minlength=len(people))
    correct = np.bincount(votes.annotator[known & (votes.answer == gold[votes.item])], minlength=len(people))
    found = {"qc": 0, "blocked": 0, "annotator": 0, "new": 0, "promoted below the bar": 0, "random promoted": 0}
    found |= {"random": len(np.intersect1d(people, at_random)), "random blocked": 0, "others blocked": 0}
    for person, answers, right in zip(people.tolist(), golden.tolist(), correct.tolist(), strict=True):
        name, _ = tier(answers, answers, right, Bars())
        found[name] += 1
        is_random = person in at_random
        found["promoted below the bar"] += name == "qc" and (wilson(right, answers).low or 0.0) < Bars().qc
        found["random promoted"] += name == "qc" and is_random
        found["random blocked" if is_random else "others blocked"] += name == "blocked"
    return found


def theirs(votes: Votes, gold: Ints, names: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    """Accuracy and CPU seconds of rivals. Raises NotInstallable."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "votes.npz", Path(folder) / "answers.npz"
        np.savez(source, item=votes.item, annotator=votes.annotator, answer=votes.answer, items=votes.items)
        command = [str(python_of("crowd")), "-m", "benchmarks.rivals.consensus_crowd", str(source), str(target), *names]
        try:
            process = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise NotInstallable(f"its run took longer than {TIMEOUT_S} s") from None
        if process.returncode:
            raise NotInstallable(f"its run failed: {process.stderr.strip().splitlines()[-1][:200]}")
        with np.load(target) as read:
            return {name: (accuracy(read[name], gold), float(read[f"{name}_s"])) for name in names if name in read}


def figures_of(cell: tuple[int, float], found: Cell, rivals: dict[str, tuple[float, float]], absence: str) -> list[Figure]:
    """What a cell shows; the rivals' accuracy in the note of ours."""
    name = f"{cell[0]} votes, {cell[1]:.0%} at random"
    target: Target | None = at_least(LEAST_ACCURACY[cell]) if cell in LEAST_ACCURACY else None
    others = [f"Dawid-Skene {found.dawid_skene:.4f}", *(f"{rival} {right:.4f}" for rival, (right, _) in rivals.items())]
    note = f"majority {found.majority:.4f}, {', '.join(others)}" + (f"; {absence}" if absence else "")
    shown = [
        Figure(f"{name}: accuracy", found.one_coin, "", target, note),
        Figure(f"{name}: beyond majority", found.one_coin - found.majority, "", at_least(LEAST_GAIN)),
    ]
    if cell[0] == 5 and found.auc is not None:
        shown.append(Figure(f"{name}: AUC of who is random", found.auc, "", at_least(LEAST_AUC)))
    return shown


def main() -> None:
    """Measure, compare, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--seeds", type=int, help=f"of each cell ({SEEDS}; with --quick 1)")
    options = parser.parse_args()
    seeds = options.seeds or (1 if options.quick else SEEDS)
    try:
        whole = ratings("movie")
    except NoCrowd as error:
        finish(options, "labels_consensus", [Figure("accuracy of the consensus", None, "", note=str(error))])
        return
    gold = movie_gold(int(whole.item.max()) + 1)
    figures, details = [], dict[str, Any]()
    for cell in (*CELLS, (5, 0.4)):
        found = measured(whole, gold, *cell, seeds)
        rivals, absence = dict[str, tuple[float, float]](), ""
        names = FAST + (SLOW if cell == SLOW_CELL and not options.quick else ())
        try:
            rivals = theirs(signs(part(whole, *cell, 1)[0], len(gold))[0], gold, names)
        except NotInstallable as error:
            absence = f"no rivals: {error}"
        figures += figures_of(cell, found, rivals, absence)
        details[f"{cell[0]} votes, {cell[1]:.0%}"] = asdict(found) | {"rivals": rivals}
    for share in RANDOM_SHARES:
        by_tier = tiers(whole, gold, share)
        details[f"tiers, {share:.0%}"] = by_tier
        note = f"blocked: {by_tier['random blocked']} of {by_tier['random']} at random, {by_tier['others blocked']} others"
        figures += [
            Figure(
                f"promoted below the bar, {share:.0%} at random",
                by_tier["promoted below the bar"],
                "",
                at_most(0),
                f"{by_tier['qc']} promoted",
            ),
            Figure(f"promoted who answer at random, {share:.0%}", by_tier["random promoted"], "", at_most(0), note),
        ]
    every, _ = signs(part(whole, 10, 0.2, 1)[0], len(gold))
    began = time.process_time()
    answers_given(every, one_coin(every))
    figures.append(
        Figure(f"EM and answers of {len(every.item):,} votes", time.process_time() - began, "CPU s", at_most(MOST_CPU_S))
    )
    finish(options, "labels_consensus", figures, details)


if __name__ == "__main__":
    main()
