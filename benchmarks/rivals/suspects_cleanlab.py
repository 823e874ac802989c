"""Label errors by cleanlab; run by `benchmarks.exploration_suspects` in an environment of its own.

    python -m benchmarks.rivals.suspects_cleanlab GIVEN.npz FOUND.npz

GIVEN: `features` (items, numbers), `labels` (seeds, items), and for each seed `probabilities` (seeds, items, classes) of
another model, out of sample. FOUND, for `own`, cleanlab's usual way (logistic regression on standardised features, cross-
validated by five), and `given`, the probabilities in GIVEN: `NAME_ranked` (seeds, items), by self-confidence, the most
suspicious first, and `NAME_found` (seeds, items); `cpu_s` of `own`.
"""

import sys
import time

import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

if __name__ == "__main__":
    given = np.load(sys.argv[1])
    found: dict[str, list[np.ndarray]] = {"own_ranked": [], "own_found": [], "given_ranked": [], "given_found": []}
    cpu_s = 0.0
    for labels, probabilities in zip(given["labels"], given["probabilities"], strict=True):
        began_s = time.process_time()
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=400))
        own = cross_val_predict(model, given["features"], labels, cv=5, method="predict_proba")
        for name, probability in (("own", own), ("given", probabilities)):
            found[f"{name}_ranked"].append(np.argsort(get_label_quality_scores(labels, probability), kind="stable"))
            found[f"{name}_found"].append(find_label_issues(labels, probability, n_jobs=1))
            if name == "own":
                cpu_s += time.process_time() - began_s
    np.savez(sys.argv[2], cpu_s=cpu_s, **{name: np.array(rows) for name, rows in found.items()})
