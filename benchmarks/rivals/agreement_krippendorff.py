"""Krippendorff's alpha as the package krippendorff has it; run by `benchmarks.labels_agreement` apart.

    python -m benchmarks.rivals.agreement_krippendorff RATINGS

RATINGS: an npz of item and value, (n,) each. Prints alpha and CPU seconds by scale, as JSON; counting is among the seconds.
"""

import json
import sys
import time

import krippendorff
import numpy as np

SCALES = ("nominal", "ordinal", "interval")


def alpha(item: np.ndarray, value: np.ndarray, scale: str) -> float:
    """Of ratings by item and value."""
    domain, code = np.unique(value, return_inverse=True)
    items = int(item.max()) + 1
    counts = np.bincount(item * len(domain) + code, minlength=items * len(domain)).reshape(items, len(domain))
    return float(krippendorff.alpha(value_counts=counts, value_domain=domain, level_of_measurement=scale))


if __name__ == "__main__":
    with np.load(sys.argv[1]) as ratings:
        item, value = ratings["item"], ratings["value"]
    result = {}
    for scale in SCALES:
        began = time.process_time()
        measured = alpha(item, value, scale)
        result[scale] = {"alpha": measured, "cpu_s": time.process_time() - began}
    print(json.dumps(result))
