"""How long a rendered receipt takes, and whether renders help a finder of text lines on real scans.

    python -m benchmarks.variants_receipts --scans FOLDER [--renders 96] [--seeds 5]

FOLDER holds NAME.jpg with NAME.boxes.csv (x1,y1,...,x4,y4,text), as SROIE has them. A small convolutional network says of
each pixel whether it is in a line of text; it learns from renders only, from scans only, or from both, and is tested
on scans that no training saw. Renders are kept under build/, by the hash of their recipe. LLVM is
measured if DRJIT_LIBLLVM_PATH names 17 or newer.
"""

import argparse
import io
import json
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from scipy import stats
from torch import nn

from benchmarks.figures import ROOT, Figure, add_options, at_least, finish
from pipeline_assets.variants.kinds import Made, Parent, Task
from pipeline_assets.variants.receipts import KIND, TEMPLATES
from pipeline_assets.variants.receipts.scene import llvm_reason
from pipeline_assets.variants.recipes import Recipe, seed_of, variant_id

RENDERS, SEEDS, STEPS, SAMPLES = 96, 5, 150, (4, 8, 16)
WIDTH_PX, HEIGHT_PX, PATCH_PX, BATCH = 256, 512, 128, 8
CACHE = ROOT / "build" / "receipts"
MIX = ("scanned", "flat", "wrinkled", "folded")
"""Recipes that the network learns from, in turn."""
LLVM_OVER_SCALAR = 4.0

Example = tuple[np.ndarray, np.ndarray]


def task_of(recipe: Recipe, number: int) -> tuple[Task, tuple[Parent, ...]]:
    """A receipt of one of the templates in turn."""
    data = list(TEMPLATES.values())[number % len(TEMPLATES)]
    parent, recipe = Parent(sha256(data).hexdigest(), data), KIND.complete(recipe)
    seed = seed_of((parent.sha256,), recipe, 0, number)
    return Task(variant_id((parent.sha256,), recipe, seed), (parent.sha256,), recipe, seed), (parent,)


def one(number: int, **parameters: Any) -> tuple[Made, float]:
    """A receipt and its seconds."""
    import drjit

    drjit.set_thread_count(1)
    began = time.perf_counter()
    ((_, made),) = KIND.make([task_of(Recipe("render", **parameters), number)])
    if not isinstance(made, Made):
        raise RuntimeError(f"{made.reason}: {made.detail}")
    return made, time.perf_counter() - began


def seconds(renderer: str, samples: int, rounds: int) -> float:
    """Of one receipt on one thread: the median, after one that is not counted."""
    one(0, renderer=renderer, samples=samples)
    return statistics.median(one(n + 1, renderer=renderer, samples=samples)[1] for n in range(rounds))


def _many(numbers: list[int]) -> float:
    return sum(one(number)[1] for number in numbers)


def scaling(each: int) -> float:
    """How many times as many receipts two processes make as one does in the same time."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(_many, [[0], [0]]))
        began = time.perf_counter()
        pool.submit(_many, list(range(each))).result()
        alone = time.perf_counter() - began
        began = time.perf_counter()
        list(pool.map(_many, [list(range(each))] * 2))
        return 2 * alone / (time.perf_counter() - began)


def rendered(number: int) -> Example:
    """A render with the mask of its lines; looked up if it was made before by the same recipe."""
    recipe = KIND.recipes[MIX[number % len(MIX)]]
    name = "llvm" if not llvm_reason() else "scalar"
    recipe = Recipe("render", **{**dict(recipe.steps[0].parameters), "samples": 4, "renderer": name})
    work = task_of(recipe, number)
    picture, labels = CACHE / f"{work[0].variant_id}.jpg", CACHE / f"{work[0].variant_id}.json"
    if not labels.exists():
        ((_, made),) = KIND.make([work])
        if not isinstance(made, Made):
            raise RuntimeError(f"{made.reason}: {made.detail}")
        CACHE.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(made.data.read_bytes() if isinstance(made.data, Path) else made.data)
        labels.write_text(json.dumps(made.labels["lines"]), encoding="utf-8")
    lines = json.loads(labels.read_text(encoding="utf-8"))
    grey = Image.open(io.BytesIO(picture.read_bytes())).convert("L")
    return _example(grey, [line["quad"] for line in lines if line["visibility"] > 0.5])


def scan(path: Path) -> Example:
    """A real scan, cut to what its boxes cover and brought to the renders' width."""
    grey, quads = Image.open(path).convert("L"), []
    for row in path.with_suffix(".boxes.csv").read_text(encoding="utf-8", errors="replace").splitlines():
        numbers = row.split(",", 8)[:8]
        if len(numbers) == 8:
            quads.append(np.array(numbers, float).reshape(4, 2))
    points = np.concatenate(quads)
    (left, top), (right, bottom) = points.min(0), points.max(0)
    edge = 0.06 * (right - left)
    box = np.array([max(left - edge, 0), max(top - edge, 0), min(right + edge, grey.width), min(bottom + edge, grey.height)])
    scale = WIDTH_PX / (box[2] - box[0])
    size = WIDTH_PX, max(PATCH_PX, 2 * round((box[3] - box[1]) * scale / 2))
    cut = grey.crop(tuple(box.round().astype(int))).resize(size, Image.Resampling.BOX)
    return _example(cut, [(quad - box[:2]) * scale for quad in quads])


def _example(grey: Image.Image, quads: list[Any]) -> Example:
    mask = Image.new("L", grey.size)
    pen = ImageDraw.Draw(mask)
    for quad in quads:
        pen.polygon([tuple(at) for at in quad], fill=1)
    return np.asarray(grey, np.float32) / 255, np.asarray(mask, np.float32)


def network() -> nn.Module:
    """About 50,000 weights, on half the pixels; sees 130 around."""
    layers: list[nn.Module] = []
    channels = 1
    for wide, dilation in ((16, 1), (24, 1), (32, 2), (32, 4), (32, 8), (32, 16), (32, 1)):
        layers += [nn.Conv2d(channels, wide, 3, 1 + (channels == 1), dilation, dilation), nn.BatchNorm2d(wide), nn.ReLU()]
        channels = wide
    return nn.Sequential(*layers, nn.Conv2d(channels, 4, 1), nn.PixelShuffle(2))


def batches(sources: list[list[Example]], steps: int, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Patches, as many from each source; their contrast and level are drawn, so that neither tells them apart."""
    random = np.random.default_rng(seed)
    for _ in range(steps):
        found = []
        for at in range(BATCH):
            examples = sources[at % len(sources)]
            picture, mask = examples[int(random.integers(len(examples)))]
            y = int(random.integers(picture.shape[0] - PATCH_PX + 1))
            x = int(random.integers(picture.shape[1] - PATCH_PX + 1))
            cut = np.s_[y : y + PATCH_PX, x : x + PATCH_PX]
            pixels = np.clip(picture[cut] * random.uniform(0.7, 1.3) + random.uniform(-0.15, 0.15), 0, 1)
            found.append((pixels.astype(np.float32), mask[cut]))
        pictures, masks = (torch.from_numpy(np.stack(part)[:, None]) for part in zip(*found, strict=True))
        yield pictures, masks


def trained(sources: list[list[Example]], steps: int, seed: int) -> nn.Module:
    """A network that learnt from the sources alike."""
    torch.manual_seed(seed)
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for pictures, masks in batches(sources, steps, seed):
        loss = nn.functional.binary_cross_entropy_with_logits(model(pictures - 0.5), masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


@torch.inference_mode()
def f1(model: nn.Module, examples: list[Example]) -> float:
    """Of pixels, over all examples."""
    right = said = true = 0.0
    for picture, mask in examples:
        found = model(torch.from_numpy(picture)[None, None] - 0.5)[0, 0].numpy() > 0
        right, said, true = right + float(mask[found].sum()), said + float(found.sum()), true + float(mask.sum())
    return 2 * right / max(said + true, 1)


def interval(values: list[float]) -> tuple[float, float]:
    """Mean and half of its 95% interval by Student's t."""
    spread = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return statistics.mean(values), float(stats.t.ppf(0.975, max(len(values) - 1, 1))) * spread


def timing(is_quick: bool) -> list[Figure]:
    """Seconds each by renderer and samples, and over processes."""
    rounds, absent = (1, llvm_reason()) if is_quick else (5, llvm_reason())
    found, scalar, llvm = [], dict[int, float](), dict[int, float]()
    for samples in SAMPLES[:1] if is_quick else SAMPLES:
        scalar[samples] = seconds("scalar", samples, rounds)
        found.append(Figure(f"scalar, {samples} samples, {WIDTH_PX} x {HEIGHT_PX}, one thread", scalar[samples], "s"))
        if not absent:
            llvm[samples] = seconds("llvm", samples, rounds)
        found.append(Figure(f"LLVM, {samples} samples, one thread", llvm.get(samples), "s", note=absent))
    most = max(scalar)
    ratio = scalar[most] / llvm[most] if llvm else None
    found.append(Figure(f"LLVM faster than scalar, {most} samples", ratio, "x", at_least(LLVM_OVER_SCALAR), absent))
    found.append(Figure("two processes against one", scaling(1 if is_quick else 4), "x"))
    return found


def main() -> None:
    """Time, render, learn, test, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--scans", type=Path, required=True, help="folder of real scans and their boxes")
    parser.add_argument("--renders", type=int, help=f"to learn from ({RENDERS}; with --quick 8)")
    parser.add_argument("--seeds", type=int, help=f"trainings of each ({SEEDS}; with --quick 2)")
    options = parser.parse_args()
    figures = timing(options.quick)
    began = time.perf_counter()
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        renders = list(pool.map(rendered, range(options.renders or (8 if options.quick else RENDERS))))
    print(f"{len(renders)} renders in {time.perf_counter() - began:.0f} s", flush=True)
    scans = [scan(path) for path in sorted(options.scans.glob("*.jpg"))]
    learnt, held_out = scans[::2], scans[1 : 8 if options.quick else None : 2]
    sources = {"renders only": [renders], "scans only": [learnt], "both": [renders, learnt]}
    scores: dict[str, list[float]] = {name: [] for name in sources}
    for seed in range(options.seeds or (2 if options.quick else SEEDS)):
        for name, given in sources.items():
            scores[name].append(f1(trained(given, 20 if options.quick else STEPS, seed), held_out))
            print(f"seed {seed}, {name}: {scores[name][-1]:.3f}", flush=True)
    for name, values in scores.items():
        mean, half = interval(values)
        note = f"+- {half:.3f} (95%, {len(values)} seeds), {len(held_out)} held-out scans"
        figures.append(Figure(f"pixel F1 of text lines, {name}", mean, "", note=note))
    gain, half = interval([b - s for b, s in zip(scores["both"], scores["scans only"], strict=True)])
    figures.append(Figure("gain of renders over scans only", gain, "F1", note=f"+- {half:.3f} (95%, paired by seed)"))
    finish(options, "variants_receipts", figures, {"scores": scores, "renders": len(renders), "scans": len(learnt)})


if __name__ == "__main__":
    main()
