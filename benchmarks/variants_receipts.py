"""Whether renders help a finder of text lines on real scans of receipts.

    python -m benchmarks.variants_receipts --scans FOLDER [--renders 64] [--seeds 5] [--steps 200]

FOLDER holds NAME.jpg with NAME.boxes.csv (x1,y1,...,x4,y4,text) and NAME.fields.json, as SROIE has them. A small network
learns from renders only, from scans only, or from both, for the same number of steps, and is tested on scans of companies
that no training saw: for each seed, half of the companies, drawn anew. Neither companies nor boxes of the scans tell it
where to look. Renders are kept under build/, by the hash of their recipe and of the code that renders.
"""

import argparse
import json
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks import line_finder
from benchmarks.figures import ROOT, Figure, add_options, finish, interval
from benchmarks.line_finder import Example
from benchmarks.scans import Scan, read, split
from pipeline_assets.runtime.blobs import bytes_of
from pipeline_assets.variants import receipts
from pipeline_assets.variants.kinds import Made, Parent, Task
from pipeline_assets.variants.receipts import KIND, TEMPLATES
from pipeline_assets.variants.receipts.scene import llvm_reason
from pipeline_assets.variants.recipes import Recipe

RENDERS, SEEDS, STEPS = 64, 5, 200
SAMPLES = 4
WIDTH_PX = 256
CACHE = ROOT / "build" / "receipts"
MIX = ("scanned", "scanned", "flat", "wrinkled", "scanned", "folded")
"""Recipes that the network learns from, in turn: mostly what a scanner gives."""
MARGIN = 0.12
"""What SROIE's boxes leave around the ink, in heights of it; ours leave nothing."""
CONDITIONS = ("renders alone", "scans alone", "both")


def task_of(recipe: Recipe, number: int) -> tuple[Task, tuple[Parent, ...]]:
    """A receipt of one of the templates in turn."""
    data = list(TEMPLATES.values())[number % len(TEMPLATES)]
    parent, recipe = Parent(sha256(data).hexdigest(), data), KIND.complete(recipe)
    return Task.of((parent.sha256,), recipe, 0, number), (parent,)


@cache
def code() -> str:
    """Hash of all that renders: another picture of the same recipe is another name."""
    folder = Path(receipts.__file__).parent
    files = sorted(path for path in folder.iterdir() if path.suffix in (".py", ".json"))
    return sha256(b"".join(sha256(path.read_bytes()).digest() for path in files)).hexdigest()[:16]


def rendered(number: int) -> Example:
    """A render with its lines; looked up if it was made before by the same recipe and code."""
    import drjit

    drjit.set_thread_count(1)
    recipe = KIND.recipes[MIX[number % len(MIX)]]
    name = "llvm" if not llvm_reason() else "scalar"
    recipe = Recipe("render", **{**dict(recipe.steps[0].parameters), "samples": SAMPLES, "renderer": name})
    work = task_of(recipe, number)
    folder = CACHE / code()
    picture, labels = folder / f"{work[0].variant_id}.jpg", folder / f"{work[0].variant_id}.json"
    if not labels.exists():
        ((_, outcome),) = KIND.make([work])
        if not isinstance(outcome, Made):
            raise RuntimeError(f"{outcome.reason}: {outcome.detail}")
        folder.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(bytes_of(outcome.data))
        labels.write_text(json.dumps(outcome.labels["lines"]), encoding="utf-8")
    lines = json.loads(labels.read_text(encoding="utf-8"))
    grey = np.asarray(Image.open(picture).convert("L"), np.float32) / 255
    quads = np.array([line["quad"] for line in lines if line["visibility"] > 0.5]).reshape(-1, 4, 2)
    return line_finder.example(grey, grown(quads))


def grown(quads: np.ndarray) -> np.ndarray:
    """Quads of ink made as large as the scans' boxes are about theirs."""
    down, right = (quads[:, [3, 2]] - quads[:, [0, 1]]) * MARGIN, quads[:, [1, 2]] - quads[:, [0, 3]]
    length = np.linalg.norm(right, axis=-1, keepdims=True)
    right = right / np.maximum(length, 1e-6) * np.linalg.norm(down, axis=-1, keepdims=True)
    (left_down, right_down), (top_right, bottom_right) = down.swapaxes(0, 1), right.swapaxes(0, 1)
    corners = (-left_down - top_right, top_right - right_down, right_down + bottom_right, left_down - bottom_right)
    return quads + np.stack(corners, axis=1)


def run(renders: Sequence[Example], scans: Sequence[Scan], steps: int, seed: int) -> dict[str, dict[str, float]]:
    """Scores of each condition, on the same held-out scans. On one thread: the same figures anywhere."""
    torch.set_num_threads(1)
    learnt, held_out = ([line_finder.example(s.grey, s.quads) for s in part] for part in split(scans, seed))
    sources = dict(zip(CONDITIONS, ([renders], [learnt], [renders, learnt]), strict=True))
    result = {}
    for name, examples in sources.items():
        result[name] = line_finder.scores(line_finder.trained(examples, steps, seed), held_out)
        print(f"seed {seed}, {name}: {result[name]}", flush=True)
    return result


def figures(runs: Sequence[dict[str, dict[str, float]]], about: str) -> list[Figure]:
    """Each condition, then what renders add to scans, paired by seed."""
    report = []
    for of in ("box", "pixel"):
        for name in CONDITIONS:
            mean, half = interval([run[name][of] for run in runs])
            report.append(Figure(f"{of} F1 of text lines, {name}", mean, "", note=f"+- {half:.3f}; {about}"))
        gain, half = interval([run["both"][of] - run["scans alone"][of] for run in runs])
        report.append(Figure(f"{of} F1: gain by renders over scans alone", gain, "", note=f"+- {half:.3f}, paired by seed"))
    return report


def main() -> None:
    """Render, learn, test, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--scans", type=Path, help="folder of real scans; without, nothing is measured")
    parser.add_argument("--renders", type=int, help=f"to learn from ({RENDERS}; with --quick 8)")
    parser.add_argument("--seeds", type=int, help=f"splits and trainings of each ({SEEDS}; with --quick 2)")
    parser.add_argument("--steps", type=int, help=f"of each training ({STEPS}; with --quick 20)")
    options = parser.parse_args()
    if options.scans is None:
        finish(options, "variants_receipts", [Figure("F1 of text lines on real scans", None, "", note="no --scans FOLDER")])
        return
    small = options.quick
    count, steps = options.renders or (8 if small else RENDERS), options.steps or (20 if small else STEPS)
    began = time.perf_counter()
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        renders = list(pool.map(rendered, range(count)))
        print(f"{len(renders)} renders in {time.perf_counter() - began:.0f} s", flush=True)
        scans = [read(path, WIDTH_PX, line_finder.PATCH_PX) for path in sorted(options.scans.glob("*.jpg"))]
        seeds = range(options.seeds or (2 if small else SEEDS))
        runs = list(pool.map(partial(run, renders, scans, steps), seeds))
    about = f"{len(runs)} seeds, {count} renders, {steps} steps, scans of {len({scan.company for scan in scans})} companies"
    finish(options, "variants_receipts", figures(runs, about), {"runs": runs, "renders": count, "code": code()})


if __name__ == "__main__":
    main()
