"""Photos for benchmarks, all real ones or cut from real ones: a folder's JPEGs, or crops of what comes with scikit-image."""

import csv
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from pipeline_assets.classify.model_files import IMAGENET_CLASSES
from pipeline_assets.sample.photos import sample_photos

SUFFIXES = {".jpg", ".jpeg"}
_CROP = re.compile(r"sample-\w+-\d{4,}\.jpg")
_WORDNET_ID = re.compile(r"n\d{8}_")


def photos(folder: Path | None, count: int) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of `count` JPEGs, no two with the same name or bytes.

    A folder with fewer is gone through again: a JPEG comment makes the bytes others, and the picture stays.
    Raises FileNotFoundError for a folder without JPEGs.
    """
    if folder is None:
        crops = ((file.name, file.data) for file in sample_photos(count) if _CROP.fullmatch(file.name))
        yield from islice(crops, count)
        return
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise FileNotFoundError(f"{folder} holds no .jpg or .jpeg: name a folder of photos")
    for index in range(count):
        path, repeat = paths[index % len(paths)], index // len(paths)
        data = path.read_bytes()
        yield (f"{path.stem}-{repeat}{path.suffix}", _commented(data, repeat)) if repeat else (path.name, data)


def _commented(jpeg: bytes, number: int) -> bytes:
    """The same picture with a comment segment after its first marker."""
    comment = f"copy {number}".encode()
    return jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:]


def accuracy(top1: dict[str, int]) -> float | None:
    """Share of photos whose name's WordNet id was found; None where names do not begin with one, as `n01443537_x.JPEG`."""
    if not top1 or not all(_WORDNET_ID.match(name) for name in top1):
        return None
    lines = [line for line in IMAGENET_CLASSES.read_text().splitlines() if not line.startswith("#")]
    ids = [row["wnid"] for row in csv.DictReader(lines)]
    return sum(ids[index] == name[:9] for name, index in top1.items()) / len(top1)
