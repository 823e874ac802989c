"""scikit-learn's semi-supervised classifiers; run by `benchmarks.learning_photos` in the environment of digits.

    python -m benchmarks.rivals.learning_sklearn GIVEN.npz TOLD.npz

GIVEN: `embeddings` (N, D) of length 1, `labels` (N,), row numbers `pool` and `test`, and for each draw of labelled rows
`known DRAW`. TOLD: the classes of the test rows, by DRAW/METHOD. The regression has our penalty,
and self-training our threshold and number of rounds.
"""

import sys
import warnings

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier

PENALTY, THRESHOLD, ROUNDS = 0.01, 0.8, 3

if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    given = np.load(sys.argv[1])
    embeddings, labels, pool = given["embeddings"], given["labels"], given["pool"]
    test = embeddings[given["test"]]
    told = {}
    for name in given.files:
        if name.startswith("known "):
            draw, known = name.removeprefix("known "), given[name]
            regression = LogisticRegression(C=1 / PENALTY, max_iter=200)
            told[f"{draw}/LogisticRegression"] = regression.fit(embeddings[known], labels[known]).predict(test)
            targets = np.where(np.isin(pool, known), labels[pool], -1)
            if (targets == -1).any():
                training = SelfTrainingClassifier(regression, threshold=THRESHOLD, max_iter=ROUNDS)
                spreading = LabelSpreading(kernel="knn", n_neighbors=7)
                told[f"{draw}/SelfTrainingClassifier"] = training.fit(embeddings[pool], targets).predict(test)
                told[f"{draw}/LabelSpreading"] = spreading.fit(embeddings[pool], targets).predict(test)
    np.savez(sys.argv[2], **told)
