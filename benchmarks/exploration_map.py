"""The map of photos: exact neighbours and places of 20,000, a night of a million, and the search for one among them.

    python -m benchmarks.exploration_map [--photos FOLDER] [--million 1000000]

Vectors are the classifier's of 800 photos, and mixtures of two of them with noise, so that they have the spectrum of real
ones; then such mixtures of every second photo, among which the others are unlike all; besides, a fifth as many of a hundred
clusters of noise, which is the worst for the search. scikit-learn, PaCMAP and UMAP run on the same 20,000, in a virtual
environment of their own. The million lies in files in TMPDIR (6.4 GB).
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.figures import ROOT, Figure, add_options, at_least, at_most, finish
from benchmarks.photos import photos
from benchmarks.rivals.environments import NotInstallable, python_of
from pipeline_assets.classify import models, pipeline
from pipeline_assets.exploration.map import codes, embeddings, layout, nearest, neighbours, reference
from pipeline_assets.exploration.map.embeddings import View
from pipeline_assets.exploration.map.neighbours import Floats, Lists

REAL, PHOTOS, NIGHT, MILLION = 800, 20_000, 200, 1_000_000
CHECKED = 200
"""Photos whose neighbours are compared with those of all similarities in float64."""
QUERIES = 40
CHUNK, PART = 20_000, 512
MOST_CPU_S, MOST_MS, MOST_GB = 30.0, 50.0, 2.0
NOTHING = np.zeros(0, np.int64)


def real_vectors(folder: Path | None, count: int) -> Floats:
    """The classifier's embeddings of photos."""
    batches = pipeline.classify_photos(photos(folder, count), classifier=models.load_classifier(), device="cpu")
    return neighbours.unit_vectors(np.array([row for batch in batches for row in batch.classes["embedding"].to_list()]))


def mixtures(real: Floats, count: int, seed: int) -> Floats:
    """Vectors between two real ones, mostly near the first, with a little noise in every direction."""
    random = np.random.default_rng(seed)
    share = random.beta(1, 4, (count, 1)).astype(np.float32)
    one, other = real[random.integers(0, len(real), count)], real[random.integers(0, len(real), count)]
    noise = random.standard_normal((count, real.shape[1]), np.float32) * np.float32(0.3 / real.shape[1] ** 0.5)
    return shortened((1 - share) * one + share * other + noise)


def clustered(width: int, count: int, seed: int) -> Floats:
    """A hundred clusters of equal noise in all directions."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((100, width), np.float32)
    noise = random.standard_normal((count, width), np.float32)
    return shortened(centres[random.integers(0, 100, count)] + noise)


def shortened(vectors: Floats) -> Floats:
    """Vectors of length 1, in place."""
    vectors /= np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
    return vectors


def all_new(vectors: Any) -> Lists:
    """Exact neighbours with nothing known."""
    everyone = np.arange(len(vectors))
    return neighbours.updated(vectors, everyone, Lists.empty(len(vectors)), everyone, NOTHING)


def mapped(vectors: Floats) -> reference.Placed:
    """Places with nothing known."""
    names = [f"{number:064x}" for number in range(len(vectors))]
    there = reference.Photos("m", names, np.arange(len(vectors)), np.zeros(len(vectors), np.int64), vectors)
    chosen = reference.choose(there, None, lambda _: None)
    places = layout.places(vectors[chosen.landmarks])
    return reference.place(there, chosen.landmarks, places, layout.clusters(places))


def recall(vectors: Any, found: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], k: int = 10) -> float:
    """The share of true neighbours among the found (m, k) of these rows, by all similarities in float64."""
    best = np.full((len(rows), 0), -np.inf)
    names = np.zeros((len(rows), 0), np.int64)
    for start in range(0, len(vectors), CHUNK):
        some = np.arange(start, min(start + CHUNK, len(vectors)))
        similar = vectors[rows].astype(np.float64) @ vectors[some].astype(np.float64).T
        similar[rows[:, None] == some] = -np.inf
        best, names = np.hstack([best, similar]), np.hstack([names, np.broadcast_to(some, similar.shape)])
        order = np.argsort(-best, axis=1, kind="stable")[:, :k]
        best, names = np.take_along_axis(best, order, axis=1), np.take_along_axis(names, order, axis=1)
    return float(
        np.mean([len(set(one) & set(other)) / k for one, other in zip(found.tolist(), names.tolist(), strict=True)])
    )


def trustworthiness(vectors: Floats, places: Floats, rows: npt.NDArray[np.int64], k: int = 10) -> float:
    """How far neighbours on the map are neighbours in truth, 1 being best (Venna and Kaski 2001), of a sample of rows."""
    n, penalty = len(vectors), 0.0
    for row in rows:
        similar = vectors @ vectors[row]
        similar[row] = -np.inf
        rank = np.empty(n, np.int64)
        rank[np.argsort(-similar, kind="stable")] = np.arange(1, n + 1)
        distance = ((places - places[row]) ** 2).sum(axis=1)
        distance[row] = np.inf
        penalty += np.maximum(rank[np.argsort(distance, kind="stable")[:k]] - k, 0).sum()
    return 1 - 2 / (len(rows) * k * (2 * n - 3 * k - 1)) * penalty


def rivals(vectors: Floats) -> dict[str, dict[str, Any]]:
    """CPU seconds by rival, and the places of the maps. Raises NotInstallable."""
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "vectors.npy", vectors)
        command = [str(python_of("maps")), "-m", "benchmarks.rivals.maps", folder]
        process = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
        if process.returncode:
            raise NotInstallable(f"their run failed: {process.stderr.strip()[-200:]}")
        told: dict[str, dict[str, Any]] = json.loads(process.stdout.splitlines()[-1])
        for name, one in told.items():
            if (path := Path(folder) / f"{name}.npy").exists():
                one["places"] = np.load(path)
    return told


@contextmanager
def memory() -> Iterator[list[float]]:
    """The largest memory in GB of this process that is not of mapped files, once the block has ended."""
    largest, is_over = [0.0], threading.Event()

    def watch() -> None:
        while not is_over.wait(0.05):
            [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon")]
            largest[0] = max(largest[0], int(line.split()[1]) / 1e6)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield largest
    finally:
        is_over.set()
        thread.join()


class Clock:
    """CPU seconds of a block."""

    def __enter__(self) -> "Clock":
        self.began = time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.cpu_s = time.process_time() - self.began


def of_twenty_thousand(vectors: Floats, details: dict[str, Any], *, with_rivals: bool) -> list[Figure]:
    """Neighbours and map at once, a night more, and the rivals."""
    random = np.random.default_rng(0)
    with Clock() as both, memory() as used:
        with Clock() as pairs:
            lists = all_new(vectors)
        placed = mapped(vectors)
    rows = np.sort(random.choice(len(vectors), min(CHECKED, len(vectors)), replace=False))
    old = len(vectors) - NIGHT
    before, known = all_new(vectors[:old]), Lists.empty(len(vectors))
    known.ids[:old], known.similarity[:old] = before.ids, before.similarity
    with Clock() as night:
        later = neighbours.updated(vectors, np.arange(len(vectors)), known, np.arange(old, len(vectors)), NOTHING)
    is_same = bool((later.ids == lists.ids).all() and (later.similarity == lists.similarity).all())
    trust = trustworthiness(vectors, placed.places, rows)
    centred = vectors - vectors.mean(axis=0)
    flat = centred @ neighbours.main_directions((centred.T @ centred).astype(np.float64), 8)[:, :2].astype(np.float32)
    trusts, notes = {"ours": trust, "PCA": trustworthiness(vectors, flat, rows)}, {}
    try:
        for name, one in (rivals(vectors) if with_rivals else {}).items():
            notes[name] = one["cpu_s"]
            if "places" in one:
                trusts[name] = trustworthiness(vectors, one["places"], rows)
        beside = ", ".join(f"{name} {cpu:.1f} s" for name, cpu in notes.items())
    except NotInstallable as error:
        beside = str(error)
    details |= {"trustworthiness": trusts, "rivals_cpu_s": notes}
    maps = ", ".join(f"{name} {value:.3f}" for name, value in trusts.items() if name != "ours")
    return [
        Figure(f"exact neighbours and map of {len(vectors):,}", both.cpu_s, "CPU s", at_most(MOST_CPU_S), beside),
        Figure("  of these, neighbours", pairs.cpu_s, "CPU s"),
        Figure("  memory besides the vectors' file", used[0], "GB", at_most(MOST_GB)),
        Figure("  recall of 10 neighbours", recall(vectors, lists.ids[rows], rows), "", at_least(1.0), "of 200 photos"),
        Figure("  trustworthiness of the map", trust, "", note=maps),
        Figure(f"a night of {NIGHT} more", night.cpu_s, "CPU s", note="neighbours of all"),
        Figure("  equal to all at once, to the bit", float(is_same), "", at_least(1.0)),
    ]


def filled(folder: Path, make: Any, count: int) -> View:
    """A million vectors in files, by parts."""
    first = make(min(CHUNK, count), 1)
    width = first.shape[1]
    basis = codes.main_basis(first[:: max(1, len(first) // embeddings.BASIS_FROM)], width)
    head, rest = codes.widths(width)
    kinds = {"vectors": (width, np.float32), "heads": (head, np.int8), "rests": (rest, np.int8)}
    kinds["lengths"] = codes.LENGTHS, np.float32
    files = {name: np.memmap(folder / name, kind, "w+", shape=(count, wide)) for name, (wide, kind) in kinds.items()}
    for number, start in enumerate(range(0, count, CHUNK)):
        some = slice(start, min(start + CHUNK, count))
        files["vectors"][some] = part = make(some.stop - start, number + 1)
        of_part = codes.coded(part, basis)
        files["heads"][some], files["rests"][some] = of_part.heads, of_part.rests
        files["lengths"][some] = of_part.lengths
    names = pl.Series("sha256", np.arange(count)).cast(pl.String).str.zfill(64)
    return View(names, files["vectors"], codes.Codes(files["heads"], files["rests"], files["lengths"]), basis)


def search(view: View, queries: Floats, name: str, target: bool) -> list[Figure]:
    """The time of a query that is not among the vectors, with the files in memory, and its recall."""
    nearest.nearest_to(view, queries[0], 10, NOTHING)
    times, found = [], []
    for query in queries:
        began = time.perf_counter()
        rows, _ = nearest.nearest_to(view, query, 10, NOTHING)
        times.append(1_000 * (time.perf_counter() - began))
        found.append(rows)
    few = 5
    best = np.zeros((few, 0)), np.zeros((few, 0), np.int64)
    for start in range(0, len(view.vectors), CHUNK):
        similar = queries[:few].astype(np.float64) @ view.vectors[start : start + CHUNK].astype(np.float64).T
        joined = (
            np.hstack([best[0], similar]),
            np.hstack([best[1], np.broadcast_to(np.arange(similar.shape[1]) + start, similar.shape)]),
        )
        order = np.argsort(-joined[0], axis=1, kind="stable")[:, :10]
        best = np.take_along_axis(joined[0], order, axis=1), np.take_along_axis(joined[1], order, axis=1)
    share = np.mean([len(set(found[number].tolist()) & set(best[1][number].tolist())) / 10 for number in range(few)])
    limit, note = at_most(MOST_MS) if target else None, f"worst of {len(times)}: {max(times):.0f} ms"
    return [
        Figure(f"nearest of {len(view.vectors):,}, {name}, median", statistics.median(times), "ms", limit, note),
        Figure("  recall", float(share), "", at_least(1.0), "of five queries"),
    ]


def of_a_million(view: View, new: int) -> list[Figure]:
    """A night's photos compared with all, both ways. What is known of the others are the nearest in their part of PART."""
    count = len(view.vectors)
    known, old = Lists.empty(count), count - new
    for start in range(0, old, PART):
        part = slice(start, min(start + PART, old))
        lists = all_new(view.vectors[part])
        known.ids[part] = np.where(lists.ids == neighbours.NONE, neighbours.NONE, lists.ids + start)
        known.similarity[part] = lists.similarity
    rows = np.arange(old, old + 20)
    with Clock() as night, memory() as used:
        lists = neighbours.updated(view.vectors, np.arange(count), known, np.arange(old, count), NOTHING)
    hours = night.cpu_s / new * count / 2 / 3600
    note = f"a first night of all: {hours:.1f} CPU h, by its rate"
    return [
        Figure(f"a night of {new} photos among {count:,}", night.cpu_s, "CPU s", note=note),
        Figure("  memory besides the vectors' file", used[0], "GB", at_most(MOST_GB)),
        Figure("  recall of 10 neighbours", recall(view.vectors, lists.ids[rows], rows), "", at_least(1.0), "of 20 photos"),
    ]


def main() -> None:
    """Measure, compare, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--photos", type=Path, help="folder of JPEGs; without it, crops of the sample")
    parser.add_argument("--million", type=int, default=MILLION, help=f"vectors of the large part ({MILLION:,})")
    parser.add_argument("--without-rivals", action="store_true", help="they take three minutes of CPU")
    options = parser.parse_args()
    count, million = (2_000, 20_000) if options.quick else (PHOTOS, options.million)
    details = dict[str, Any]()
    real = real_vectors(options.photos, 100 if options.quick else REAL)
    vectors = np.concatenate([real, mixtures(real, count - len(real), 0)])
    figures = of_twenty_thousand(vectors, details, with_rivals=not options.without_rivals)
    asked = 10**6
    kinds = {
        "as photos": (lambda some, seed: mixtures(real, some, seed), mixtures(real, QUERIES, asked)),
        "of other photos": (lambda some, seed: mixtures(real[::2], some, seed), real[1::2][:QUERIES]),
        "clusters of noise": (
            lambda some, seed: clustered(real.shape[1], some, seed),
            clustered(real.shape[1], QUERIES, asked),
        ),
    }
    for name, (make, queries) in kinds.items():
        with tempfile.TemporaryDirectory() as folder:
            view = filled(Path(folder), make, million // 5 if name == "clusters of noise" else million)
            figures += search(view, queries, name, target=name == "as photos")
            if name == "as photos":
                figures += of_a_million(view, 200 if million > PHOTOS else 50)
            del view
    finish(options, "exploration_map", figures, details)


if __name__ == "__main__":
    main()
