"""One day with 200,000 photos: what the assets that see every photo of it hold in memory, beside a tenth of it.

    python -m benchmarks.big_day [--count 200000]

The photos are small, and the network is a small one of the user's own whose embeddings are as wide as the built-in one's
(1,280 numbers): so the rows are as large as they get, and the run does not take an hour. Each asset is a Dagster run in a
process of its own, measured with its children.
"""

import argparse
import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contests import Used
from benchmarks.figures import Figure, add_options, at_most, finish
from benchmarks.home import Home, fresh_home, run_assets
from pipeline_assets.nightly.bucket import discover
from resources.assembly import resolve
from resources.servers.services import running
from resources.settings import load_settings

DAY = datetime.now(UTC).date() - timedelta(days=20)
ASSETS = ("raw_uploads", "photo_classes", "photo_styles")
EMBEDDING_WIDTH = 1280
PICTURES = 500
"""Different pictures among the photos; a comment makes each one's bytes its own."""


def main() -> None:
    """A small day, a big day, and the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--count", type=int, help="photos of the day (200000; with --quick 2000)")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--asset", choices=ASSETS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        print(json.dumps(STEPS[options.step](options)))
        return
    big = options.count or (2_000 if options.quick else 200_000)
    runs = {count: one_day(count) for count in (big // 10, big)}
    finish(options, "big_day", figures(runs), {str(count): day for count, day in runs.items()})


def one_day(count: int) -> dict[str, dict[str, float]]:
    """Seconds and peak memory of each asset over a day of so many photos."""
    with fresh_home("benchmarks.big_day") as plain:
        model = plain.folder / "wide"
        plain.step("model", "--folder", model)
        home = Home(plain.folder, plain.module, {"DARKROOM_MODEL": str(model)})
        print(f"{count:,} photos: {home.step('upload', '--count', count)[1].wall_s:.0f} s to upload and list", flush=True)
        return {asset: numbers_of(asset, home.step("run", "--asset", asset)[1]) for asset in ASSETS}


def numbers_of(asset: str, usage: Used) -> dict[str, float]:
    """What an asset's run used, said on the way."""
    print(f"  {asset}: {usage.wall_s:.0f} s, {usage.peak_mb:,.0f} MB", flush=True)
    return {"s": usage.wall_s, "cpu_s": usage.cpu_s, "peak_mb": usage.peak_mb}


def model(options: argparse.Namespace) -> dict[str, Any]:
    """Write the folder of a network that is quick and has wide embeddings."""
    import torch

    from pipeline_assets.classify.model_files import Preprocessing
    from pipeline_assets.classify.models import save_classifier

    class Wide(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.grow = torch.nn.Linear(3 * 32 * 32, EMBEDDING_WIDTH)
            self.choose = torch.nn.Linear(EMBEDDING_WIDTH, 10)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            embedding = self.grow(x.flatten(1))
            return self.choose(embedding), embedding

    torch.manual_seed(0)
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(Wide().eval(), (torch.zeros(2, 3, 32, 32),), dynamic_shapes=({0: batch},))
    save_classifier(options.folder, program, tuple(f"class {n}" for n in range(10)), Preprocessing(32, 32))
    return {}


def upload(options: argparse.Namespace) -> dict[str, Any]:
    """Upload the day's photos and have them in the ledger."""
    with running(load_settings()) as settings:
        resources = resolve(settings)
        for _, error in resources["uploads"].store.put_many(small_photos(options.count), concurrency=32):
            if error:
                raise error
        new = discover(resources["database"], resources["uploads"])
    assert new == options.count, new
    return {"new": new}


def small_photos(count: int) -> Iterator[tuple[str, bytes]]:
    """Keys and bytes of JPEGs of 64 x 64 pixels, no two with the same bytes."""
    from PIL import Image

    rng = np.random.default_rng(0)
    pictures = []
    for _ in range(min(count, PICTURES)):
        file = io.BytesIO()
        coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC).save(file, "JPEG")
        pictures.append(file.getvalue())
    for number in range(count):
        comment, picture = f"photo {number}".encode(), pictures[number % len(pictures)]
        data = picture[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + picture[2:]
        yield f"uploads/{DAY}/{number % 1000}/{number:06}.jpg", data


def run(options: argparse.Namespace) -> dict[str, Any]:
    """One Dagster run of one asset over the day."""
    run_assets((options.asset,), DAY)
    return {}


def figures(runs: dict[int, dict[str, dict[str, float]]]) -> list[Figure]:
    """Peak memory of each asset, and what ten times the photos add to it."""
    small, big = sorted(runs)
    embeddings_mb = big * EMBEDDING_WIDTH * 4 / 1e6
    note = f"the day's embeddings alone are {embeddings_mb:,.0f} MB"
    return [
        *(Figure(f"{asset}: peak memory, {big:,} photos", runs[big][asset]["peak_mb"], "MB", note=note) for asset in ASSETS),
        *(
            Figure(
                f"{asset}: {big:,} photos beside {small:,}",
                runs[big][asset]["peak_mb"] / runs[small][asset]["peak_mb"],
                "x memory",
                at_most(2),
            )
            for asset in ASSETS
        ),
        *(Figure(f"{asset}: {big:,} photos", big / runs[big][asset]["s"], "photos/s") for asset in ASSETS),
    ]


STEPS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {"model": model, "upload": upload, "run": run}

if __name__ == "__main__":
    main()
