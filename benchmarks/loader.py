"""Epochs over a staged training set beside WebDataset with the same rows and a DataLoader over a folder of JPEGs.

    python -m benchmarks.loader [--rows 30000] [--photos FOLDER] [--batch 256] [--epochs 3] [--repeats 3]

A row is a photo's embedding (1,280 numbers), its features and its label. The folder's rows are the photos themselves,
decoded and scaled each epoch: what a model costs that is trained on pixels instead of stored embeddings. All are shuffled.
LitData, the other loader of shards, is left out: it wants torchvision, and with it a torch built for CUDA.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from benchmarks.contests import measured, take_turns
from benchmarks.figures import Figure, add_options, finish
from benchmarks.photos import photos
from benchmarks.rivals.environments import HERE, NotInstallable, python_of
from pipeline_assets.training.model.feature_matrix import features
from pipeline_assets.training.shards.dataset import StagedRows, shuffled_loader
from pipeline_assets.training.shards.staging import stage
from pipeline_assets.training.shards.staging_plan import plan

EMBEDDING, SIDE_PX, WORKERS, DAYS = 1280, 224, 2, 30
COUNTS = ("days_since_joining", *(f"logins_{n}d" for n in (1, 7, 30)))
COUNTS = (*COUNTS, "posts_30d", "likes_given_30d", "likes_received_30d", "title_length", "followers_at_post")
STYLES = ("brightness", "contrast", "saturation", "colourfulness", "sharpness", "aspect", "mean_popularity_30d")


def main() -> None:
    """Write the rows for each, run them by turns, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--rows", type=int, help="staged rows (30,000; with --quick 2,000)")
    parser.add_argument("--photos", type=Path, help="a folder of JPEGs; without it, crops of the sample's photos")
    parser.add_argument("--photo-count", type=int, help="photos of an epoch (1,000; with --quick 100)")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--epochs", type=int, help="of each run (3; with --quick 1)")
    parser.add_argument("--repeats", type=int, help="(3; with --quick 1)")
    parser.add_argument("--side", choices=("staged", "folder"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    epochs, repeats = (options.epochs or (1 if options.quick else 3)), options.repeats or (1 if options.quick else 3)
    if options.side:
        read = {"staged": read_staged, "folder": read_folder}[options.side]
        print(json.dumps(read(options.folder, options.batch, epochs)))
        return
    rows, count = (
        options.rows or (2000 if options.quick else 30_000),
        options.photo_count or (100 if options.quick else 1000),
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        staged = write_rows(folder, rows)
        (folder / "photos").mkdir()
        for photo, data in photos(options.photos, count):
            (folder / "photos" / photo).write_bytes(data)
        contestants = {side: partial(here, side, folder / place, options.batch, epochs) for side, place in PLACES.items()}
        absence = ""
        try:
            contestants["webdataset"] = webdataset(folder, options.batch, epochs)
        except NotInstallable as error:
            absence = f"can't be installed: {error}"
        runs = take_turns(contestants, repeats)
    check(runs, staged)
    finish(options, "loader", figures(runs, absence), {"rows": rows, "photos": count, "batch": options.batch, "runs": runs})


PLACES = {"staged": "staged", "folder": "photos"}


def write_rows(folder: Path, count: int) -> pl.DataFrame:
    """Stage seeded rows, and write the training split's as arrays for others. Returns the training split."""
    frame = training_rows(count, np.random.default_rng(0))
    stage(frame.lazy(), folder / "staged", plan(frame.lazy(), table_version=1))
    train = frame.filter(pl.col("split") == "train")
    embedding = np.stack(train["embedding"].to_list()).astype(np.float32)
    arrays = {"embedding": embedding, "features": features(train), "label": train["popularity"].to_numpy()}
    np.savez(folder / "rows.npz", **arrays)
    return train


def training_rows(count: int, random: np.random.Generator) -> pl.DataFrame:
    """Rows with the columns of a training table that a staging reads."""
    embedding = pl.Series(random.normal(size=(count, EMBEDDING)).astype(np.float32)).cast(pl.List(pl.Float32))
    return pl.DataFrame(
        {
            "day": [date(2026, 1, 1) + timedelta(days=n * DAYS // count) for n in range(count)],
            "photo_id": np.arange(count),
            "sha256": [f"{n:064x}" for n in range(count)],
            "model_id": ["benchmark"] * count,
            "split": random.choice(["train", "validation", "test"], count, p=[0.8, 0.1, 0.1]),
            "popularity": random.random(count, dtype=np.float32),
            "embedding": embedding,
            "posted_hour": random.integers(0, 24, count).astype(np.int8),
            "posted_weekday": random.integers(1, 8, count).astype(np.int8),
            "has_location": random.random(count) < 0.5,
            **{name: random.integers(0, 50, count).astype(np.int32) for name in COUNTS},
            **{name: random.random(count, dtype=np.float32) for name in STYLES},
        }
    )


def read_staged(folder: Path, batch: int, epochs: int) -> dict[str, float]:
    """Epochs over the staged training split, as the model's training reads it."""
    loader = shuffled_loader(StagedRows(folder, "train"), batch, seed=0)
    rows, total = 0, 0.0
    began = time.perf_counter()
    for epoch in range(epochs):
        loader.batch_sampler.epoch = epoch  # type: ignore[union-attr]
        for batch_read in loader:
            rows += len(batch_read["embedding"])
            total += float(batch_read["label"].sum())
    return {"rows_per_s": rows / (time.perf_counter() - began), "rows": rows / epochs, "sum": total / epochs}


class JpegFolder(Dataset[torch.Tensor]):
    """A folder's photos, decoded and scaled to 224 x 224 when asked for."""

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.iterdir())

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.paths[index]) as image:
            pixels = np.array(image.convert("RGB").resize((SIDE_PX, SIDE_PX)))
        return torch.from_numpy(pixels).permute(2, 0, 1)


def read_folder(folder: Path, batch: int, epochs: int) -> dict[str, float]:
    """Epochs over a folder of photos."""
    loader = DataLoader(JpegFolder(folder), batch_size=batch, shuffle=True, num_workers=WORKERS)
    began = time.perf_counter()
    rows = sum(len(images) for _ in range(epochs) for images in loader)
    return {"rows_per_s": rows / (time.perf_counter() - began), "rows": rows / epochs, "sum": 0.0}


def here(side: str, folder: Path, batch: int, epochs: int) -> dict[str, float]:
    """One run in a process of its own."""
    sizes = ["--batch", str(batch), "--epochs", str(epochs)]
    usage = measured([sys.executable, "-m", "benchmarks.loader", "--side", side, "--folder", str(folder), *sizes])
    return {**json.loads(usage.output), "peak_mb": usage.peak_mb}


def webdataset(folder: Path, batch: int, epochs: int) -> Callable[[], dict[str, float]]:
    """Write WebDataset's shards; reading them is the function that comes back. Raises NotInstallable."""
    program = [str(python_of("webdataset")), str(HERE / "with_webdataset.py")]
    shards = folder / "webdataset"
    shards.mkdir()
    measured([*program, "write", str(folder / "rows.npz"), str(shards)])

    def run() -> dict[str, float]:
        usage = measured([*program, "read", str(shards), str(batch), str(epochs), str(WORKERS)])
        return {**json.loads(usage.output), "peak_mb": usage.peak_mb}

    return run


def check(runs: dict[str, list[dict[str, float]]], train: pl.DataFrame) -> None:
    """All loaders of rows must have read every row once an epoch."""
    label_sum = float(train["popularity"].cast(pl.Float64).sum())
    for name in set(runs) - {"folder"}:
        for run in runs[name]:
            assert run["rows"] == train.height, f"{name} read {run['rows']} rows an epoch, not {train.height}"
            assert abs(run["sum"] / label_sum - 1) < 1e-4, f"{name} read other labels"


def figures(runs_by_name: dict[str, list[dict[str, Any]]], absence: str) -> list[Figure]:
    """Rows a second, and ours beside each."""
    speed = {name: statistics.median(run["rows_per_s"] for run in runs) for name, runs in runs_by_name.items()}
    peak = {name: statistics.median(run["peak_mb"] for run in runs) for name, runs in runs_by_name.items()}
    titles = {"staged": "staged shards", "folder": "folder of JPEGs, DataLoader", "webdataset": "WebDataset"}
    reported = []
    for name, label in titles.items():
        note = f"peak {peak[name]:,.0f} MB" if name in peak else absence
        reported.append(Figure(label, speed.get(name), "rows/s", note=note))
    for name in ("folder", "webdataset"):
        ratio = speed["staged"] / speed[name] if name in speed else None
        reported.append(Figure(f"staged shards beside {titles[name]}", ratio, "x", note=absence if ratio is None else ""))
    return reported


if __name__ == "__main__":
    main()
