"""Labels of votes by snorkel's LabelModel; run by `benchmarks.labels_weak` in an environment of its own.

    python -m benchmarks.rivals.weak_snorkel VOTES.npz LABELS.npz

VOTES: `votes` (items, functions), -1 where a function abstains, and `balance`, the share of each class. Fitted to these
votes without any truth, as the package means it to be. LABELS: `probabilities` (items, classes), and the CPU seconds that it
took.
"""

import sys
import time

import numpy as np
from snorkel.labeling.model import LabelModel

if __name__ == "__main__":
    given = np.load(sys.argv[1])
    began_s = time.process_time()
    model = LabelModel(cardinality=len(given["balance"]), verbose=False)
    model.fit(given["votes"].astype(np.int64), class_balance=given["balance"], n_epochs=500, seed=0, progress_bar=False)
    probabilities = model.predict_proba(given["votes"].astype(np.int64))
    np.savez(sys.argv[2], probabilities=probabilities, cpu_s=time.process_time() - began_s)
