"""Variants of a folder's photos by albumentations, as its documentation does it. Used by `benchmarks/variants_photos.py`.

with_albumentations.py FOLDER TASKS.json THREADS: prints JSON. TASKS: a list of [file name, [recipe name, ...]].

Each photo is decoded and fitted to 224 x 224 once, whatever the number of its variants, and each variant is encoded as a
JPEG of quality 92. 1 thread is a plain loop, with OpenCV free to use every core; more share the photos, without those.
Fitting is antialiased, as ours is. albumentations has no mixing of two photos any more: two lines of OpenCV do that.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import albumentations as A  # noqa: N812 - as its documentation has it
import cv2
import numpy as np

SIDE = 224
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 92]
WARM_UP = 32


def recipes() -> dict[str, Any]:
    """What comes nearest to each of our recipes, with the same ranges."""
    colour = A.ColorJitter(brightness=(0.8, 1.2), contrast=(0.8, 1.2), saturation=(0.6, 1.4), hue=(-0.028, 0.028), p=1)
    curve = A.RandomToneCurve(scale=0.3, p=1)
    found = {
        "crop": [A.RandomResizedCrop((SIDE, SIDE), scale=(0.5, 1.0), ratio=(0.85, 1.18), p=1)],
        "flip": [A.HorizontalFlip(p=1)],
        "rotate": [A.Rotate(20, border_mode=cv2.BORDER_REFLECT_101, p=1)],
        "perspective": [A.Perspective(scale=(0.05, 0.1), p=1)],
        "colour": [colour],
        "exposure": [A.RandomBrightnessContrast((-0.3, 0.3), (0, 0), p=1)],
        "blur": [A.GaussianBlur(sigma_limit=(0.6, 2.0), blur_limit=0, p=1)],
        "noise": [A.GaussNoise(std_range=(0.02, 0.08), p=1)],
        "low_quality": [A.ImageCompression(quality_range=(10, 50), p=1)],
        "cutout": [
            A.CoarseDropout(
                num_holes_range=(1, 1), hole_height_range=(0.22, 0.45), hole_width_range=(0.22, 0.45), fill=128, p=1
            )
        ],
        "black_and_white": [A.ToGray(p=1), curve],
        "sepia": [A.ToSepia(p=1)],
        "high_key": [A.RandomGamma((40, 60), p=1), A.RandomBrightnessContrast((0.12, 0.3), (0, 0), p=1)],
        "low_key": [A.RandomGamma((180, 260), p=1), A.Illumination(mode="gaussian", p=1)],
        "vintage": [
            A.ColorJitter((1, 1), (1, 1), (0.65, 0.65), (0, 0), p=1),
            A.RandomToneCurve(scale=0.3, per_channel=True, p=1),
            A.Illumination(mode="gaussian", p=1),
            A.GaussNoise(std_range=(0.015, 0.04), per_channel=False, p=1),
        ],
        "strong_hdr": [A.CLAHE(p=1), A.UnsharpMask(p=1), A.ColorJitter((1, 1), (1, 1), (1.2, 1.6), (0, 0), p=1)],
        "crop_and_flip": [
            A.RandomResizedCrop((SIDE, SIDE), scale=(0.5, 1.0), ratio=(0.85, 1.18), p=1),
            A.HorizontalFlip(p=0.5),
        ],
        "another_view": [
            A.HorizontalFlip(p=0.5),
            A.Rotate(10, border_mode=cv2.BORDER_REFLECT_101, p=1),
            A.Perspective(scale=(0.03, 0.06), p=1),
            colour,
        ],
        "poor_camera": [
            A.RandomResizedCrop((SIDE, SIDE), scale=(0.7, 1.0), ratio=(0.85, 1.18), p=1),
            A.RandomBrightnessContrast((-0.3, 0.3), (0, 0), p=1),
            A.GaussianBlur(sigma_limit=(0.5, 1.2), blur_limit=0, p=1),
            A.GaussNoise(std_range=(0.02, 0.08), p=1),
            A.ImageCompression(quality_range=(25, 60), p=1),
        ],
    }
    return {name: A.Compose(steps) for name, steps in found.items()}


class Maker:
    """One thread's transforms: they hold a random state."""

    def __init__(self) -> None:
        self.recipes = recipes()
        self.fit = A.Compose([A.SmallestMaxSize(SIDE, area_for_downscale="image"), A.CenterCrop(SIDE, SIDE)])
        self.random = np.random.default_rng(0)
        self.previous: Any = None
        self.seconds = {"decode": 0.0, "augment": 0.0, "encode": 0.0}

    def make(self, data: bytes, names: list[str]) -> int:
        """A photo's variants; returns their bytes."""
        started_at = time.perf_counter()
        image = self.fit(image=cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB))["image"]
        self.seconds["decode"] += time.perf_counter() - started_at
        size = 0
        for name in names:
            began = time.perf_counter()
            variant = self._variant(name, image)
            augmented = time.perf_counter()
            size += len(cv2.imencode(".jpg", cv2.cvtColor(variant, cv2.COLOR_RGB2BGR), JPEG)[1])
            self.seconds["augment"] += augmented - began
            self.seconds["encode"] += time.perf_counter() - augmented
        self.previous = image
        return size

    def _variant(self, name: str, image: Any) -> Any:
        other = image if self.previous is None else self.previous
        if name == "mixup":
            share = self.random.uniform(0.2, 0.5)
            return cv2.addWeighted(image, 1 - share, other, share, 0)
        if name == "cutmix":
            side = int(SIDE * self.random.uniform(0.15, 0.45) ** 0.5)
            left, top = self.random.integers(0, SIDE - side, 2)
            mixed = image.copy()
            mixed[top : top + side, left : left + side] = other[top : top + side, left : left + side]
            return mixed
        return self.recipes[name](image=image)["image"]


def main() -> None:
    """Read all into memory, warm up, measure."""
    folder, threads = Path(sys.argv[1]), int(sys.argv[3])
    tasks = [((folder / name).read_bytes(), names) for name, names in json.loads(Path(sys.argv[2]).read_text())]
    if threads > 1:
        cv2.setNumThreads(1)
    makers = [Maker() for _ in range(threads)]
    for maker in makers:
        for task in tasks[:WARM_UP]:
            maker.make(*task)
        maker.seconds = dict.fromkeys(maker.seconds, 0.0)
    count = sum(len(names) for _, names in tasks)
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(threads) as pool:
        shares = [
            pool.submit(lambda m, own_tasks: [m.make(*task) for task in own_tasks], makers[n], tasks[n::threads])
            for n in range(threads)
        ]
        sizes = [sum(share.result()) for share in shares]
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    stages = {name: sum(m.seconds[name] for m in makers) * 1000 / count for name in makers[0].seconds}
    print(json.dumps({"variants_per_s": count / wall_s, "cpu_ms": cpu_s * 1000 / count, "ms": stages, "bytes": sum(sizes)}))


if __name__ == "__main__":
    main()
