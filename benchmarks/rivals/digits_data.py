"""The handwritten digits of scikit-learn as arrays; run by `benchmarks.labels_queue` in an environment of its own.

    python -m benchmarks.rivals.digits_data DIGITS.npz

DIGITS: `pixels` (1797, 64) in [0, 1], and `digits` (1797,).
"""

import sys

import numpy as np
from sklearn.datasets import load_digits

if __name__ == "__main__":
    found = load_digits()
    np.savez(sys.argv[1], pixels=(found.data / 16).astype(np.float32), digits=found.target.astype(np.int16))
