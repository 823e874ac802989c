"""Consensus as crowd-kit and cleanlab have it; run by `benchmarks.labels_consensus` in an environment of its own.

    python -m benchmarks.rivals.consensus_crowd VOTES OUTPUT

VOTES: an npz of item, annotator, answer (0 or 1), (n,) each. OUTPUT: an npz of each rival's answers, (items,), with -1 where
it has none, and its CPU seconds as NAME_s. cleanlab has no classifier here: CROWDLAB gets shares of votes for its
probabilities.
"""

import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
from cleanlab.multiannotator import get_label_quality_multiannotator
from crowdkit.aggregation import GLAD, DawidSkene, MajorityVote, OneCoinDawidSkene


def of_crowd_kit(aggregator: Callable[[], object]) -> Callable[[pd.DataFrame, int], np.ndarray]:
    """Answers of one of crowd-kit's models."""

    def answers(votes: pd.DataFrame, items: int) -> np.ndarray:
        labels = aggregator().fit_predict(votes)  # type: ignore[attr-defined]
        found = np.full(items, -1)
        found[labels.index.to_numpy()] = labels.to_numpy()
        return found

    return answers


def of_cleanlab(votes: pd.DataFrame, items: int) -> np.ndarray:
    """Answers of CROWDLAB."""
    table = votes.pivot(index="task", columns="worker", values="label")
    counts = np.bincount(votes["task"] * 2 + votes["label"], minlength=items * 2).reshape(-1, 2)[table.index]
    shares = (counts + 1) / (counts + 1).sum(1, keepdims=True)
    result = get_label_quality_multiannotator(table.reset_index(drop=True), shares, verbose=False)
    found = np.full(items, -1)
    found[table.index.to_numpy()] = result["label_quality"]["consensus_label"].to_numpy()
    return found


RIVALS = {
    "crowd-kit MajorityVote": of_crowd_kit(MajorityVote),
    "crowd-kit DawidSkene": of_crowd_kit(lambda: DawidSkene(n_iter=100)),
    "crowd-kit OneCoinDawidSkene": of_crowd_kit(lambda: OneCoinDawidSkene(n_iter=100)),
    "crowd-kit GLAD": of_crowd_kit(lambda: GLAD(n_iter=20)),
    "cleanlab CROWDLAB": of_cleanlab,
}


def main(source: str, target: str, names: list[str]) -> None:
    """Run the rivals of these names, or all."""
    with np.load(source) as read:
        votes = pd.DataFrame({"task": read["item"], "worker": read["annotator"], "label": read["answer"]})
        items = int(read["items"])
    results = {}
    for name in names or RIVALS:
        began = time.process_time()
        try:
            results[name] = RIVALS[name](votes, items)
            results[f"{name}_s"] = np.array(time.process_time() - began)
        except Exception as error:  # a rival that fails is reported as that
            print(f"{name} failed: {type(error).__name__}: {error}"[:300], file=sys.stderr)
    np.savez(target, **results)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
