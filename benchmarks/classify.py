"""How fast photos are classified: this pipeline beside a plain DataLoader, on the same photos and cores.

Each run is a process of its own; runs alternate, and the median counts, so that a busy machine tires both alike.
The pipeline also measures styles; the plain one does not. Both read encoded photos from memory.

    python benchmarks/classify.py [--photos FOLDER] [--limit 800] [--repeats 3] [--json FILE]

Top-1 is printed where file names begin with a WordNet id, as `n01443537_goldfish.JPEG`.
"""

import argparse
import csv
import io
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline_assets.classify.registry import IMAGENET_CLASSES
from pipeline_assets.sample.photos import sample_photos

WAYS = ("plain", "darkroom")
BATCH = 64
WHO = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
Classify = Callable[[list[tuple[str, bytes]]], Iterator[dict[str, int]]]
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


def main() -> None:
    """Run both ways, print a table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="a folder of photos; without it, the project's sample")
    parser.add_argument("--limit", type=int, default=800, help="at most this many photos")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(measure(options.way, options.photos, options.limit)))
        return
    runs: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for _ in range(options.repeats):
        for way in WAYS:
            runs[way].append(in_own_process(way, options.photos, options.limit))
    figures = {way: summarise(found) for way, found in runs.items()}
    figures["ratio"] = round(figures["darkroom"]["photos_per_s"] / figures["plain"]["photos_per_s"], 2)
    figures["machine"] = {"cores": os.cpu_count(), "processor": platform.processor() or platform.machine()}
    show(figures)
    if options.json:
        options.json.write_text(json.dumps({**figures, "runs": runs}, indent=2) + "\n")


def in_own_process(way: str, photos: Path | None, limit: int) -> dict[str, Any]:
    """One run, so that neither inherits the other's caches, threads or allocator."""
    command = [sys.executable, __file__, "--limit", str(limit), "--way", way, *(["--photos", str(photos)] if photos else [])]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(way: str, folder: Path | None, limit: int) -> dict[str, Any]:
    """Photos a second from the first to the last, after a warm-up on one batch: filling and draining count."""
    photos = list(islice(read(folder), limit))
    if len(photos) < 2 * BATCH:
        sys.exit(f"{folder or 'the sample'} holds {len(photos)} photos; {2 * BATCH} are needed")
    classify = darkroom() if way == "darkroom" else plain()
    top1 = dict(pair for found in classify(photos[:BATCH]) for pair in found.items())
    start_s, start_cpu_s = time.perf_counter(), cpu_s()
    for found in classify(photos[BATCH:]):
        top1.update(found)
    timed = len(photos) - BATCH
    return {
        "photos_per_s": timed / (time.perf_counter() - start_s),
        "cpu_ms_per_photo": (cpu_s() - start_cpu_s) * 1000 / timed,
        "peak_rss_mb": sum(resource.getrusage(who).ru_maxrss for who in WHO) / 1024,
        "top1": accuracy(top1),
    }


def read(folder: Path | None) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of a folder's photos, or of the sample's crops."""
    if folder is not None:
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() in SUFFIXES:
                yield path.name, path.read_bytes()
        return
    for name, data in sample_photos():
        if re.fullmatch(r"sample-\w+-\d{4}\.jpg", name):
            yield name, data


def cpu_s() -> float:
    """CPU time of this process and its finished children."""
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, WHO))


def darkroom() -> Classify:
    """Classes and styles by this project."""
    from pipeline_assets.classify.models import load_classifier
    from pipeline_assets.classify.pipeline import classify_photos

    classifier = load_classifier()

    def classify(photos: list[tuple[str, bytes]]) -> Iterator[dict[str, int]]:
        for batch in classify_photos(photos, classifier=classifier, styles=True, batch_size=BATCH):
            yield {name: top[0] for name, top in batch.classes.select("sha256", "top5_index").iter_rows()}

    return classify


class PlainDataset:
    """What a tutorial writes: decode whole, resize, crop, to tensor, normalise."""

    def __init__(self, photos: list[tuple[str, bytes]]) -> None:
        self.photos = photos

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, at: int) -> tuple[str, Any]:
        import numpy as np
        import torch
        from PIL import Image

        name, data = self.photos[at]
        image = Image.open(io.BytesIO(data)).convert("RGB")
        scale = 256 / min(image.size)
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
        left, top = (image.width - 224) // 2, (image.height - 224) // 2
        image = image.crop((left, top, left + 224, top + 224))
        return name, (torch.from_numpy(np.array(image)).permute(2, 0, 1).float() - 127) / 128


def plain() -> Classify:
    """Classes by a DataLoader with a worker a core and the network as it comes."""
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    from pipeline_assets.classify.registry import BUILT_IN, resolve

    net = EfficientNet.from_name(BUILT_IN)
    net.load_state_dict(torch.load(resolve().weights, weights_only=True))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net = net.eval().to(device)

    def classify(photos: list[tuple[str, bytes]]) -> Iterator[dict[str, int]]:
        loader = torch.utils.data.DataLoader(PlainDataset(photos), batch_size=BATCH, num_workers=os.cpu_count() or 1)
        with torch.no_grad():
            for names, images in loader:
                yield dict(zip(names, net(images.to(device)).argmax(1).tolist(), strict=True))

    return classify


def accuracy(top1: dict[str, int]) -> float | None:
    """Share of photos whose name's WordNet id was found; None where names do not begin with one."""
    if not all(re.match(r"n\d{8}_", name) for name in top1):
        return None
    lines = [line for line in IMAGENET_CLASSES.read_text().splitlines() if not line.startswith("#")]
    ids = [row["wnid"] for row in csv.DictReader(lines)]
    return sum(ids[index] == name[:9] for name, index in top1.items()) / len(top1)


def summarise(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The median of every figure."""
    return {
        name: round(statistics.median(run[name] for run in runs), 4) if runs[0][name] is not None else None
        for name in runs[0]
    }


def show(figures: dict[str, Any]) -> None:
    """One row a way."""
    table = Table(title=f"Classifying photos, {figures['machine']['cores']} cores: {figures['ratio']} x a plain DataLoader")
    for column in ("way", "photos/s", "CPU ms a photo", "peak RSS MB", "top-1"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for way in WAYS:
        found = figures[way]
        cells = [found["photos_per_s"], found["cpu_ms_per_photo"], found["peak_rss_mb"], found["top1"]]
        digits = (1, 1, 0, 3)
        table.add_row(way, *("-" if cell is None else f"{cell:.{d}f}" for cell, d in zip(cells, digits, strict=True)))
    Console().print(table)


if __name__ == "__main__":
    main()
