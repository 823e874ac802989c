"""Neighbours by scikit-learn, and maps by PaCMAP and UMAP; run by `benchmarks.exploration_map` apart.

    python -m benchmarks.rivals.maps FOLDER

FOLDER: vectors.npy, (n, d) of length 1; the maps are written beside it. Prints CPU seconds by rival, as JSON. PaCMAP makes
its own 100 components, UMAP gets 50; their first runs on few vectors, which compile, do not count.
"""

import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pacmap
import umap
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors


def neighbours(vectors: np.ndarray) -> None:
    """Ten by brute force."""
    NearestNeighbors(n_neighbors=11, algorithm="brute", metric="cosine").fit(vectors).kneighbors()


def by_pacmap(vectors: np.ndarray) -> np.ndarray:
    """Its defaults, seeded."""
    return np.asarray(pacmap.PaCMAP(random_state=0).fit_transform(vectors))


def by_umap(vectors: np.ndarray) -> np.ndarray:
    """Its defaults, seeded, on 50 components."""
    few = PCA(min(50, len(vectors) - 1), svd_solver="randomized", random_state=0).fit_transform(vectors)
    return np.asarray(umap.UMAP(random_state=0).fit_transform(few))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    folder = Path(sys.argv[1])
    vectors = np.load(folder / "vectors.npy")
    told = {}
    for name, work in {"scikit-learn": neighbours, "PaCMAP": by_pacmap, "UMAP": by_umap}.items():
        if work is not neighbours:
            work(vectors[:300])
        began = time.process_time()
        places = work(vectors)
        told[name] = {"cpu_s": time.process_time() - began}
        if places is not None:
            np.save(folder / f"{name}.npy", places.astype(np.float32))
    print(json.dumps(told))
