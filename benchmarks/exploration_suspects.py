"""How many planted label errors are found, beside cleanlab in the same run.

    python -m benchmarks.exploration_suspects [--photos FOLDER] [--seeds 5]

One label in twenty is replaced by another one: of scikit-learn's handwritten digits, and of a folder's photos, named by
their WordNet id as `n01443537_goldfish.JPEG`, which a campaign asks to be sorted into eight groups. Of most ImageNet classes
there is one photo, so that no photo has another of its class. Precision is of the N most suspicious items, where N errors
were planted; recall is of all that are called errors, of which there may be more or fewer. `with predictions`: the campaign
names the model's labels of each group, as `campaigns/sample-subject.yaml` does. cleanlab has its usual way, a logistic
regression cross-validated by five on the same embeddings, and also our probabilities. Embeddings are computed once, and kept
in build/.
"""

import argparse
import csv
import hashlib
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.figures import ROOT, Figure, Target, add_options, at_least, finish
from benchmarks.labels_queue import digits
from benchmarks.rivals.environments import NotInstallable, python_of
from pipeline_assets.classify.model_files import IMAGENET_CLASSES
from pipeline_assets.exploration.suspects import suspects as module
from pipeline_assets.exploration.suspects.neighbours import directions, nearest
from pipeline_assets.exploration.suspects.probabilities import SCALES, probabilities

SEEDS, PLANTED = 5, 0.05
LEAST_PRECISION, LEAST_RECALL = 0.82, 0.92
GROUPS = {
    "fish": ((0, 6), (389, 397)),
    "bird": ((7, 24), (80, 100), (127, 146)),
    "reptile": ((25, 68),),
    "invertebrate": ((69, 79), (107, 126), (300, 329)),
    "dog": ((151, 268),),
    "mammal": ((101, 106), (147, 150), (269, 299), (330, 388)),
    "food": ((924, 969), (987, 998)),
}
"""Spans of ImageNet's classes; every other one is an object."""
GROUP_NAMES = (*GROUPS, "object")
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Task:
    """features (N, E), true labels (N,), and what a model proposes: class and probability."""

    features: Floats
    truth: Ints
    proposal: tuple[Ints, Floats] | None = None


@dataclass
class Scores:
    """By seed."""

    precision: list[float] = field(default_factory=list)
    recall: list[float] = field(default_factory=list)
    called: list[float] = field(default_factory=list)


def group_of(index: int) -> int:
    """The group of an ImageNet class."""
    spans = list(GROUPS.values())
    found = (at for at, ranges in enumerate(spans) if any(low <= index <= high for low, high in ranges))
    return next(found, len(spans))


def photo_tasks(folder: Path) -> dict[str, Task]:
    """The photos' groups, without and with the campaign's predictions."""
    rows = embedded(folder)
    lines = [line for line in IMAGENET_CLASSES.read_text().splitlines() if not line.startswith("#")]
    index_of = {row["wnid"]: int(row["index"]) for row in csv.DictReader(lines)}
    truth = np.array([group_of(index_of[name[:9]]) for name in rows["sha256"]])
    features = np.array(rows["embedding"].to_list(), np.float32)
    share = np.zeros((len(truth), len(GROUP_NAMES)), np.float32)
    for number, (indices, values) in enumerate(rows.select("top5_index", "top5_probability").iter_rows()):
        np.add.at(share[number], [group_of(index) for index in indices], values)
    proposal = share.argmax(axis=1), np.clip(share.max(axis=1), 0, 1)
    return {"photos": Task(features, truth), "photos, with predictions": Task(features, truth, proposal)}


def embedded(folder: Path) -> pl.DataFrame:
    """Classes and embeddings of a folder's JPEGs by the built-in classifier, computed once."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))
    digest = hashlib.sha256("".join(f"{path.name} {path.stat().st_size}\n" for path in paths).encode()).hexdigest()[:12]
    cached = ROOT / "build" / f"photo-embeddings-{digest}.parquet"
    if not cached.exists():
        from pipeline_assets.classify.models import load_classifier
        from pipeline_assets.classify.pipeline import classify_photos

        print(f"Embedding {len(paths):,} photos ...", flush=True)
        photos = ((path.name, path.read_bytes()) for path in paths)
        batches = [batch.classes for batch in classify_photos(photos, classifier=load_classifier())]
        cached.parent.mkdir(exist_ok=True)
        pl.concat(batches).sort("sha256").write_parquet(cached)
    return pl.read_parquet(cached)


def planted(truth: Ints, seed: int) -> tuple[Ints, Ints]:
    """Labels of which one in twenty is wrong, and which."""
    random, classes = np.random.default_rng(seed), int(truth.max()) + 1
    wrong = random.choice(len(truth), round(PLANTED * len(truth)), replace=False)
    labels = truth.copy()
    labels[wrong] = (labels[wrong] + random.integers(1, classes, len(wrong))) % classes
    return labels, wrong


def items(task: Task, labels: Ints) -> pl.DataFrame:
    """What `suspects` takes."""
    count = len(labels)
    hashes = [hashlib.sha256(f"{number}".encode()).hexdigest() for number in range(count)]
    same: dict[str, Any] = {"campaign": "c", "version": 1, "target": "upload", "photo_day": date(2026, 1, 1)}
    texts = {"phash": None, "model_id": "model", "proposal": None, "proposal_probability": None, "is_settled": False}
    frame = pl.DataFrame(
        {"task_key": hashes, "sha256": hashes, "key": hashes, "given": [f"class {label}" for label in labels]}
    ).with_columns(pl.lit(value).alias(name) for name, value in (same | texts).items())
    types = {"phash": pl.String, "proposal": pl.String, "proposal_probability": pl.Float64}
    frame = frame.cast(types).with_columns(  # type: ignore[arg-type]
        embedding=pl.Series(task.features.tolist(), dtype=pl.List(pl.Float32))
    )
    if task.proposal is not None:
        proposed, probability = task.proposal
        frame = frame.with_columns(
            proposal=pl.Series([f"class {label}" for label in proposed]),
            proposal_probability=pl.Series(probability.astype(float)),
        )
    return frame


def ours(task: Task, seeds: int) -> tuple[Scores, float]:
    """Scores, and CPU seconds a seed."""
    scores, cpu_s = Scores(), 0.0
    for seed in range(seeds):
        labels, wrong = planted(task.truth, seed)
        given = items(task, labels)
        began_s = time.process_time()
        found = module.suspects(given).filter(kind="label_error")["task_key"]
        cpu_s += time.process_time() - began_s
        is_wrong = found.is_in(given["task_key"].gather(wrong).implode()).to_numpy()
        add(scores, is_wrong[: len(wrong)].sum() / len(wrong), is_wrong.sum() / len(wrong), len(found) / len(wrong))
    return scores, cpu_s / seeds


def add(scores: Scores, precision: float, recall: float, called: float) -> None:
    """Of one seed."""
    scores.precision.append(float(precision))
    scores.recall.append(float(recall))
    scores.called.append(float(called))


def theirs(task: Task, seeds: int) -> tuple[dict[str, Scores], float]:
    """Cleanlab's scores by its own probabilities and by ours, and its CPU seconds a seed. Raises NotInstallable."""
    drawn = [planted(task.truth, seed) for seed in range(seeds)]
    near = nearest(directions(task.features), np.arange(len(task.truth)), max(SCALES))
    classes = int(task.truth.max()) + 1
    proposed = None
    if task.proposal is not None:
        proposed = np.zeros((len(task.truth), classes), np.float32)
        proposed[np.arange(len(task.truth)), task.proposal[0]] = task.proposal[1]
    judged = np.array([probabilities(labels, classes, near, proposed) for labels, _ in drawn])
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "given.npz", Path(folder) / "found.npz"
        np.savez(given, features=task.features, labels=np.array([labels for labels, _ in drawn]), probabilities=judged)
        command = [str(python_of("cleanlab")), "-m", "benchmarks.rivals.suspects_cleanlab", str(given), str(found)]
        process = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
        if process.returncode:
            raise NotInstallable(f"its run failed: {process.stderr.strip().splitlines()[-1][:200]}")
        results = np.load(found)
        scores = {"own": Scores(), "given": Scores()}
        for name, one in scores.items():
            for (_, wrong), ranked, called in zip(drawn, results[f"{name}_ranked"], results[f"{name}_found"], strict=True):
                first = np.isin(ranked[: len(wrong)], wrong)
                add(one, first.mean(), called[wrong].mean(), called.sum() / len(wrong))
        return scores, float(results["cpu_s"]) / seeds


def main() -> None:
    """Measure, compare, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--photos", type=Path, help="a folder of JPEGs named by WordNet ids; without it, digits alone")
    parser.add_argument("--seeds", type=int, help=f"draws of the planted errors ({SEEDS}; with --quick 1)")
    options = parser.parse_args()
    seeds = options.seeds or (1 if options.quick else SEEDS)
    pixels, truth = digits()
    tasks = {"digits": Task(pixels, truth)} | (photo_tasks(options.photos) if options.photos else {})
    figures, details = [], dict[str, Any]()
    for name, task in tasks.items():
        mine, cpu_s = ours(task, seeds)
        rivals, absence, rival_s = dict[str, Scores](), "", 0.0
        try:
            rivals, rival_s = theirs(task, seeds)
        except NotInstallable as error:
            absence = str(error)
        # Photos of classes of which there is one each are hard without a model that knows them: reported, not promised.
        promised = name != "photos"
        figures += [
            figure(f"{name}: precision at the number planted", mine.precision, LEAST_PRECISION, promised, rivals, absence),
            figure(f"{name}: recall of what is called an error", mine.recall, LEAST_RECALL, promised, rivals, absence),
            Figure(
                f"{name}: called errors, by the number planted",
                float(np.mean(mine.called)),
                "",
                note=beside(rivals, "called"),
            ),
            Figure(
                f"{name}: {len(task.truth):,} labels judged",
                cpu_s,
                "CPU s",
                note=f"{rival_s:.2f} by cleanlab with its model",
            ),
        ]
        details[name] = {"ours": vars(mine)} | {f"cleanlab, {which}": vars(one) for which, one in rivals.items()}
    finish(options, "exploration_suspects", figures, details | {"seeds": seeds})


def figure(
    name: str, values: list[float], least: float, is_promised: bool, rivals: Mapping[str, Scores], absence: str
) -> Figure:
    """A mean over seeds, beside the rivals' means."""
    target: Target | None = at_least(least) if is_promised else None
    part = "precision" if "precision" in name else "recall"
    note = f"{min(values):.2f} to {max(values):.2f}; {beside(rivals, part) or absence}"
    return Figure(name, float(np.mean(values)), "", target, note)


def beside(rivals: Mapping[str, Scores], part: str) -> str:
    """The rivals' means as a note."""
    names = {"own": "by cleanlab", "given": "by cleanlab with our probabilities"}
    return ", ".join(f"{np.mean(getattr(one, part)):.3f} {names[which]}" for which, one in rivals.items())


if __name__ == "__main__":
    main()
