"""Masks as bitmaps: from and to runs, polygons and small pictures. Pure.

A bitmap is (height, width) of bool. Every size is checked before memory is taken for it.
"""

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline_assets.errors import UnfitParent
from pipeline_assets.labeling import rle

Bitmap = npt.NDArray[np.bool_]
MAX_PIXELS = 200_000_000
MAX_PNG_BYTES = 16 << 20


def of_runs(size: tuple[int, int], counts: list[int]) -> Bitmap:
    """The bitmap of COCO's runs. size: height, width."""
    require(size)
    inside = np.arange(len(counts)) % 2 == 1
    return np.repeat(inside, counts).reshape(size, order="F")


def runs_of(bitmap: Bitmap) -> dict[str, Any]:
    """A bitmap in the form of an answer: `{"size": [height, width], "counts": [...]}`, column by column."""
    flat = bitmap.ravel(order="F")
    ends = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff(np.concatenate(([0], ends, [flat.size]))).tolist()
    if flat.size and flat[0]:
        counts.insert(0, 0)
    return {"size": [int(side) for side in bitmap.shape], "counts": counts}


def of_mark(mark: Mapping[str, Any], width: int, height: int) -> Bitmap:
    """The bitmap of a mask of an answer, on a photo of this size: pixels whose middle is inside."""
    if "rle" in mark:
        runs = rle.runs(mark["rle"])
        return of_runs((mark["rle"]["size"][0], mark["rle"]["size"][1]), runs)
    from skimage.draw import polygon2mask  # a fifth of a second, which most files do not need

    require((height, width))
    painted = np.zeros((height, width), bool)
    for polygon in mark["polygons"]:
        rows_and_columns = np.array([polygon[1::2], polygon[::2]], float).T - 0.5
        painted |= polygon2mask((height, width), rows_and_columns)  # type: ignore[no-untyped-call]
    return painted


def of_png(data: bytes, limit: tuple[int, int]) -> Bitmap:
    """The bitmap of a PNG: its alpha, or whether it is not black. limit: the width and height that it must not exceed.

    Raises UnfitParent(bad_labels), before it decodes a larger one.
    """
    with _opened(data, limit) as image:
        has_alpha = image.mode in ("LA", "RGBA") or "transparency" in image.info
        return np.asarray(image.convert("RGBA").getchannel("A") if has_alpha else image.convert("L")) > 0


def of_colour(data: bytes, colour: str, size: tuple[int, int]) -> Bitmap:
    """Where a PNG of exactly this width and height has a colour, as `#2ca02c`. Raises UnfitParent(bad_labels)."""
    if not re.fullmatch("#[0-9a-fA-F]{6}", colour):
        raise UnfitParent("bad_labels", f"a colour is written as #2ca02c, not as {colour:.40}")
    with _opened(data, size) as image:
        if image.size != size:
            raise UnfitParent("bad_labels", f"a mask's picture is of {image.size}, and its photo of {size}")
        return (np.asarray(image.convert("RGB")) == tuple(bytes.fromhex(colour[1:]))).all(2)


@contextmanager
def _opened(data: bytes, limit: tuple[int, int]) -> Iterator[Image.Image]:
    if len(data) > MAX_PNG_BYTES:
        raise UnfitParent("bad_labels", f"a mask's picture has {len(data):,} bytes; at most {MAX_PNG_BYTES:,} are read")
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if image.width > limit[0] or image.height > limit[1] or image.width * image.height > MAX_PIXELS:
                size = f"{image.width:,} x {image.height:,}"
                raise UnfitParent("bad_labels", f"a mask's picture has {size} pixels, on {limit[0]:,} x {limit[1]:,}")
            yield image
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnfitParent("bad_labels", f"a mask's picture is no PNG that can be read: {error!s:.100}") from None


def png_of(bitmap: Bitmap) -> bytes:
    """A bitmap as PNG: black, and white where it is set."""
    buffer = io.BytesIO()
    Image.fromarray(bitmap.astype(np.uint8) * 255).save(buffer, "PNG")
    return buffer.getvalue()


def bounds_of(bitmap: Bitmap) -> tuple[int, int, int, int]:
    """left, top, right, bottom of the set pixels, right and bottom excluded; zeros if none is set."""
    columns, rows = np.flatnonzero(bitmap.any(0)), np.flatnonzero(bitmap.any(1))
    if not len(columns):
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def placed(part: Bitmap, left: int, top: int, width: int, height: int) -> Bitmap:
    """A bitmap of this size with a part of it at left, top. Raises UnfitParent(bad_labels) if it lies outside."""
    require((height, width))
    if left < 0 or top < 0 or left + part.shape[1] > width or top + part.shape[0] > height:
        raise UnfitParent("bad_labels", f"a mask at {left}, {top} is not inside {width} x {height}")
    whole = np.zeros((height, width), bool)
    whole[top : top + part.shape[0], left : left + part.shape[1]] = part
    return whole


def row_runs(bitmap: Bitmap) -> list[int]:
    """Lengths of runs row by row, the first one unset: CVAT's form."""
    flat = bitmap.ravel()
    ends = [0, *(np.flatnonzero(flat[1:] != flat[:-1]) + 1).tolist(), flat.size]
    runs = [end - start for start, end in pairwise(ends)]
    return [0, *runs] if flat.size and flat[0] else runs


def of_row_runs(runs: list[int], width: int, height: int) -> Bitmap:
    """The bitmap of `row_runs`. Raises UnfitParent(bad_labels) if they do not fill it."""
    require((height, width))
    if any(run < 0 for run in runs) or sum(runs) != width * height:
        raise UnfitParent("bad_labels", f"the runs of a mask do not add up to its {width} x {height} pixels")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)


def require(size: tuple[int, int]) -> None:
    """Raise UnfitParent(bad_labels) for a bitmap of no pixels, or of too many. size: height, width."""
    if min(size) < 1 or size[0] * size[1] > MAX_PIXELS:
        raise UnfitParent("bad_labels", f"a mask of {size[1]:,} x {size[0]:,} pixels; at most {MAX_PIXELS:,} are read")
