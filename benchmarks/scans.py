"""Real scans of receipts with the boxes of their lines, as SROIE has them: NAME.jpg, NAME.boxes.csv, NAME.fields.json."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

LEGAL = {"sdn", "bhd", "sb", "co", "company", "enterprise", "trading", "shop", "the"}
SAME_CHAIN = {"golden arches restaurants": "gerbang alaf restaurants"}
"""Companies that print the same receipts for one chain."""
DARK = 60
"""Grey levels below the paper, from which on a pixel counts as ink."""
MARGIN = 0.05

Grey = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Scan:
    """grey: (H, width) in [0, 1]. quads: of the lines, (N, 4, 2) in its pixels. company: as `normalised` has it."""

    grey: Grey
    quads: npt.NDArray[np.float64]
    company: str


def normalised(company: str) -> str:
    """The company without its branch in brackets, legal form, case and punctuation: equal for all branches of a chain."""
    words = re.sub(r"[^\w\s]", "", re.sub(r"\([^)]*\)", " ", company.casefold())).split()
    significant = " ".join(word for word in words if word not in LEGAL) or " ".join(words)
    return SAME_CHAIN.get(significant, significant)


def read(path: Path, width_px: int, least_height_px: int) -> Scan:
    """A scan cut to where its dark pixels are, and brought to a width. Nothing of its boxes or fields is used for that."""
    grey = Image.open(path).convert("L")
    left, top, right, bottom = inked(np.asarray(grey, np.float32))
    scale = width_px / (right - left)
    size = width_px, max(least_height_px, 2 * round((bottom - top) * scale / 2))
    crop = grey.crop((left, top, right, bottom)).resize(size, Image.Resampling.BOX)
    scaled = np.array([scale, size[1] / (bottom - top)])
    quads = (boxes(path.with_suffix(".boxes.csv")) - (left, top)) * scaled
    fields: dict[str, Any] = json.loads(path.with_suffix(".fields.json").read_text(encoding="utf-8"))
    return Scan(np.asarray(crop, np.float32) / 255, quads, normalised(fields["company"]))


def inked(grey: Grey) -> tuple[int, int, int, int]:
    """left, top, right, bottom of all but a few dark pixels of levels 0 to 255, with a margin."""
    height, width = grey.shape
    rows, columns = np.nonzero(grey < np.median(grey) - DARK)
    if len(rows) < 100:
        return 0, 0, width, height
    (left, right), (top, bottom) = (np.quantile(at, (0.005, 0.995)) for at in (columns, rows))
    edge = MARGIN * (right - left)
    box = max(left - edge, 0), max(top - edge, 0), min(right + edge, width), min(bottom + edge, height)
    return int(box[0]), int(box[1]), int(np.ceil(box[2])), int(np.ceil(box[3]))


def boxes(path: Path) -> npt.NDArray[np.float64]:
    """(N, 4, 2) of the file's rows x1,y1,...,x4,y4,text."""
    rows = [line.split(",", 8)[:8] for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    return np.array([row for row in rows if len(row) == 8], np.float64).reshape(-1, 4, 2)


def split(scans: Sequence[Scan], seed: int) -> tuple[list[Scan], list[Scan]]:
    """To learn from and to test on: half of the companies each, drawn by the seed; no company is in both."""
    companies = sorted({scan.company for scan in scans})
    learnt = set(np.random.default_rng(seed).permutation(companies)[: len(companies) // 2])
    return [scan for scan in scans if scan.company in learnt], [scan for scan in scans if scan.company not in learnt]
